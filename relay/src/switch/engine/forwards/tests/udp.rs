//! Clients of UDP.

use super::*;
use crate::switch::engine::testing::udp;

/// A datagram that the guest got: from, to and data.
fn datagrams(driver: &mut Driver) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
    let bodies = driver.take();
    let datagrams = bodies.iter().map(|body| {
        let packet = Packet::parse(body).expect("a packet");
        let got = Datagram::parse(&packet).expect("a datagram");
        (got.guest, got.server, got.data.to_vec())
    });
    datagrams.collect()
}

#[test]
fn each_client_of_udp_has_a_port_and_gets_its_answers() {
    let mut driver = Driver::new();
    driver.set(1, &[forward(UDP, "0.0.0.0:51820", 51821)]);
    let socket = driver.network.0.borrow().udp[0].clone();
    assert_eq!(socket.borrow().to, Some("0.0.0.0:51820".parse().unwrap()));
    let (one, other) = ("203.0.113.5:1", "203.0.113.6:1");
    for from in [one, other, one] {
        arrive(&mut driver, &socket, from.as_bytes(), from);
    }
    let got = datagrams(&mut driver);
    let ports: Vec<_> = got.iter().map(|(from, ..)| *from).collect();
    assert_eq!(ports[0], ports[2]);
    assert_ne!(ports[0], ports[1]);
    let guest = SocketAddr::new(GUEST, 51821);
    assert!(
        got.iter()
            .all(|(from, to, _)| *to == guest && from.ip() == IpAddr::from(link::GATEWAY_V4))
    );
    assert_eq!(got[1].2, other.as_bytes());
    driver.feed(&[udp(guest, ports[1], b"answer"), udp(guest, ports[0], b"")]);
    let sent = socket.borrow_mut().sent.split_off(0);
    let wanted = [
        (b"answer".to_vec(), other.parse().unwrap()),
        (vec![], one.parse().unwrap()),
    ];
    assert_eq!(sent, wanted);
    // From another port of the guest there is no client.
    driver.feed(&[udp(SocketAddr::new(GUEST, 9), ports[0], b"no")]);
    assert!(socket.borrow().sent.is_empty());
    assert_eq!(driver.take().len(), 1, "a refusal");
    assert_eq!(driver.counters().udp_active, 2);
    // Without an answer it would be 30 s.
    driver.pass(Duration::from_secs(179));
    assert_eq!(driver.counters().udp_active, 2);
    driver.pass(Duration::from_secs(2));
    assert_eq!(driver.counters().udp_active, 0);
    assert_eq!(driver.engine.deadline(), None);
}

#[test]
fn strangers_of_udp_make_room_and_friends_stay() {
    let mut driver = Driver::new();
    driver.set(1, &[forward(UDP, "0.0.0.0:51820", 51821)]);
    let socket = driver.network.0.borrow().udp[0].clone();
    arrive(&mut driver, &socket, b"friend", "203.0.113.5:1");
    let (from, guest, _) = datagrams(&mut driver).remove(0);
    driver.feed(&[udp(guest, from, b"answer")]);
    for number in 0..5000_u32 {
        let stranger =
            SocketAddr::new(std::net::Ipv4Addr::from_bits(number + (10 << 24)).into(), 1);
        arrive(&mut driver, &socket, b"x", &stranger.to_string());
        driver.take();
    }
    assert_eq!(driver.counters().udp_active, 4096);
    arrive(&mut driver, &socket, b"friend", "203.0.113.5:1");
    assert_eq!(datagrams(&mut driver)[0].0, from);
    driver.pass(Duration::from_secs(40));
    assert_eq!(driver.counters().udp_active, 1);
    // Another place in the guest is another conversation.
    driver.set(2, &[forward(UDP, "0.0.0.0:51820", 51822)]);
    assert_eq!(driver.counters().udp_active, 0);
    assert!(!socket.borrow().closed);
    driver.set(3, &[]);
    assert!(socket.borrow().closed);
}

#[test]
fn forward_takes_the_port_of_a_flow() {
    let mut driver = Driver::new();
    let server = "203.0.113.9:53".parse().unwrap();
    driver.feed(&[udp(SocketAddr::new(GUEST, 4000), server, b"x")]);
    let flow = driver.network.0.borrow().udp[0].clone();
    flow.borrow_mut().to = Some("0.0.0.0:51820".parse().unwrap());
    driver.network.0.borrow_mut().taken = vec![51820];
    driver.set(1, &[forward(UDP, "0.0.0.0:51820", 51821)]);
    // Something else has it in this test all the same.
    assert!(flow.borrow().closed);
    assert!(applied(&mut driver).unwrap().1[0].1.is_some());
}
