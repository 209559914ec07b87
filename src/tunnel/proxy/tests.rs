use std::net::{IpAddr, Ipv4Addr};

use wslmesh_relay::protocol::Protocol;

use super::*;

fn listen(port: u16) -> Listen {
    Listen {
        protocol: Protocol::Tcp,
        listen_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        listen_port: port.try_into().unwrap(),
    }
}

fn change(remove: bool, ports: impl IntoIterator<Item = u16>) -> Change {
    Change {
        remove,
        listens: ports.into_iter().map(listen).collect(),
        refused: Vec::new(),
    }
}

#[test]
fn what_is_published_is_wanted_until_it_is_not() {
    let mut wanted = BTreeSet::new();
    assert!(apply(&mut wanted, change(false, [80, 81])));
    assert!(!apply(&mut wanted, change(false, [81])));
    assert!(apply(&mut wanted, change(true, [80, 82])));
    assert!(!apply(&mut wanted, change(true, [82])));
    assert_eq!(wanted, BTreeSet::from([listen(81)]));
}

#[test]
fn ports_have_a_limit() {
    let mut wanted = BTreeSet::new();
    assert!(apply(&mut wanted, change(false, 1..=2000)));
    assert_eq!(wanted.len(), PORTS);
    assert!(!apply(&mut wanted, change(false, [1, 3000])));
    assert!(apply(&mut wanted, change(true, [1])));
    assert!(apply(&mut wanted, change(false, [3000])));
    assert_eq!(wanted.len(), PORTS);
}

/// What one sender's bytes give.
async fn sent(bytes: &[u8], close: bool) -> (usize, Option<String>) {
    use tokio::io::AsyncWriteExt;
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (sender, mut changes) = mpsc::channel(CHANGES);
    ours.write_all(bytes).await.unwrap();
    let ours = (!close).then_some(ours);
    let result = read(theirs, sender).await;
    drop(ours);
    let mut count = 0;
    while changes.recv().await.is_some() {
        count += 1;
    }
    (count, result.err().map(|error| error.to_string()))
}

#[tokio::test(start_paused = true)]
async fn a_sender_says_whole_messages_or_is_given_up() {
    let whole = br#"{"ports":{}}{"ports":{}}"#;
    assert_eq!(sent(whole, true).await, (2, None));
    assert_eq!(
        sent(whole, false).await,
        (2, None),
        "silent between messages"
    );
    let half = br#"{"ports":{}}{"por"#;
    let (count, error) = sent(half, true).await;
    assert_eq!(
        (count, error.as_deref()),
        (1, Some("it ended within a message"))
    );
    let (count, error) = sent(half, false).await;
    assert_eq!(count, 1);
    assert_eq!(
        error.as_deref(),
        Some("it was silent for 30 s within a message")
    );
    let (count, error) = sent(b"GET / HTTP/1.1\r\n\r\n", true).await;
    assert_eq!(count, 0);
    assert!(error.unwrap().starts_with("it is no message of ports"));
}
