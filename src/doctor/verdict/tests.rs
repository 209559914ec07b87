use super::*;

#[test]
fn all_findings_are_kept_the_most_severe_first() {
    let finding = |severity, detail: &str, remediation: &str| HealthEntry {
        code: String::new(),
        severity,
        subject: String::new(),
        detail: detail.into(),
        remediation: remediation.into(),
    };
    let parts = [
        info("a"),
        warning("b").fix("fix b"),
        ok("c"),
        warning("d").fix("fix d"),
        error("e"),
    ];
    let verdict = all(parts, "none");
    assert_eq!(
        (verdict.name().as_str(), verdict.remediation()),
        ("error", None)
    );
    assert_eq!(verdict.detail(), "e; b; d; a");
    let expected = [
        finding(Severity::Error, "e", ""),
        finding(Severity::Warning, "b", "fix b"),
        finding(Severity::Warning, "d", "fix d"),
        finding(Severity::Info, "a", ""),
    ];
    assert_eq!(verdict.findings(), expected);
    let nested = all([info("f"), verdict], "none");
    assert_eq!(nested.findings().len(), 5);
    assert_eq!(nested.findings().first(), expected.first());
}

#[test]
fn a_check_that_passed_or_was_skipped_has_no_findings() {
    for parts in [vec![], vec![ok("x")]] {
        let verdict = all(parts, "fine");
        assert_eq!(verdict, ok("fine"));
        assert_eq!(verdict.findings(), []);
    }
    assert_eq!(skipped(NOT_WSL).findings(), []);
    let alone = info("a").fix("b");
    assert_eq!(alone.findings().len(), 1);
    assert_eq!(all([alone.clone()], ""), alone);
}

#[test]
fn warnings_and_errors_are_bad() {
    for (verdict, bad) in [
        (skipped("x"), false),
        (ok("x"), false),
        (info("x"), false),
        (warning("x"), true),
        (error("x"), true),
    ] {
        assert_eq!(verdict.is_bad(), bad, "{}", verdict.name());
    }
    use Severity::{Error, Info, Warning};
    assert!(Some(Error) > Some(Warning) && Some(Warning) > Some(Info) && Some(Info) > None);
}
