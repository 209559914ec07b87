use std::{env, io, io::Write, os::unix::net::UnixStream, path::PathBuf, process};

use wslmesh_relay::link::{LinkError, second::Place};

use super::*;

fn by_socket(name: &str) -> (Moving, PathBuf) {
    let path = env::temp_dir().join(format!("wslmesh-{name}-{}", process::id()));
    (Moving::begin(Plan::Unix(path.clone())), path)
}

fn closed() -> TunnelError {
    TunnelError::Fault(Fault::Closed)
}

#[tokio::test]
async fn a_move_has_its_turns() {
    let (mut moving, path) = by_socket("turns");
    // Before its turn.
    assert_eq!(moving.arrived(), None);
    assert!(moving.refused("early").is_none());
    assert_eq!(moving.blamed(&closed()), None);
    let Turn::Ask(ToSwitch::Move { token, to }) = moving.turn().await else {
        panic!("{moving:?}");
    };
    let shown = path.to_str().unwrap().to_owned();
    assert_eq!(to, Place::Unix { path: shown });
    assert_eq!(moving.arrived(), None);
    let mut switch = UnixStream::connect(&path).unwrap();
    switch.write_all(token.bytes()).unwrap();
    let Turn::Leave(_second) = moving.turn().await else {
        panic!("{moving:?}");
    };
    assert!(moving.refused("late").is_none());
    assert_eq!(moving.arrived(), Some(TunnelWay::UnixSocket));
    assert_eq!(moving.arrived(), None, "it moved twice");

    let broken = TunnelError::Fault(Fault::SecondWay);
    let misplaced = TunnelError::Fault(Fault::Link(LinkError::Misplaced("x")));
    for error in [closed(), broken, misplaced, TunnelError::Hung(SOON)] {
        let why = moving.blamed(&error).unwrap();
        assert!(why.contains("Unix socket") && why.contains(&error.to_string()));
    }
    let device = Fault::Device(io::ErrorKind::NotFound.into());
    assert_eq!(moving.blamed(&TunnelError::Fault(device)), None);
    // An ordinary end.
    let before = Instant::now().checked_sub(SOON).unwrap();
    moving.state = State::Moved(before);
    assert_eq!(moving.blamed(&closed()), None);
}

#[tokio::test]
async fn what_fails_stays() {
    let mut moving = Moving::begin(Plan::Stay("so".to_owned()));
    let turn = moving.turn().await;
    assert!(matches!(turn, Turn::Stay(why, None) if why == "so"));
    assert_eq!(moving.blamed(&closed()), None);

    let (mut moving, path) = by_socket("refused");
    let Turn::Ask(_) = moving.turn().await else {
        panic!("{moving:?}");
    };
    let turn = moving.refused("it cannot\nconnect");
    assert!(matches!(turn, Some(Turn::Stay(why, None)) if why == "the switch: it cannot connect"));
    assert!(!path.exists());
    assert_eq!(moving.blamed(&closed()), None);

    // The switch does not come, and is to know that it need not.
    let (mut moving, _) = by_socket("late");
    let Turn::Ask(_) = moving.turn().await else {
        panic!("{moving:?}");
    };
    let turn = moving.turn().await;
    assert!(
        matches!(turn, Turn::Stay(_, Some(ToSwitch::Stay))),
        "{turn:?}"
    );

    // A switch that ends at the question does not get it again.
    let (mut moving, _) = by_socket("asked");
    let Turn::Ask(_) = moving.turn().await else {
        panic!("{moving:?}");
    };
    assert!(moving.blamed(&closed()).is_some());
}
