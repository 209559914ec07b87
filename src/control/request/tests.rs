use std::{fs::read_dir, time::Duration};

use tokio::time::{sleep, timeout};

use super::*;

const WEB: &str = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 8080\n";

#[tokio::test]
async fn busy_request_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("w.toml");
    std::fs::write(&main, WEB).unwrap();
    let forward = crate::config::Settings::load(&Source::File(main.clone()));
    let forward = forward.unwrap().forwards.remove(0);
    std::fs::write(&main, "").unwrap();
    let (handle, queue) = requests(Source::File(main));
    let drop_ins = folder.path().join("w.toml.d");
    let file = drop_ins.join("forward-web.toml");
    // The first waits for the loop, with its file written.
    let first = tokio::spawn({
        let (handle, forward) = (handle.clone(), forward.clone());
        async move { handle.add(forward).await }
    });
    let written = async {
        while !file.exists() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), written).await.unwrap();
    let reloads: Vec<_> = (1..MAX_WAITING)
        .map(|_| handle.reserve().ok().unwrap())
        .collect();
    let removed = handle.remove("web".to_owned()).await;
    assert!(matches!(removed, Err(RequestError::Busy(text)) if text.contains("too many")));
    let other = Forward {
        name: "other".to_owned(),
        ..forward
    };
    let added = handle.add(other).await;
    assert!(matches!(added, Err(RequestError::Busy(text)) if text.contains("too many")));
    assert!(file.exists(), "it was removed");
    assert_eq!(read_dir(drop_ins).unwrap().count(), 1);
    drop((reloads, queue));
    assert_eq!(first.await.unwrap(), Err(STOPPING));
    assert_eq!(handle.reload().await, Err(STOPPING));
}

#[tokio::test]
async fn callers_share_one_question_to_the_relay() {
    let counted = |taken_unix_ms| Counted {
        taken_unix_ms,
        forwards: Vec::new(),
    };
    let (handle, mut queue) = requests(Source::File("/nowhere".into()));
    let questions = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let asked = Arc::clone(&questions);
    let relay = tokio::spawn(async move {
        loop {
            assert_eq!(queue.requested().await, Requested::Counters);
            let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            sleep(Duration::from_millis(10)).await;
            if number < 3 {
                queue.set_counters(Some(&counted(number)));
            }
        }
    });
    let answers = futures_util::future::join_all((0..20).map(|_| handle.counters())).await;
    assert!(answers.iter().all(|answer| *answer == Some(counted(1))));
    assert_eq!(questions.load(std::sync::atomic::Ordering::Relaxed), 1);
    // A caller cannot keep the loop and the relay busy without pause.
    let begin = tokio::time::Instant::now();
    assert_eq!(handle.counters().await, Some(counted(2)));
    assert!(begin.elapsed() >= REST / 2, "{:?}", begin.elapsed());
    assert_eq!(questions.load(std::sync::atomic::Ordering::Relaxed), 2);
    // A relay that is silent costs a bounded wait and leaves the last ones.
    let begin = tokio::time::Instant::now();
    assert_eq!(handle.counters().await, Some(counted(2)));
    assert!(begin.elapsed() >= COUNTERS_TIMEOUT);
    assert_eq!(questions.load(std::sync::atomic::Ordering::Relaxed), 3);
    relay.abort();
}
