use super::*;
use crate::{
    doctor::tests::check,
    model::{Code, Finding, HealthEntry},
};

#[test]
fn a_request_is_not_listed_as_a_repair() {
    for (reload, lists, words) in [
        (Reload::Done, (1, 0), "the agent has reloaded"),
        (
            Reload::Signalled(7),
            (1, 0),
            "the agent (process 7) reloads its configuration",
        ),
        (
            Reload::NoAgent,
            (0, 1),
            "the agent of another distribution, outside",
        ),
        (
            Reload::Elsewhere(7, "/x".into()),
            (0, 1),
            "another configuration than /x",
        ),
        (Reload::Failed("it hangs".into()), (0, 1), "(it hangs)"),
    ] {
        let mut fixed = Fixed::default();
        record(&reload, "the agent of another distribution", &mut fixed);
        assert_eq!(fixed.done, [""; 0]);
        assert_eq!((fixed.asked.len(), fixed.failed.len()), lists, "{reload:?}");
        let all = [fixed.asked, fixed.failed].concat().join("");
        assert!(all.contains(words), "{all}");
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
