use std::{num::NonZeroU16, os::unix::net::UnixListener as StdListener, time::Instant};

use tokio::net::UnixListener;
use wslmesh_relay::protocol::{Listen, Listener, Protocol};

use super::*;

fn forward(port: u16) -> TunnelForward {
    let port = NonZeroU16::new(port).unwrap();
    TunnelForward {
        listen: Listen {
            protocol: Protocol::Tcp,
            listen_address: [0, 0, 0, 0].into(),
            listen_port: port,
        },
        guest: None,
        guest_port: port,
    }
}

async fn line(stream: &mut BufReader<UnixStream>) -> TunnelOrder {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    serde_json::from_str(&line).unwrap()
}

async fn until(forwards: &mut Forwards, wanted: Option<TunnelListeners>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while forwards.listeners() != wanted.as_ref() {
        assert!(Instant::now() < deadline);
        forwards.changed().await;
    }
}

#[tokio::test]
async fn list_is_handed_over_and_answers_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = folder.path().join("wslmesh");
    std::fs::create_dir(folder.path().join("wslmesh-tunnel")).unwrap();
    let path = tunnel_socket(&runtime, "agent.sock");
    let mut forwards = Forwards::new(&runtime);
    // Nothing is wanted of it.
    forwards.follow(Vec::new(), true);
    assert!(forwards.answers.is_none());
    forwards.follow(vec![forward(80)], false);
    assert!(forwards.answers.is_none());
    // It is there later than its link.
    forwards.follow(vec![forward(80)], true);
    let listener = StdListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    let mut tunnel = BufReader::new(listener.accept().await.unwrap().0);
    assert_eq!(line(&mut tunnel).await.forwards, vec![forward(80)]);
    let listens = vec![Listener {
        listen: forward(80).listen,
        failure: None,
        ipv4_alone: false,
    }];
    let answer = TunnelAnswer {
        listeners: Some(listens.clone()),
    };
    let mut answer = serde_json::to_vec(&answer).unwrap();
    answer.push(b'\n');
    // In two pieces.
    let (first, second) = answer.split_at(9);
    tunnel.write_all(first).await.unwrap();
    tunnel.flush().await.unwrap();
    tokio::task::yield_now().await;
    tunnel.write_all(second).await.unwrap();
    until(&mut forwards, Some(listens)).await;
    forwards.follow(Vec::new(), true);
    assert_eq!(line(&mut tunnel).await.forwards, Vec::new());
    // A process that ends, and another one.
    drop(tunnel);
    until(&mut forwards, None).await;
    forwards.follow(vec![forward(81)], true);
    let mut tunnel = BufReader::new(listener.accept().await.unwrap().0);
    assert_eq!(line(&mut tunnel).await.forwards, vec![forward(81)]);
    forwards.follow(vec![forward(81)], false);
    assert_eq!(tunnel.read_line(&mut String::new()).await.unwrap(), 0);
}
