use super::*;
use crate::model::{InterfaceName, MtuChange, SysctlChange, SysctlKey, SysctlValue};

fn sysctl(from: &str, to: &str) -> Action {
    Action::WriteSysctl(SysctlChange {
        key: SysctlKey::parse("net.core.rmem_max").unwrap(),
        from: SysctlValue::new(from),
        to: SysctlValue::new(to),
    })
}

fn mtu(from: u32, to: u32) -> Action {
    Action::SetMtu(MtuChange {
        index: 7,
        name: InterfaceName::new("wg0").unwrap(),
        up: true,
        from,
        to,
        why: String::new(),
    })
}

#[test]
fn keeps_what_others_set_and_not_what_the_agent_set() {
    let folder = tempfile::tempdir().unwrap();
    let saved = Saved::new(&folder.path().join("not/there/yet"));
    let state = |values: Values| {
        (
            values.sysctl["net.core.rmem_max"].before.clone(),
            values.mtu[&7].mtu.before,
        )
    };

    saved
        .remember(&[sysctl("212992", "1000"), mtu(1420, 1280)])
        .unwrap();
    assert_eq!(state(saved.load().unwrap()), ("212992".into(), 1420));
    // Our own value changed by a new configuration: still the first one.
    saved
        .remember(&[sysctl("1000", "2000"), mtu(1280, 1300)])
        .unwrap();
    assert_eq!(state(saved.load().unwrap()), ("212992".into(), 1420));
    // Another program set it: its value is what a restore gives back.
    saved
        .remember(&[sysctl("555", "2000"), mtu(1400, 1300)])
        .unwrap();
    assert_eq!(state(saved.load().unwrap()), ("555".into(), 1400));
}

#[test]
fn new_boot_forgets_all_but_the_rules_on_windows() {
    let folder = tempfile::tempdir().unwrap();
    let saved = Saved::new(folder.path());
    saved.remember(&[mtu(1420, 1280)]).unwrap();
    saved.update(|values| values.forwards = true).unwrap();
    let path = folder.path().join("saved.json");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace(&Values::new(false).boot, "another");
    fs::write(&path, text).unwrap();
    let values = saved.load().unwrap();
    assert!(values.mtu.is_empty() && values.forwards && values == Values::new(true));
}

#[test]
fn damaged_files_are_moved_aside_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved.json");
    let saved = Saved::new(folder.path());
    let texts = ["{\"boot\":", "7", "{\"version\":0,\"mtu\":7}"];
    for text in texts {
        fs::write(&path, text).unwrap();
        let error = saved.load().unwrap_err().to_string();
        assert!(error.contains("saved.json: is damaged"), "{error}");
        assert!(saved.rules_may_remain(), "what was in it is not known");
        saved.remember(&[mtu(1420, 1280)]).unwrap();
        let values = saved.load().unwrap();
        assert!(values.mtu.len() == 1 && values.forwards, "{values:?}");
    }
    for (text, number) in texts.iter().zip(1..) {
        let aside = folder.path().join(format!("saved.json.damaged.{number}"));
        assert_eq!(fs::read_to_string(aside).unwrap(), *text);
    }
}

#[test]
fn file_of_a_later_version_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved.json");
    let saved = Saved::new(folder.path());
    let text = "{\"version\":2,\"boot\":[],\"sysctl\":{}}";
    fs::write(&path, text).unwrap();
    for error in [
        saved.load().map(drop).unwrap_err().to_string(),
        saved.remember(&[mtu(1420, 1280)]).unwrap_err().to_string(),
    ] {
        let said = "has version 2 of its format, and this wslmesh reads 1: install the later";
        assert!(
            error.contains(said) && !error.contains("damaged"),
            "{error}"
        );
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // The form of 0.1.0.
    fs::write(
        &path,
        text.replace("\"version\":2,\"boot\":[]", "\"forwards\":true"),
    )
    .unwrap();
    assert!(saved.load().unwrap().forwards);
    saved.remember(&[mtu(1420, 1280)]).unwrap();
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .contains("\"version\": 1")
    );
}
