use super::*;
use crate::{
    doctor::tests::check,
    model::{Code, Finding, HealthEntry},
};

#[tokio::test]
async fn a_request_is_not_listed_as_a_repair() {
    let record = async |reload: Reload, passed: bool| {
        let mut fixed = Fixed::default();
        asked(
            &reload,
            "the agent of another distribution",
            async { passed },
            &mut fixed,
        )
        .await;
        assert_eq!(fixed.done, [""; 0]);
        fixed
    };
    let fixed = record(Reload::Signalled(7), true).await;
    assert_eq!(
        fixed.asked,
        ["the agent (process 7) reloads its configuration"]
    );
    assert_eq!(fixed.failed, [""; 0]);
    let fixed = record(Reload::Signalled(7), false).await;
    assert!(
        fixed.asked[0].ends_with("made no pass within 6 s"),
        "{fixed:?}"
    );
    let fixed = record(Reload::NoAgent, true).await;
    assert!(fixed.asked.is_empty() && fixed.failed[0].contains("of another distribution"));
}

#[tokio::test]
async fn no_wait_after_a_failed_reload() {
    for reload in [
        Reload::NoAgent,
        Reload::Elsewhere(7, "/x".into()),
        Reload::Failed("it hangs".into()),
    ] {
        let mut fixed = Fixed::default();
        let passed = async { panic!("the pass was awaited") };
        asked(&reload, "x", passed, &mut fixed).await;
        assert_eq!((fixed.asked.len(), fixed.failed.len()), (0, 1));
    }
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
    let found = [(check("tunnel-mtu"), verdict)];
    let fixed = fix(&found, &facts, &nowhere, &paths).await;
    assert_eq!((fixed.done.len(), fixed.asked.len()), (0, 0));
    assert!(fixed.failed[0].contains("none.toml"), "{fixed:?}");
}
