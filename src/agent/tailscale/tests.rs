//! A stand-in for tailscaled. Untested with the real one.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    sync::Notify,
    time::{sleep, timeout},
};

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// Answers when a test lets it, and keeps what it was asked.
#[derive(Debug, Default)]
struct StandIn {
    asked: Mutex<Vec<String>>,
    go: Notify,
}

impl StandIn {
    fn listen(socket: &std::path::Path, answer: &'static str) -> Arc<Self> {
        let listener = UnixListener::bind(socket).unwrap();
        let all = Arc::new(Self::default());
        let one = Arc::clone(&all);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                one.asked.lock().unwrap().push(text);
                one.go.notified().await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        all
    }

    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let action = |text: &String| {
            let (_, rest) = text.split_once("action=").unwrap();
            assert!(
                text.contains("\r\nHost: local-tailscaled.sock\r\n"),
                "{text}"
            );
            rest.split(' ').next().unwrap().to_owned()
        };
        asked.iter().map(action).collect()
    }

    async fn was_asked(&self, tailscale: &mut Tailscale, expected: &[&str]) {
        let all = async {
            while self.asked() != expected {
                drop(timeout(Duration::from_millis(5), tailscale.run()).await);
            }
        };
        let done = timeout(SOON, all).await;
        assert!(done.is_ok(), "{:?}", self.asked());
    }
}

#[tokio::test]
async fn one_call_at_a_time_and_the_last_one_counts() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let daemon = StandIn::listen(&socket, "HTTP/1.1 200 OK\r\n\r\ndone\n");
    let mut tailscale = Tailscale::at(socket);
    for call in [TailscaleCall::Restun; 3] {
        tailscale.ask(call);
    }
    daemon.was_asked(&mut tailscale, &["restun"]).await;
    tailscale.ask(TailscaleCall::Rebind);
    tailscale.ask(TailscaleCall::Restun);
    daemon.go.notify_one();
    daemon
        .was_asked(&mut tailscale, &["restun", "rebind"])
        .await;
    daemon.go.notify_one();
    let expected = ["restun", "rebind", "restun"];
    daemon.was_asked(&mut tailscale, &expected).await;
    daemon.go.notify_one();
    drop(timeout(Duration::from_millis(50), tailscale.run()).await);
    assert!(tailscale.call.is_empty() && tailscale.then.is_none() && !tailscale.fails);
}

#[tokio::test]
async fn one_that_hangs_has_no_second_call() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let daemon = StandIn::listen(&socket, "HTTP/1.1 403 Forbidden\r\n\r\nno\n");
    let mut tailscale = Tailscale::at(socket);
    tailscale.ask(TailscaleCall::Restun);
    tailscale.deadline = Some(Instant::now());
    drop(timeout(Duration::from_millis(100), tailscale.run()).await);
    assert!(tailscale.fails && tailscale.deadline.is_none());
    for _ in 0..5 {
        tailscale.ask(TailscaleCall::Restun);
        drop(timeout(Duration::from_millis(20), tailscale.run()).await);
    }
    assert_eq!(daemon.asked(), ["restun"]);
    assert_eq!(tailscale.call.len(), 1);
    daemon.go.notify_one();
    daemon
        .was_asked(&mut tailscale, &["restun", "restun"])
        .await;
}

#[tokio::test]
async fn without_one_nothing_happens() {
    let folder = tempfile::tempdir().unwrap();
    let mut tailscale = Tailscale::at(folder.path().join("s"));
    tailscale.ask(TailscaleCall::Rebind);
    drop(timeout(Duration::from_millis(100), tailscale.run()).await);
    sleep(Duration::from_millis(1)).await;
    assert!(tailscale.call.is_empty() && tailscale.deadline.is_none() && !tailscale.fails);
}
