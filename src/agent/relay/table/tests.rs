//! Tables in memory and on disk.

use std::fs;

use super::*;
use crate::model::{RelayForward, RelayPlace};
use wslmesh_relay::protocol::Listen;

fn session(listen: u16, client: u16, port: u16) -> Session {
    Session {
        listen_address: [0; 4].into(),
        listen_port: NonZeroU16::new(listen).unwrap(),
        client: SocketAddrV4::new([192, 0, 2, 9].into(), client),
        port: NonZeroU16::new(port).unwrap(),
    }
}

fn wanted(protocol: Protocol, listen: u16) -> RelaySet {
    let port = NonZeroU16::new(listen).unwrap();
    let forward = RelayForward {
        listen: Listen {
            protocol,
            listen_address: [0; 4].into(),
            listen_port: port,
        },
        connect_address: [172, 28, 16, 5].into(),
        connect_port: port,
    };
    RelaySet {
        place: RelayPlace::Guest,
        forwards: vec![("x".into(), forward)],
    }
}

#[test]
fn clients_come_go_and_come_back() {
    let mut table = Table::default();
    table.update(false, vec![session(1, 10, 100), session(1, 11, 101)], &[]);
    table.update(false, vec![session(1, 10, 102)], &[session(1, 10, 100)]);
    assert_eq!(
        table.sessions(9),
        [session(1, 10, 102), session(1, 11, 101)]
    );
    // The end of what it was before says nothing of what it is now.
    table.update(
        false,
        Vec::new(),
        &[session(1, 10, 100), session(1, 11, 101)],
    );
    assert_eq!(table.sessions(9), [session(1, 10, 102)]);
    table.update(true, vec![session(2, 10, 103)], &[]);
    assert_eq!(table.sessions(9), [session(2, 10, 103)]);
    assert_eq!(table.sessions(0), []);
}

#[test]
fn clients_of_forwards_that_are_gone_are_forgotten() {
    let table = || {
        let mut table = Table::default();
        table.update(false, vec![session(1, 10, 100)], &[]);
        table
    };
    let kept = |wanted: Option<RelaySet>| {
        let mut table = table();
        table.keep(wanted.as_ref());
        table.len()
    };
    assert_eq!(kept(Some(wanted(Protocol::Udp, 1))), 1);
    assert_eq!(kept(Some(wanted(Protocol::Tcp, 1))), 0);
    assert_eq!(kept(Some(wanted(Protocol::Udp, 2))), 0);
    assert_eq!(kept(None), 0);
}

#[test]
fn the_file_survives_and_damage_is_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay-sessions.json");
    let mut table = Table::load(path.clone());
    assert_eq!((table.len(), table.due()), (0, None));
    table.update(false, vec![session(1, 10, 100)], &[]);
    drop(table);
    assert_eq!(Table::load(path.clone()).sessions(9), [session(1, 10, 100)]);
    for damage in [
        "",
        "{",
        r#"{"version":2,"sessions":[]}"#,
        r#"{"version":1,"sessions":[{"listen-address":"x"}]}"#,
    ] {
        fs::write(&path, damage).unwrap();
        assert_eq!(Table::load(path.clone()).len(), 0, "{damage:?}");
    }
}

#[tokio::test]
async fn writes_are_rare_and_off_the_loop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay-sessions.json");
    let mut table = Table::load(path.clone());
    table.update(false, vec![session(1, 10, 100)], &[]);
    let due = table.due().unwrap();
    assert!(due <= Instant::now(), "the first change at once");
    table.save_if_due(due);
    assert_eq!(table.due(), None);
    table.update(false, vec![session(1, 11, 101)], &[]);
    assert_eq!(table.due(), Some(due + BETWEEN));
    table.save_if_due(due + BETWEEN / 2);
    assert!(table.due().is_some(), "not before its time");
    if let Some(saving) = table.saving.take() {
        saving.await.unwrap();
    }
    assert_eq!(read(&path).unwrap(), [session(1, 10, 100)]);
}

#[test]
fn a_write_that_comes_too_late_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay-sessions.json");
    let mut turns = Turns::default();
    let (earlier, later) = (turns.next(), turns.next());
    later.write(&path, b"new");
    earlier.write(&path, b"old");
    assert_eq!(fs::read(&path).unwrap(), b"new");
}
