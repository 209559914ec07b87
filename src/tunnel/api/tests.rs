use std::{num::NonZeroU16, time::Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wslmesh_relay::protocol::{Failure, FailureKind, Listener};

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    forwards: Forwards,
}

impl Bench {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = listen(&folder.path().join("wslmesh"));
        assert!(socket.is_some());
        let forwards = Forwards::new();
        tokio::spawn(serve(socket, forwards.clone()));
        Self { folder, forwards }
    }

    async fn connect(&self) -> UnixStream {
        let path = self.folder.path().join("wslmesh-tunnel/api.sock");
        UnixStream::connect(path).await.unwrap()
    }

    /// The whole answer to a request.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn post(&self, path: &str, body: &str) -> String {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: unix\r\nContent-Length: {length}\r\n\r\n");
        self.ask(&format!("{head}{body}")).await
    }

    async fn all(&self) -> String {
        let answer = self
            .ask("GET /services/forwarder/all HTTP/1.1\r\n\r\n")
            .await;
        answer.split("\r\n\r\n").nth(1).unwrap().trim().to_owned()
    }

    /// A switch that answers each order.
    fn switch(&self, failure: Option<Failure>) -> tokio::task::JoinHandle<()> {
        let forwards = self.forwards.clone();
        tokio::spawn(async move {
            let mut orders = forwards.orders();
            loop {
                let (generation, list) = orders.next(true).await;
                let listeners = list.iter().map(|one| Listener {
                    listen: one.listen,
                    failure,
                    ipv4_alone: false,
                });
                forwards.answered(generation, listeners.collect());
            }
        })
    }
}

const EXPOSE: &str = "/services/forwarder/expose";
const UNEXPOSE: &str = "/services/forwarder/unexpose";
const BODY: &str = r#"{"local":":6443","remote":"192.168.127.2:6443"}"#;

#[tokio::test]
async fn ports_are_exposed_and_removed() {
    let bench = Bench::start();
    assert_eq!(bench.all().await, "[]");
    // Also before there is a switch.
    let answer = bench.post(EXPOSE, BODY).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let _switch = bench.switch(None);
    let udp = BODY.replace('}', r#","protocol":"udp"}"#);
    assert!(bench.post(EXPOSE, &udp).await.starts_with("HTTP/1.1 200"));
    assert_eq!(
        bench.all().await,
        r#"[{"local":":6443","remote":"192.168.127.2:6443","protocol":"tcp"},{"local":":6443","remote":"192.168.127.2:6443","protocol":"udp"}]"#
    );
    let again = bench.post(EXPOSE, BODY).await;
    assert!(
        again.starts_with("HTTP/1.1 409") && again.contains("proxy already running"),
        "{again}"
    );
    assert!(bench.post(UNEXPOSE, BODY).await.starts_with("HTTP/1.1 200"));
    let gone = bench.post(UNEXPOSE, BODY).await;
    assert!(
        gone.starts_with("HTTP/1.1 404") && gone.contains("proxy not found"),
        "{gone}"
    );
    let configured = TunnelForward {
        guest: None,
        guest_port: NonZeroU16::MIN,
        ..bench.forwards.exposed()[0]
    };
    bench.forwards.configure(vec![configured]);
    assert_eq!(bench.all().await, "[]");
    let taken = bench.post(EXPOSE, &udp).await;
    assert!(
        taken.starts_with("HTTP/1.1 409") && taken.contains("of the configuration"),
        "{taken}"
    );
    let stats = bench.ask("GET /stats HTTP/1.0\r\n\r\n").await;
    assert!(stats.contains(r#""BytesSent":0"#), "{stats}");
}

#[tokio::test]
async fn port_that_windows_refuses_is_not_exposed() {
    let bench = Bench::start();
    let _switch = bench.switch(Some(Failure {
        kind: FailureKind::InUse,
        code: 10048,
    }));
    // Its answer to the empty list.
    bench.forwards.listeners().next().await;
    let answer = bench.post(EXPOSE, BODY).await;
    assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
    assert!(answer.contains("cannot listen on tcp [::]:6443: another program has the port"));
    assert_eq!(bench.all().await, "[]");
}

#[tokio::test]
async fn slow_and_bad_clients_hold_nothing() {
    let bench = Bench::start();
    let begun = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = bench.connect().await;
        stream.write_all(b"POST /services").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(bench.all().await, "[]");
    assert!(begun.elapsed() >= CLIENT, "they had their time");
    // Half a body, and then nothing.
    let mut half = bench.connect().await;
    let head =
        format!("POST {EXPOSE} HTTP/1.1\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n");
    half.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    half.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    drop(half);
    let refused = bench.ask("\x16\x03\x01 no HTTP\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    assert_eq!(bench.all().await, "[]");
}
