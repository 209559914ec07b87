use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{super::Settings, *};

/// In the shape of the other tool's own example.
const FILE: &str = r#"{
  "check_interval_seconds": 5,
  "instances": [
    {"name": "Dev", "comment": "Development", "ports": [
      {"port": 2201, "internal_port": 22, "firewall": "local", "comment": "SSH (2201 -> 22)"},
      {"port": 8080, "internal_port": 80, "firewall": "full", "comment": "HTTP server"},
      {"port": 3000, "comment": "line\none \u0007 two"},
      {"port": 8080, "internal_port": 81}]},
    {"name": "Staging", "ports": [{"port": 2201, "internal_port": 22}, {"port": 9000}]},
    {"name": "active-wsl-instance", "ports": [{"port": 3000, "internal_port": 0}, {"port": 22, "firewall": ""}]}
  ]
}"#;

struct Case {
    _folder: tempfile::TempDir,
    source: Source,
    json: PathBuf,
}

fn place(config: &str, json: &str) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("w.toml");
    fs::write(&main, config).unwrap();
    let path = folder.path().join("wsl2-config.json");
    fs::write(&path, json).unwrap();
    Case {
        _folder: folder,
        source: Source::File(main),
        json: path,
    }
}

fn of(place: &Case, distribution: Option<&str>, instances: &[&str]) -> Result<Import, String> {
    let instances: Vec<String> = instances.iter().map(|&name| name.to_owned()).collect();
    let wanted = Wanted {
        instances: &instances,
        distribution,
    };
    let import = Import::of(&place.json, &place.source, None, &wanted);
    import.map_err(|error| error.to_string())
}

#[test]
fn this_distribution_and_the_catch_all_are_imported() {
    let place = place("", FILE);
    let import = of(&place, Some("dev"), &[]).unwrap();
    assert_eq!(
        import.taken,
        [
            "ssh-2201: tcp 2201 -> 22, firewall local",
            "http-server-8080: tcp 8080 -> 80, firewall full",
            "line-one-two-3000: tcp 3000 -> 3000, firewall none",
            "port-22: tcp 22 -> 22, firewall none",
        ]
    );
    assert_eq!(
        import.left_out,
        [
            "port 8080 of \"Dev\": forward \"http-server-8080\" above has the port",
            "instance \"Staging\" with 2 port(s): it is another distribution",
            "port 3000 of \"active-wsl-instance\": forward \"line-one-two-3000\" above has the port",
        ]
    );
    assert!(!import.conflicts);
    for line in [
        "# Instance Dev: Development",
        "# SSH (2201 -> 22)",
        "# line one two",
    ] {
        assert!(
            import.text.lines().any(|one| one == line),
            "{}",
            import.text
        );
    }
    assert!(
        import
            .text
            .lines()
            .all(|line| line.len() <= 80 || line.contains('/'))
    );
    assert!(import.write(false).unwrap());
    assert!(!import.write(false).unwrap(), "it is unchanged");
    let settings = Settings::load(&place.source).unwrap();
    assert_eq!(settings.forwards.len(), 4);
    assert!(
        settings
            .forwards
            .iter()
            .all(|one| one.listen_address.is_unspecified())
    );
    // The same once more finds its own drop-in and decides the same.
    let again = of(&place, Some("DEV"), &[]).unwrap();
    assert_eq!(again.text, import.text);
}

#[test]
fn a_name_has_up_to_24_characters_of_the_comment() {
    for (comment, name) in [
        ("Web server for customers", "web-server-for-customers"),
        ("Web server for customer", "web-server-for-customer"),
        ("Web server for customerss", "web-server-for"),
        ("abcdefghijklmnopqrstuvw", "abcdefghijklmnopqrstuvw"),
        // A word without another one has at most 23.
        ("abcdefghijklmnopqrstuvwx", "port"),
        ("a bcdefghijklmnopqrstuvwx", "a"),
    ] {
        let port = serde_json::json!({"port": 80, "comment": comment});
        let file = serde_json::json!({"instances": [{"name": "Dev", "ports": [port]}]});
        let import = of(&place("", &file.to_string()), Some("Dev"), &[]).unwrap();
        let taken = format!("{name}-80: tcp 80 -> 80, firewall none");
        assert_eq!(import.taken, [taken], "{comment}");
    }
}

