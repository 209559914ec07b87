use super::*;

#[tokio::test]
async fn rules_that_cannot_be_withdrawn_are_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let paths = Paths {
        state: folder.path().to_owned(),
        runtime: folder.path().to_owned(),
        lib: folder.path().to_owned(),
    };
    assert!(
        withdraw(&paths).await.unwrap().is_none(),
        "nothing was made"
    );
    let saved = Saved::new(&paths.state);
    saved.update(|values| values.forwards = true).unwrap();
    // There is no interop here, so the call never reaches a Windows.
    let outcome = withdraw(&paths).await.unwrap().unwrap();
    assert!(outcome.failed());
    let text = outcome.to_string();
    assert!(text.starts_with("failed: rules may remain on Windows; interop-missing"));
    assert!(saved.load().unwrap().forwards, "they are not forgotten");
}
