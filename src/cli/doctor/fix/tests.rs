use super::*;
use crate::model::{Code, Finding, HealthEntry};

#[test]
fn a_request_is_not_listed_as_a_repair() {
    let record = |reload: Reload, passed: bool| {
        let mut fixed = Fixed::default();
        asked(
            &reload,
            "the agent of another distribution",
            || passed,
            &mut fixed,
        );
        assert_eq!(fixed.done, [""; 0]);
        fixed
    };
    let fixed = record(Reload::Signalled(7), true);
    assert_eq!(
        fixed.asked,
        ["the agent (process 7) reloads its configuration"]
    );
    assert_eq!(fixed.failed, [""; 0]);
    let fixed = record(Reload::Signalled(7), false);
    assert!(
        fixed.asked[0].ends_with("made no pass within 6 s"),
        "{fixed:?}"
    );
    let fixed = record(Reload::NoAgent, true);
    assert!(fixed.asked.is_empty() && fixed.failed[0].contains("of another distribution"));
}

#[test]
fn no_wait_after_a_failed_reload() {
    for reload in [Reload::NoAgent, Reload::Failed("it hangs".into())] {
        let mut fixed = Fixed::default();
        asked(&reload, "x", || panic!("the pass was awaited"), &mut fixed);
        assert_eq!((fixed.asked.len(), fixed.failed.len()), (0, 1));
    }
}

#[test]
fn the_agents_configuration() {
    for (line, file) in [
        (&b"/usr/bin/wslmesh\0run\0"[..], None),
        (b"wslmesh\0run\0--config\0/x/a.toml\0", Some("/x/a.toml")),
        (b"wslmesh\0--config=a.toml\0run\0", Some("a.toml")),
        (b"wslmesh\0--configure\0b\0--config", None),
    ] {
        assert_eq!(config_option(line), file.map(Path::new), "{line:?}");
    }
    // This process has no such option.
    assert_eq!(configuration_of(std::process::id()), Some(Source::System));
    let file = |path: &str| Source::File(path.into());
    assert!(same(&file("/x/a"), &file("/x/./a")) && same(&Source::System, &Source::System));
    assert!(!same(&file("/x/a"), &file("/x/b")) && !same(&Source::System, &file("/x/a")));
}

#[tokio::test]
async fn repairs_are_listed_although_the_pass_fails() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = Source::File(folder.path().join("none.toml"));
    let paths = Paths {
        runtime: folder.path().to_owned(),
        state: folder.path().to_owned(),
        lib: folder.path().to_owned(),
    };
    let mut fixed = Fixed {
        done: vec!["made a".into()],
        ..Fixed::default()
    };
    let failed = pass(&nowhere, &paths, &mut fixed).await;
    assert!(failed.is_err() && fixed.done.len() == 1);
    let verdict = Verdict::Found(vec![HealthEntry::from(&Finding::new(
        Code::Contested,
        "",
        "x",
    ))]);
    let facts = crate::doctor::gather(&nowhere, &paths, false).await;
    let found = [(Check::TunnelMtu, verdict)];
    let fixed = fix(&found, &facts, &nowhere, &paths).await;
    assert_eq!((fixed.done.len(), fixed.asked.len()), (0, 0));
    assert!(fixed.failed[0].contains("none.toml"), "{fixed:?}");
}
