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
    forwards.expose(two).unwrap();
    assert_eq!(orders.next(true).await, (2, vec![one, two]));
    // The same again is no order.
    forwards.configure(vec![one]);
    assert!(!orders.0.has_changed().unwrap());
    let mut later = forwards.orders();
    let (generation, list) = later.next(false).await;
    assert_eq!(generation, 2);
    let to: Vec<_> = list.iter().map(|one| one.guest).collect();
    assert_eq!(to, vec![Some(IpAddr::V4(GUEST_V4)); 2]);
    forwards.unexpose(two.listen).unwrap();
    assert_eq!(orders.next(true).await, (3, vec![one]));
}

#[test]
fn api_takes_no_port_of_the_configuration() {
    let forwards = Forwards::new();
    forwards.configure(vec![forward("127.0.0.1", 80)]);
    for address in ["127.0.0.1", "0.0.0.0", "::"] {
        let refused = forwards.expose(forward(address, 80));
        assert!(
            matches!(refused, Err(ExposeError::Configured(..))),
            "{refused:?}"
        );
    }
    let other = forward("0.0.0.0", 81);
    forwards.expose(other).unwrap();
    assert_eq!(
        forwards.expose(other),
        Err(ExposeError::Exposed(other.listen))
    );
    let overlaps = forwards.expose(forward("127.0.0.1", 81));
    assert!(matches!(overlaps, Err(ExposeError::Overlaps(..))));
    assert_eq!(forwards.exposed(), vec![other]);
    // The configuration takes it over.
    forwards.configure(vec![forward("127.0.0.1", 81)]);
    assert_eq!(forwards.exposed(), Vec::new());
    let gone = forwards.unexpose(other.listen);
    assert_eq!(gone, Err(ExposeError::NotExposed(other.listen)));
    for port in 1000..1128 {
        forwards.expose(forward("0.0.0.0", port)).unwrap();
    }
    assert_eq!(
        forwards.expose(forward("0.0.0.0", 2000)),
        Err(ExposeError::TooMany)
    );
    // However many the configuration has, the switch takes the list.
    let many = (3000..4000).map(|port| forward("0.0.0.0", port)).collect();
    forwards.configure(many);
    let lists = forwards.lists.borrow();
    assert!(lists.configured.len() + lists.exposed.len() <= MAX_FORWARDS);
}

#[tokio::test]
async fn answer_to_the_last_order_counts() {
    let forwards = Forwards::new();
    let one = forward("0.0.0.0", 80);
    forwards.expose(one).unwrap();
    // Without a switch there is nothing to wait for.
    assert_eq!(forwards.settled(one.listen).await, None);
    forwards.answered(0, Vec::new());
    let failure = Failure {
        kind: FailureKind::InUse,
        code: 98,
    };
    let later = forwards.clone();
    let answers = tokio::spawn(async move {
        tokio::task::yield_now().await;
        later.answered(1, vec![answer(one, Some(failure))]);
    });
    assert_eq!(forwards.settled(one.listen).await, Some(failure));
    answers.await.unwrap();
    let mut listeners = forwards.listeners();
    assert_eq!(listeners.next().await.map(|all| all.len()), Some(1));
    forwards.lost();
    assert_eq!(listeners.next().await, None);
}