#[test]
fn unknown_distribution_needs_instances_by_name() {
    let place = place("", &FILE.replace("active-wsl-instance", "Other"));
    for distribution in [None, Some("Debian")] {
        let refused = of(&place, distribution, &[]).unwrap_err();
        assert!(
            refused.contains("(Dev, Staging, Other): choose with --instance NAME"),
            "{refused}"
        );
    }
    let refused = of(&place, None, &["Dev", "Nothing"]).unwrap_err();
    assert!(
        refused.contains("has no instance \"Nothing\"; it has Dev, Staging, Other"),
        "{refused}"
    );
    let import = of(&place, Some("Dev"), &["staging"]).unwrap();
    assert_eq!(import.taken.len(), 2);
}

#[test]
fn configured_forwards_stay() {
    let config = "[[forward]]\nname = \"ssh-2201\"\nprotocol = \"tcp\"\nlisten-port = 2201\nconnect-port = 22\n\
        [[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 8080\n\
        [[forward]]\nname = \"port-22\"\nprotocol = \"udp\"\nlisten-port = 22\n";
    let place = place(config, FILE);
    let import = of(&place, Some("Dev"), &[]).unwrap();
    let left = import.left_out.join("\n");
    assert!(left.contains("w.toml:1 does it already"), "{left}");
    assert!(
        left.contains("forward \"web\" at") && left.contains(":6 has it and leads to 8080"),
        "{left}"
    );
    assert!(import.conflicts);
    // Another protocol's port is free, its name is not.
    assert!(
        import
            .taken
            .iter()
            .any(|one| one.starts_with("port-22-2: tcp 22 "))
    );
    import.write(false).unwrap();
    assert_eq!(Settings::load(&place.source).unwrap().forwards.len(), 5);
}

#[test]
fn different_file_is_overwritten_with_force_alone() {
    let place = place("", FILE);
    let import = of(&place, Some("Dev"), &[]).unwrap();
    fs::create_dir(place.source.drop_ins()).unwrap();
    fs::write(&import.path, "[mtu]\nvalue = 1300\n").unwrap();
    let refused = import.write(false).unwrap_err().to_string();
    assert!(
        refused.contains("50-imported.toml: exists already") && refused.contains("--force"),
        "{refused}"
    );
    assert_eq!(
        fs::read_to_string(&import.path).unwrap(),
        "[mtu]\nvalue = 1300\n"
    );
    assert!(import.write(true).unwrap());
    assert_eq!(fs::read_to_string(&import.path).unwrap(), import.text);
}

#[test]
fn keys_are_read_as_the_other_tool_does() {
    let text = r#"{"_note": "in no {\"port\": 1}", "Instances": [
        {"NAME": "Dev", "enabled": {"Port": "no"}, "Ports": [
        {"Port": 2222, "Internal_Port": 22, "_note" : "{:", "protocol": "tcp"}]}]}"#;
    let import = of(&place("", text), Some("Dev"), &[]).unwrap();
    assert_eq!(import.taken, ["port-2222: tcp 2222 -> 22, firewall none"]);
    assert_eq!(
        import.left_out,
        [
            "key \"_note\" in line 1: wsl2-port-mapper ignores it too",
            "key \"enabled\" in line 2: wsl2-port-mapper ignores it too",
            "key \"protocol\" in line 3: wsl2-port-mapper ignores it too",
        ]
    );
    assert!(!import.conflicts);
}

