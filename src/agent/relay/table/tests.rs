//! Tables in memory and on disk.

use std::fs;

use super::*;
use crate::model::{Admit, RelayForward, RelayLocation};
use wslmesh_relay::protocol::Listen;

fn session(listen: u16, client: u16, port: u16) -> Session {
    Session {
        listen_address: [0; 4].into(),
        listen_port: NonZeroU16::new(listen).unwrap(),
        client: ([192, 0, 2, 9], client).into(),
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
        admit: Admit::Any,
        proxy_protocol: None,
    };
    RelaySet {
        location: RelayLocation::Guest,
        forwards: vec![("x".into(), forward)],
    }
}

/// Applies an event while UDP port 1 is forwarded.
fn update(table: &mut Table, complete: bool, opened: Vec<Session>, closed: &[Session]) -> bool {
    let wanted = wanted(Protocol::Udp, 1);
    table.update(Some(&wanted), complete, opened, closed)
}

#[test]
fn sessions_are_opened_replaced_and_closed() {
    let mut table = Table::default();
    let both = vec![session(1, 10, 100), session(1, 11, 101)];
    update(&mut table, false, both, &[]);
    update(
        &mut table,
        false,
        vec![session(1, 10, 102)],
        &[session(1, 10, 100)],
    );
    assert_eq!(
        table.sessions(9),
        [session(1, 10, 102), session(1, 11, 101)]
    );
    // The end of an old session does not affect the new one.
    update(
        &mut table,
        false,
        Vec::new(),
        &[session(1, 10, 100), session(1, 11, 101)],
    );
    assert_eq!(table.sessions(9), [session(1, 10, 102)]);
    update(&mut table, true, vec![session(1, 12, 103)], &[]);
    assert_eq!(table.sessions(9), [session(1, 12, 103)]);
    assert_eq!(table.sessions(0), []);
}

#[test]
fn sessions_that_cannot_be_are_ignored_and_too_many_are_noticed() {
    let mut table = Table::default();
    // The relay has not yet read that this forward was removed.
    assert!(update(&mut table, false, vec![session(2, 10, 100)], &[]));
    assert!(table.update(None, false, vec![session(1, 10, 100)], &[]));
    assert_eq!(table.len(), 0);
    let most = u16::try_from(MAX_UDP_SESSIONS).unwrap();
    let opened = |clients: std::ops::RangeInclusive<u16>| {
        let sessions = clients.map(|client| session(1, client, 100));
        sessions.collect::<Vec<_>>()
    };
    assert!(update(&mut table, false, opened(1..=most), &[]));
    assert!(update(&mut table, false, opened(1..=most), &[]), "the same");
    assert!(!update(&mut table, false, opened(most + 1..=most + 1), &[]));
    assert_eq!(table.len(), 0, "no good relay reported them");
}

#[test]
fn sessions_of_removed_forwards_are_forgotten() {
    let table = || {
        let mut table = Table::default();
        update(&mut table, false, vec![session(1, 10, 100)], &[]);
        table
    };
    let kept = |wanted: Option<RelaySet>| {
        let mut table = table();
        table.want(wanted.as_ref());
        table.len()
    };
    assert_eq!(kept(Some(wanted(Protocol::Udp, 1))), 1);
    assert_eq!(kept(Some(wanted(Protocol::Tcp, 1))), 0);
    assert_eq!(kept(Some(wanted(Protocol::Udp, 2))), 0);
    assert_eq!(kept(None), 0);
}

#[test]
fn table_is_restored_and_a_damaged_file_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay-sessions.json");
    let mut table = Table::load(path.clone());
    assert_eq!((table.len(), table.due), (0, None));
    let set = wanted(Protocol::Udp, 1);
    table.want(Some(&set));
    update(&mut table, false, vec![session(1, 10, 100)], &[]);
    drop(table);
    let again = Table::load(path.clone());
    assert_eq!(again.sessions(9), [session(1, 10, 100)]);
    assert_eq!(again.wanted(), Some(&set));
    drop(again);
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
async fn writes_are_rate_limited_and_block_no_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay-sessions.json");
    let mut table = Table::load(path.clone());
    update(&mut table, false, vec![session(1, 10, 100)], &[]);
    let due = table.due.unwrap();
    assert!(due <= Instant::now(), "the first change at once");
    table.save_if_due(due);
    assert_eq!(table.due, None);
    update(&mut table, false, vec![session(1, 11, 101)], &[]);
    assert_eq!(table.due, Some(due + SAVE_INTERVAL));
    table.save_if_due(due + SAVE_INTERVAL / 2);
    assert!(table.due.is_some(), "not before it is due");
    while table.saves.busy() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(read(&path).unwrap().sessions, [session(1, 10, 100)]);
}

#[test]
fn late_write_does_not_replace_a_newer_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay-sessions.json");
    let unwritten = Unwritten::default();
    let (earlier, later) = (unwritten.clone(), unwritten.clone());
    earlier.set(b"old".to_vec());
    later.set(b"new".to_vec());
    later.write(&path);
    assert_eq!(fs::read(&path).unwrap(), b"new");
    fs::write(&path, b"newer").unwrap();
    earlier.write(&path);
    assert_eq!(fs::read(&path).unwrap(), b"newer");
}
