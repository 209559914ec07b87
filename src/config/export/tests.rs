use std::fs;

use serde_json::Value;

use super::*;
use crate::config::{Import, Source, Wanted, settings};

/// In the shape of the other tool's own example, with everything that it knows.
const FILE: &str = r#"{
  "check_interval_seconds": 5,
  "instances": [
    {"name": "active-wsl-instance", "comment": "Universal - works with any active instance", "ports": [
      {"port": 22, "comment": "SSH (automatically binds to active instance)"},
      {"port": 8000, "comment": "Web service (active instance only)"}]},
    {"name": "Dev", "comment": "Development", "_note": "mine", "ports": [
      {"port": 2201, "internal_port": 22, "firewall": "local", "comment": "SSH\n(\u0007 bell)"},
      {"Port": 8080, "internal_port": 80, "firewall": "full", "speed": [1, 2]},
      {"port": 3000, "internal_port": 0, "firewall": ""}]},
    {"name": "Staging", "ports": [{"port": 9000, "internal_port": 1}]}
  ]
}"#;

/// Imported into a configuration of its own, for all three instances; the file after it.
fn imported() -> (tempfile::TempDir, Settings, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("w.toml");
    fs::write(&main, "").unwrap();
    let file = folder.path().join("wsl2-config.json");
    fs::write(&file, FILE).unwrap();
    let source = Source::File(main);
    let instances = ["active-wsl-instance", "Dev", "Staging"].map(str::to_owned);
    let wanted = Wanted {
        instances: &instances,
        distribution: None,
    };
    let import = Import::of(&file, &source, None, &wanted).unwrap();
    assert!(import.write(false).unwrap());
    (folder, Settings::load(&source).unwrap(), file)
}

#[test]
fn an_import_exports_without_loss() {
    let (_folder, settings, file) = imported();
    // The file as it was is left alone, to the byte.
    let export = Export::of(&settings, Some(&file), "Dev").unwrap();
    assert_eq!(
        (export.set.len(), export.left_out.len()),
        (0, 0),
        "{export:?}"
    );
    assert!(!export.write(&file).unwrap());
    assert_eq!(fs::read_to_string(&file).unwrap(), FILE);
    // And without it everything that the tool reads is there.
    fs::remove_file(&file).unwrap();
    let export = Export::of(&settings, Some(&file), "Dev").unwrap();
    assert_eq!(export.set.len(), 6);
    assert!(export.write(&file).unwrap());
    let (mut there, mut wanted): (Value, Value) = (
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap(),
        serde_json::from_str(FILE).unwrap(),
    );
    // What the tool ignores, its defaults, and how often it polls.
    wanted
        .as_object_mut()
        .unwrap()
        .remove("check_interval_seconds");
    let dev = &mut wanted["instances"][1];
    dev.as_object_mut().unwrap().remove("_note");
    dev["ports"][1] = json!({"port": 8080, "internal_port": 80, "firewall": "full"});
    dev["ports"][2] = json!({"port": 3000});
    for instance in there["instances"].as_array_mut().unwrap() {
        instance.as_object_mut().unwrap().sort_keys();
    }
    assert_eq!(there, wanted);
    // A second round changes nothing.
    let again = Export::of(&settings, Some(&file), "Dev").unwrap();
    assert!(!again.write(&file).unwrap());
}

fn exported(config: &str, there: Option<&str>) -> Result<Export, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    if let Some(text) = there {
        fs::write(&file, text).unwrap();
    }
    let export = Export::of(&settings(config), Some(&file), "Dev");
    export.map_err(|error| error.to_string())
}

#[test]
fn only_what_differs_is_set() {
    const SSH: &str =
        "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n";
    let there = r#"{"Instances": [{"NAME": "dev", "ports": [{"port": 2222, "internal_port": 22, "firewall": "full", "comment": "mine", "x": null}, {"port": 9}]}]}"#;
    let export = exported(SSH, Some(there)).unwrap();
    assert_eq!(export.set, ["ssh: tcp 2222 -> 22, firewall local"]);
    let text: Value = serde_json::from_str(&export.text).unwrap();
    let port = json!({"port": 2222, "internal_port": 22, "firewall": "local", "comment": "mine", "x": null});
    assert_eq!(text["Instances"][0]["ports"], json!([port, {"port": 9}]));
    // Any distribution's is enough.
    let there = r#"{"instances": [{"name": "active-wsl-instance", "ports": [{"port": 2222, "internal_port": 22, "firewall": "local"}]}]}"#;
    let export = exported(SSH, Some(there)).unwrap();
    assert!(export.set.is_empty(), "{export:?}");
}

#[test]
fn a_range_is_several_ports_there_and_is_not_imported_again() {
    const WEB: &str = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = \"8000-8002\"\nconnect-port = \"9000-9002\"\ncomment = \"ours\"\n";
    let export = exported(WEB, None).unwrap();
    let text: Value = serde_json::from_str(&export.text).unwrap();
    let port = |port: u16| json!({"port": port, "internal_port": port + 1000, "firewall": "local", "comment": "ours"});
    assert_eq!(
        text["instances"][0]["ports"],
        json!([port(8000), port(8001), port(8002)])
    );
    let folder = tempfile::tempdir().unwrap();
    let (file, main) = (folder.path().join("a.json"), folder.path().join("w.toml"));
    fs::write(&file, &export.text).unwrap();
    fs::write(&main, WEB).unwrap();
    let instances = ["Dev".to_owned()];
    let wanted = Wanted {
        instances: &instances,
        ..Wanted::default()
    };
    let import = Import::of(&file, &Source::File(main), None, &wanted).unwrap();
    assert!(import.taken.is_empty(), "{import:?}");
    assert_eq!(import.left_out.len(), 3, "{import:?}");
}

#[test]
fn what_the_tool_cannot_forward_is_left_out() {
    let config = "[[forward]]\nname = \"wg\"\nprotocol = \"udp\"\nlisten-port = 41820\n\
        [[forward]]\nname = \"near\"\nprotocol = \"tcp\"\nlisten-port = 80\nlisten-address = \"127.0.0.1\"\n\
        [[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 81\nproxy-protocol = \"v2\"\n\
        [[forward]]\nname = \"db\"\nprotocol = \"tcp\"\nlisten-port = 82\nconnect-address = \"127.0.0.1\"\n";
    let export = exported(config, None).unwrap();
    assert_eq!(
        export.left_out,
        [
            "wg: wsl2-port-mapper forwards TCP only",
            "near: wsl2-port-mapper listens on all addresses, not on 127.0.0.1 alone",
            "web: wsl2-port-mapper writes no PROXY header",
            "db: wsl2-port-mapper reaches no service that listens on loopback alone"
        ]
    );
    assert_eq!(export.text, "{\n  \"instances\": []\n}\n");
}

#[test]
fn a_file_that_is_none_stays() {
    const SSH: &str = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 22\n";
    for (there, why) in [
        ("{\"instances\": [", "EOF while parsing"),
        ("[]", "instances is no list"),
        ("{\"instances\": {}}", "instances is no list"),
        (
            "{\"instances\": [{\"name\": \"Dev\", \"ports\": 1}]}",
            "ports is no list",
        ),
    ] {
        let error = exported(SSH, Some(there)).unwrap_err();
        assert!(error.contains(why) && error.contains("a.json"), "{error}");
    }
}