#[test]
fn errors_name_place_key_and_fix() {
    let with =
        |port: &str| format!("{{\"instances\": [\n{{\"name\": \"Dev\", \"ports\": [\n{port}]}}]}}");
    let table = [
        (
            with("{\"port\": 0}"),
            "3:10: instances[0].ports[0].port: 0 is no port: write a number from 1 to 65535",
        ),
        (with("{\"port\": 65536}"), "ports[0].port: 65536 is no port"),
        (
            with("{\"port\": \"80\"}"),
            "ports[0].port: invalid type: string \"80\", expected a number from 1 to 65535",
        ),
        (
            with("{\"port\": 80, \"internal_port\": -1}"),
            "ports[0].internal_port: -1 is no port",
        ),
        (
            with("{\"port\": 80, \"firewall\": \"open\"}"),
            "ports[0].firewall: unknown variant `open`, expected one of ``, `local`, `full`; write \"local\" or",
        ),
        (
            with("{\"port\": 80, \"comment\": 5}"),
            "ports[0].comment: invalid type: integer `5`",
        ),
        (
            with("{\"internal_port\": 80}"),
            "missing field `port`; add the key",
        ),
        (
            with("{\"external_port\": 81}"),
            "missing field `port`; add the key",
        ),
        (
            with("{\"port\": 80, \"Port\": 81}"),
            "duplicate field `port`",
        ),
        (
            with("{\"port\": 80}").replace("Dev", " "),
            "instances[0].name: \" \" is no name: write",
        ),
        ("{\"instances\": [".to_owned(), "EOF"),
        (String::new(), "EOF"),
        ("{}".to_owned(), "missing field `instances`; add the key"),
        ("[".repeat(200_000), "json:1:"),
    ];
    for (text, expected) in table {
        let place = place("", &text);
        let refused = of(&place, Some("Dev"), &[]).unwrap_err();
        assert!(
            refused.contains("wsl2-config.json:") && refused.contains(expected),
            "{expected}: {refused}"
        );
        assert!(!place.source.drop_ins().exists());
    }
    let place = place("", "\u{feff}{\"instances\": [{\"name\": \"Dev\"}]}");
    assert_eq!(of(&place, Some("Dev"), &[]).unwrap().taken, [""; 0]);
    fs::write(&place.json, b"{\xff").unwrap();
    assert!(
        of(&place, None, &[])
            .unwrap_err()
            .contains("is not UTF-8 text; save it")
    );
    fs::write(&place.json, vec![b' '; 1 << 21]).unwrap();
    assert!(
        of(&place, None, &[])
            .unwrap_err()
            .contains("larger than any")
    );
    fs::remove_file(&place.json).unwrap();
    assert!(
        of(&place, None, &[])
            .unwrap_err()
            .contains("cannot read it")
    );
    fs::create_dir(&place.json).unwrap();
    assert!(
        of(&place, None, &[])
            .unwrap_err()
            .contains("not a regular file")
    );
}

#[test]
fn wrong_configuration_takes_no_import() {
    let place = place("[mtu]\nvalue = 1\n", FILE);
    let refused = of(&place, Some("Dev"), &[]).unwrap_err();
    assert!(refused.contains("w.toml:2:9"), "{refused}");
}

fn some_port() -> impl Strategy<Value = serde_json::Value> {
    let wall = prop::option::of(prop::sample::select(vec!["", "local", "full"]));
    (1..=u16::MAX, prop::option::of(any::<u16>()), wall, any::<String>()).prop_map(
        |(port, internal, firewall, comment)| {
            serde_json::json!({"port": port, "internal_port": internal, "firewall": firewall, "comment": comment})
        },
    )
}

proptest! {
    #[test]
    fn parser_never_panics(text in any::<String>(), cut in 0..FILE.len(), new in "\\PC{0,3}") {
        drop(format::parse(&text));
        if let (Some(head), Some(tail)) = (FILE.get(..cut), FILE.get(cut + 1..)) {
            drop(format::parse(&[head, &new, tail].concat()));
        }
    }

    /// Whatever the names and comments, what comes out is a configuration.
    #[test]
    fn import_is_a_valid_configuration(
        instances in prop::collection::vec((any::<String>(), any::<String>(), prop::collection::vec(some_port(), 0..6)), 1..4)
    ) {
        let of_one = |(name, comment, ports): &(String, String, Vec<serde_json::Value>)| {
            serde_json::json!({"name": format!("n{name}"), "comment": comment, "ports": ports})
        };
        let names: Vec<String> = instances.iter().map(|one| format!("n{}", one.0)).collect();
        let text = serde_json::json!({"instances": instances.iter().map(of_one).collect::<Vec<_>>()}).to_string();
        let foreign = format::parse(&text).unwrap();
        let source = place("", "");
        let wanted = Wanted { instances: &names, distribution: None };
        let path = source.source.drop_ins().join(NAME);
        let import = Import::from_foreign(&foreign, Path::new("a\nb"), &source.source, path, &wanted).unwrap();
        prop_assert!(import.taken.len() + import.left_out.len() == instances.iter().map(|one| one.2.len()).sum::<usize>());
    }
}
