use super::*;

#[tokio::test]
async fn rules_of_an_earlier_run_are_not_forgotten_by_a_call_that_fails() {
    // There is no interop here, so the call never reaches a Windows.
    let wanted = RuleSet::nothing(SyncMode::Nat);
    // By this agent's, or by another one's that led before.
    for (before, remain) in [(false, false), (true, false), (false, true)] {
        let folder = tempfile::tempdir().unwrap();
        let saved = Saved::new(folder.path());
        saved.update(|values| values.forwards = before).unwrap();
        let outcome = sync_and_remember(folder.path(), wanted.clone(), remain, false).await;
        assert_eq!(outcome.rules_remain, Some(before || remain));
        assert_eq!(saved.load().unwrap().forwards, before || remain);
    }
}

#[tokio::test]
async fn call_without_a_thread_never_reached_windows() {
    let folder = tempfile::tempdir().unwrap();
    let refused = std::io::Error::from(rustix::io::Errno::AGAIN);
    let permit = Err(BlockingError::NoThread(refused));
    let wanted = RuleSet::nothing(SyncMode::Nat);
    let outcome = sync_blocking(
        permit,
        folder.path().to_owned(),
        wanted.clone(),
        false,
        false,
    )
    .await;
    assert!(!outcome.settled && outcome.facts.is_none());
    assert_eq!((outcome.wanted, outcome.rules_remain), (wanted, None));
    let [finding] = outcome.findings.as_slice() else {
        panic!("{:?}", outcome.findings);
    };
    assert_eq!(finding.code, Code::InteropFailed);
    assert!(finding.detail.contains("cannot start a thread: Resource"));
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}
