use std::{fs, os::unix::fs::PermissionsExt};

use tempfile::TempDir;

use super::*;
use crate::report::Numbers;

fn document() -> Option<Arc<Document>> {
    Some(Arc::new(Document {
        numbers: Some(Numbers::since(1)),
        ..Document::default()
    }))
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wslmesh.prom");
    (folder, path)
}

fn is_written(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.contains("\nwslmesh_up 1\n"))
}

#[tokio::test]
async fn file_follows_passes_and_ticks_and_goes_at_the_end() {
    let (_folder, path) = folder();
    let mut metrics = Metrics::default();
    metrics.after_pass(None, document());
    assert!(metrics.run.is_empty() && metrics.own.is_none());
    metrics.after_pass(Some(&path), document());
    assert!(!metrics.changed().await && is_written(&path));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o644
    );
    // The next pass is too soon, and comes with the watchdog.
    fs::remove_file(&path).unwrap();
    metrics.after_pass(Some(&path), document());
    assert!(metrics.run.is_empty() && metrics.is_outdated);
    metrics.on_tick(Some(&path), document());
    assert!(!metrics.changed().await && is_written(&path));
    // Without a pass so does nothing, for a minute.
    metrics.on_tick(Some(&path), document());
    assert!(metrics.run.is_empty());
    metrics.last = metrics.last.and_then(|last| last.checked_sub(IDLE));
    metrics.on_tick(Some(&path), document());
    metrics.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn file_moves_with_the_configuration() {
    let (folder, path) = folder();
    let mut metrics = Metrics::default();
    metrics.after_pass(Some(&path), document());
    metrics.changed().await;
    let other = folder.path().join("other.prom");
    metrics.after_pass(Some(&other), document());
    metrics.changed().await;
    assert!(!path.exists() && is_written(&other));
    metrics.after_pass(None, document());
    metrics.changed().await;
    assert!(!other.exists() && metrics.own.is_none());
}

#[tokio::test]
async fn folder_that_cannot_be_written_is_one_finding() {
    let (folder, path) = folder();
    let below = folder.path().join("missing/wslmesh.prom");
    let mut metrics = Metrics::default();
    metrics.after_pass(Some(&below), document());
    assert!(metrics.changed().await);
    let finding = metrics.finding.clone().unwrap();
    assert_eq!(finding.code, Code::MetricsUnwritable);
    assert_eq!(finding.subject, below.display().to_string());
    assert!(finding.detail.contains("does not exist"), "{finding}");
    // The same again is no news, and no pass.
    metrics.retry();
    metrics.after_pass(Some(&below), document());
    assert!(!metrics.changed().await);
    metrics.after_pass(Some(&path), document());
    assert!(metrics.changed().await && metrics.finding.is_none());
    // Who no longer wants one has no finding.
    metrics.after_pass(Some(&below), document());
    assert!(metrics.changed().await);
    metrics.after_pass(None, document());
    assert!(metrics.finding.is_none());
}

#[tokio::test]
async fn hanging_disk_gets_one_thread() {
    let (_folder, path) = folder();
    let mut metrics = Metrics::default();
    let hangs = metrics.flight.begin().unwrap();
    metrics.after_pass(Some(&path), document());
    assert!(metrics.changed().await);
    let finding = metrics.finding.clone().unwrap();
    assert!(
        finding.detail.contains("an earlier call still hangs"),
        "{finding}"
    );
    drop(hangs);
    metrics.on_tick(Some(&path), document());
    metrics.retry();
    metrics.on_tick(Some(&path), document());
    assert!(metrics.changed().await && is_written(&path));
}

#[tokio::test]
async fn file_of_before_is_removed_once_the_disk_answers() {
    let (folder, path) = folder();
    let other = folder.path().join("other.prom");
    for (to, stops) in [(Some(other.as_path()), false), (None, false), (None, true)] {
        let mut metrics = Metrics::default();
        metrics.after_pass(Some(&path), document());
        metrics.changed().await;
        let hangs = metrics.flight.begin().unwrap();
        metrics.after_pass(to, document());
        metrics.changed().await;
        assert!(is_written(&path), "the disk does not answer");
        drop(hangs);
        if stops {
            metrics.stop().await;
        } else {
            metrics.retry();
            metrics.on_tick(to, document());
            metrics.changed().await;
            assert_eq!(other.exists(), to.is_some());
            metrics.stop().await;
        }
        assert!(!path.exists() && !other.exists(), "{to:?} {stops}");
    }
}
