use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use super::*;
use crate::model::Listening;

fn text(protocol: Protocol, table: &str) -> Vec<String> {
    let found = parse(protocol, table.as_bytes()).unwrap();
    found.iter().map(ToString::to_string).collect()
}

#[cfg(target_endian = "little")]
#[test]
fn tables_as_a_kernel_writes_them() {
    let tcp = "  sl  local_address rem_address   st tx_queue\n\
            \x20  0: 0100007F:0016 00000000:0000 0A 00000000:00000000\n\
            broken\n\
            \x20  1: 00000000000000000000000001000000:C350 00000000000000000000000000000000:0000 0A x\n\
            \x20  2: 0510A8C0:0016 0610A8C0:0016 01 00000000:00000000\n\
            \x20  3: 00000000:0017 00000000:0000 0A 00000000:00000000\n";
    assert_eq!(
        text(Protocol::Tcp, tcp),
        ["tcp 127.0.0.1:22", "tcp [::1]:50000"],
        "the listeners come first"
    );
    let udp = "heading\n 1: 00000000:CA6C 00000000:0000 07 x\n 2: 0100007F:0035 0100007F:0036 01 x\nbroken\n 3: 00:1 0:0000 07\n \
            4: 0000000000000000FFFF00000100007F:0035 00000000000000000000000000000000:0000 07\n";
    assert_eq!(
        text(Protocol::Udp, udp),
        ["udp 0.0.0.0:51820", "udp 127.0.0.1:53"]
    );
}

#[test]
fn a_kernel_without_ipv6_and_one_without_a_table() {
    let root = tempfile::tempdir().unwrap();
    let read = || sockets(root.path(), Protocol::Tcp);
    assert_eq!(read().unwrap_err().kind(), io::ErrorKind::NotFound);
    std::fs::create_dir_all(root.path().join("proc/net")).unwrap();
    let table = "head\n 0: 00000000:0016 00000000:0000 0A\n";
    std::fs::write(root.path().join("proc/net/tcp"), table).unwrap();
    assert_eq!(read().unwrap().len(), 1);
}

/// Another process takes the port that was just given back too rarely to count.
#[test]
fn sockets_of_this_machine_are_not_touched() {
    let own = Ipv4Addr::LOCALHOST;
    let tcp = TcpListener::bind((own, 0)).unwrap();
    let other = TcpListener::bind("127.0.0.2:0").unwrap();
    let both = TcpListener::bind("[::]:0").unwrap();
    let udp = UdpSocket::bind((own, 0)).unwrap();
    let taken = UdpSocket::bind((own, 0)).unwrap();
    let free = taken.local_addr();
    drop(taken);
    let judged = |protocol, at: io::Result<SocketAddr>| {
        let sockets = sockets(Path::new("/"), protocol).unwrap();
        Listening::at(&sockets, own.into(), protocol, one_port(at.unwrap().port()))
    };
    let second = Listening::Elsewhere(other.local_addr().unwrap());
    assert_eq!(judged(Protocol::Tcp, tcp.local_addr()), Listening::Yes);
    assert_eq!(judged(Protocol::Tcp, other.local_addr()), second);
    assert_eq!(judged(Protocol::Tcp, both.local_addr()), Listening::Yes);
    assert_eq!(judged(Protocol::Udp, udp.local_addr()), Listening::Yes);
    assert_eq!(judged(Protocol::Udp, free), Listening::No);
    both.set_nonblocking(true).unwrap();
    let accepted = both.accept().unwrap_err();
    assert_eq!(
        accepted.kind(),
        io::ErrorKind::WouldBlock,
        "no connection was made"
    );
}

#[test]
fn ipv6_alone_is_told_from_both() {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
    let own = Ipv4Addr::LOCALHOST;
    let any = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0));
    let open = |kind: SocketType, only: bool| {
        let socket = socket(AddressFamily::INET6, kind, None).unwrap();
        sockopt::set_ipv6_v6only(&socket, only).unwrap();
        bind(&socket, &any).unwrap();
        if kind == SocketType::STREAM {
            listen(&socket, 1).unwrap();
        }
        socket
    };
    for (kind, protocol) in [
        (SocketType::STREAM, Protocol::Tcp),
        (SocketType::DGRAM, Protocol::Udp),
    ] {
        if ipv6_only(protocol).is_err() {
            continue;
        }
        for only in [false, true] {
            let socket = open(kind, only);
            let at = rustix::net::getsockname(&socket).unwrap();
            let port = SocketAddr::try_from(at).unwrap().port();
            let sockets = sockets(Path::new("/"), protocol).unwrap();
            let found = Listening::at(&sockets, own.into(), protocol, one_port(port));
            let expected = match only {
                false => Listening::Yes,
                true => Listening::Elsewhere(SocketAddr::new(any.ip(), port)),
            };
            assert_eq!(found, expected, "{protocol} {only}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,200}", hex in "[0-9A-F:]{0,60}") {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let table = format!("head\n 0: {hex} {hex} 0A 07\n0: {text}:{hex} x 07\n{text}\n");
            let found = parse(protocol, table.as_bytes()).unwrap();
            proptest::prop_assert!(found.len() <= table.lines().count());
        }
    }
}

#[test]
fn containers_need_forwarding_and_a_bridge() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    assert!(!passes_on(root.path()));
    write("sys/class/net/docker0/bridge/bridge_id", "");
    assert!(!passes_on(root.path()));
    write("proc/sys/net/ipv4/ip_forward", "0\n");
    assert!(!passes_on(root.path()));
    write("proc/sys/net/ipv4/ip_forward", "1\n");
    assert!(passes_on(root.path()));
    std::fs::remove_dir_all(root.path().join("sys/class/net/docker0")).unwrap();
    write("sys/class/net/eth0/mtu", "1500");
    assert!(!passes_on(root.path()));
    write("sys/class/net/cali12345678901/mtu", "1500");
    assert!(passes_on(root.path()));
}

#[test]
fn a_port_that_is_opened_again_is_another_socket() {
    let open = || UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let (first, local) = (open(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let found = match udp_cookie(port(&local)) {
        // A kernel without CONFIG_INET_UDP_DIAG.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        found => found.unwrap(),
    };
    assert_eq!(found, None, "it is not of 0.0.0.0");
    let number = udp_cookie(port(&first)).unwrap();
    assert!(number.is_some());
    assert_eq!(udp_cookie(port(&first)).unwrap(), number);
    let at = port(&first);
    drop(first);
    let second = UdpSocket::bind(("0.0.0.0", at)).unwrap();
    let again = udp_cookie(port(&second)).unwrap();
    assert!(again.is_some() && again != number, "{again:?}");
}

fn one_port(port: u16) -> crate::model::PortRange {
    std::num::NonZeroU16::new(port).unwrap().into()
}
