use std::{net::IpAddr, num::NonZeroU16};

use wslmesh_relay::protocol::{FailureKind, Protocol};

use super::*;

fn forward(address: &str, port: u16) -> TunnelForward {
    TunnelForward {
        listen: Listen {
            protocol: Protocol::Tcp,
            listen_address: address.parse().unwrap(),
            listen_port: NonZeroU16::new(port).unwrap(),
        },
        guest: None,
        guest_port: NonZeroU16::new(80).unwrap(),
    }
}

fn answer(forward: TunnelForward, failure: Option<Failure>) -> Listener {
    Listener {
        listen: forward.listen,
        failure,
        ipv4_alone: false,
    }
}

#[tokio::test]
async fn each_switch_gets_the_whole_list() {
    let forwards = Forwards::new();
    let mut orders = forwards.orders();
    assert_eq!(orders.next(true).await, (0, Vec::new()));
    let (one, two) = (forward("0.0.0.0", 80), forward("0.0.0.0", 81));
    forwards.configure(vec![one]);
    forwards.configure(vec![one, two]);
    assert_eq!(orders.next(true).await, (2, vec![one, two]));
    // The same again is no order.
    forwards.configure(vec![two, one]);
    assert!(!orders.0.has_changed().unwrap());
    let mut later = forwards.orders();
    let (generation, list) = later.next(false).await;
    assert_eq!(generation, 2);
    let to: Vec<_> = list.iter().map(|one| one.guest).collect();
    assert_eq!(to, vec![Some(IpAddr::V4(GUEST_V4)); 2]);
    forwards.configure(vec![one]);
    assert_eq!(orders.next(true).await, (3, vec![one]));
}

#[tokio::test]
async fn answers_last_as_long_as_the_switch() {
    let forwards = Forwards::new();
    let one = forward("0.0.0.0", 80);
    let failure = Failure {
        kind: FailureKind::InUse,
        code: 98,
    };
    let mut listeners = forwards.listeners();
    assert_eq!(listeners.next().await, None);
    let answer = vec![answer(one, Some(failure))];
    forwards.answered(1, answer.clone());
    assert_eq!(listeners.next().await, Some(answer));
    forwards.lost();
    assert_eq!(listeners.next().await, None);
}
