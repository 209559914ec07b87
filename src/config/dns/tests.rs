use super::*;
use crate::config::{Settings, Source, settings};

fn zones(text: &str) -> Vec<String> {
    let zones = settings(text).dns.zones;
    let each = |(zone, servers): (&Zone, &Vec<IpAddr>)| format!("{zone} {servers:?}");
    zones.iter().map(each).collect()
}

#[test]
fn zones_and_their_servers() {
    assert_eq!(settings("").dns, Dns::default());
    assert!(!settings("[dns]\nrepair = false").dns.repair);
    let both = ["a.internal [10.10.0.1]", "b.internal [10.10.0.2, fd00::53]"];
    let inline = "[dns]\nzones = { \"B.internal.\" = [\"10.10.0.2\", \"fd00::53\"], \"a.internal\" = [\"10.10.0.1\"] }";
    assert_eq!(zones(inline), both);
    let table = "[dns.zones]\n\"b.internal\" = [\"10.10.0.2\", \"fd00::53\"]\n\"a.internal\" = [\"10.10.0.1\"]";
    assert_eq!(zones(table), both);
    assert!(zones("[dns]\nzones = {}").is_empty());
    // What is shown is read back.
    let shown = settings(inline);
    assert_eq!(zones(&shown.to_string()), both);
}

#[test]
fn each_error_has_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wslmesh.toml");
    let refused = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let error = Settings::load(&Source::File(path.clone())).unwrap_err();
        error.to_string()
    };
    for (zones, at, part) in [
        ("7", "2:9", "is no table"),
        ("[]", "2:9", "is no table"),
        ("{ \"com\" = [\"10.10.0.1\"] }", "2:11", "top-level domain"),
        ("{ \".\" = [\"10.10.0.1\"] }", "2:11", "the root"),
        ("{ \"no domain\" = [\"10.10.0.1\"] }", "2:11", "no domain"),
        ("{ \"a.internal\" = \"10.10.0.1\" }", "2:26", "is no list"),
        ("{ \"a.internal\" = [] }", "2:26", "name a server"),
        (
            "{ \"a.internal\" = [\"10.10.0.256\"] }",
            "2:27",
            "is an IP address",
        ),
        (
            "{ \"a.internal\" = [\"10.10.0.1:53\"] }",
            "2:27",
            "without a port",
        ),
        ("{ \"a.internal\" = [7] }", "2:27", "is an IP address"),
        (
            "{ \"a.internal\" = [\"127.0.0.1\"] }",
            "2:27",
            "behind no tunnel",
        ),
        ("{ \"a.internal\" = [\"fe80::1\"] }", "2:27", "link-local"),
        (
            "{ \"a.internal\" = [\"10.10.0.1\", \"10.10.0.1\"] }",
            "2:40",
            "twice",
        ),
        (
            "{ \"a.internal\" = [\"10.10.0.1\"], \"A.internal.\" = [\"10.10.0.2\"] }",
            ":2:",
            "leave one out",
        ),
        (
            "{ \"a.internal\" = [\"1.1.1.1\", \"1.1.1.2\", \"1.1.1.3\", \"1.1.1.4\", \"1.1.1.5\", \"1.1.1.6\", \"1.1.1.7\", \"1.1.1.8\", \"1.1.1.9\"] }",
            "2:26",
            "9 servers",
        ),
    ] {
        let text = refused(&format!("[dns]\nzones = {zones}\n"));
        assert!(text.contains(at) && text.contains(part), "{zones}: {text}");
    }
    // All of them at once.
    let text = refused("[dns]\nzones = { \"com\" = [\"x\"], \"a.internal\" = [\"y\"] }\n");
    assert!(text.ends_with("3 errors in 1 file"), "{text}");
    let text = refused("[dns]\nzone = {}\n");
    assert!(text.contains("did you mean `zones`?"), "{text}");
    let twice = "[dns.zones]\n\"a.internal\" = [\"10.10.0.1\"]\n\"a.internal\" = [\"10.10.0.2\"]\n";
    assert!(refused(twice).contains(":3:"), "{}", refused(twice));
}
