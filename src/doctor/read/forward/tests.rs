use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream as StdStream},
    thread,
};

use super::*;
use crate::config::settings;

fn block<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(work)
}

/// What becomes of a connection to a service that does this with each.
fn with(serve: fn(StdStream), header: bool) -> Option<Kept> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let service = thread::spawn(move || serve(listener.accept().unwrap().0));
    let kept = block(kept(at, header));
    service.join().unwrap();
    kept.map(|(kept, _)| kept)
}

/// Until the client has gone.
fn wait(mut stream: StdStream) {
    while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
}

#[test]
fn what_services_do_with_a_connection() {
    let silent: fn(StdStream) = wait;
    let banner: fn(StdStream) = |mut stream| {
        stream.write_all(b"SSH-2.0-x\r\n").unwrap();
        let mut read = [0; 64];
        let count = stream.read(&mut read).unwrap_or_default();
        if count > 0 && !read.starts_with(b"SSH-") {
            return;
        }
        wait(stream);
    };
    let http: fn(StdStream) = |mut stream| {
        if stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .unwrap();
        }
        wait(stream);
    };
    let knows: fn(StdStream) = |mut stream| {
        let mut header = [0; 28];
        let read = stream.read(&mut header).unwrap_or_default();
        // Version 2, TCP by IPv4, 12 bytes of addresses.
        if read == 28 && header.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c") {
            wait(stream);
        }
    };
    let closes: fn(StdStream) = drop;
    for (name, service, plain, headed) in [
        ("silent", silent, Kept::Open, Kept::Open),
        ("banner", banner, Kept::Open, Kept::Closed),
        ("http", http, Kept::Open, Kept::BadRequest),
        ("knows", knows, Kept::Open, Kept::Open),
        ("closes", closes, Kept::Closed, Kept::Closed),
    ] {
        assert_eq!(with(service, false), Some(plain), "{name}");
        assert_eq!(with(service, true), Some(headed), "{name}");
    }
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(block(kept(free, true)), None);
}

/// The service is done with the connection before this side has seen that there is one.
#[test]
fn a_reset_while_connecting_is_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let reset = async || {
        let (stream, _) = listener.accept().unwrap();
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    };
    let (found, ()) = block(async { join!(kept(at, false), reset()) });
    assert_eq!(found.map(|(kept, _)| kept), Some(Kept::Closed));
    let (reach, ()) = block(async { join!(connect(Protocol::Tcp, at), reset()) });
    assert_eq!(reach, Reach::Answers);
}

#[test]
fn one_port_of_a_range() {
    let settings = settings(
        "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = \"8000-8010\"\nconnect-port = \"9000-9010\"\n",
    );
    let forward = &settings.forwards[0];
    let socket = |address: &str, port| Socket {
        protocol: Protocol::Tcp,
        address: address.parse().unwrap(),
        port,
        ipv6_only: false,
    };
    let of = |port: Option<u16>, sockets: &[Socket]| {
        let port = port.map(|port| port.try_into().unwrap());
        let found = single(forward, port, sockets)?;
        Some((
            found.listen_port.first().get(),
            found.connect_port.first().get(),
        ))
    };
    assert_eq!(of(None, &[]), Some((8000, 9000)));
    assert_eq!(of(Some(8010), &[]), Some((8010, 9010)));
    assert_eq!(of(Some(9000), &[]), None);
    let loopback = socket("127.0.0.1", 9002);
    assert_eq!(of(None, &[loopback]), Some((8002, 9002)));
    let elsewhere = socket("10.0.0.1", 9004);
    assert_eq!(of(None, &[loopback, elsewhere]), Some((8004, 9004)));
    let open = socket("0.0.0.0", 9007);
    assert_eq!(of(None, &[loopback, elsewhere, open]), Some((8007, 9007)));
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let settings = settings(
        "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\n[[forward]]\nname = \"wireguard\"\nprotocol = \"udp\"\nlisten-port = 51820\n",
    );
    let hint = |name: &str| named(&settings, None, name).unwrap_err().to_string();
    assert_eq!(
        hint("wiregard"),
        "no forward is called \"wiregard\": did you mean \"wireguard\"?"
    );
    assert_eq!(
        hint("nothing-like-it"),
        "no forward is called \"nothing-like-it\": known are ssh, wireguard"
    );
    let none = named(&Settings::default(), None, "ssh").unwrap_err();
    assert!(
        none.to_string()
            .ends_with("none is configured or discovered")
    );
}
