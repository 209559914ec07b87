//! Listeners on all addresses: whom they take, and from where they answer.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use wslmesh_relay::protocol::Protocol;

use crate::harness::{DEADLINE, Relay, datagram, udp};
use crate::udp::exchange;

/// A client at that address, which takes answers from the one that it asks alone.
fn asking(from: &str, to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(from).expect("an address");
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
    socket.connect(to).expect("a socket");
    socket
}

/// Asks such addresses of a forward that listens there, each from another one.
fn answers(listen_address: &str, asked: &[(&str, &str)]) {
    let guest = udp();
    let mut relay = Relay::start();
    let listen_address: IpAddr = listen_address.parse().expect("an address");
    let at = relay.forward_at(
        listen_address,
        Protocol::Udp,
        guest.local_addr().expect("an address"),
    );
    for (from, to) in asked {
        let mut to: SocketAddr = to.parse().expect("an address");
        to.set_port(at.port());
        let client = asking(from, to);
        let port = exchange(&client, &guest);
        assert_eq!(exchange(&client, &guest), port, "{from} to {to}");
        // Many at once, of one length, take another way.
        for _ in 0..40 {
            guest.send_to(&[1; 900], port).expect("a socket");
        }
        for _ in 0..40 {
            assert_eq!(datagram(&client), (vec![1; 900], to), "{from} to {to}");
        }
    }
}

/// Under wine a program does not choose the address that it sends from.
#[cfg(windows)]
#[test]
fn a_listener_on_all_addresses_answers() {
    answers("0.0.0.0", &[("127.0.0.1:0", "127.0.0.1:0")]);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, Read as _};
    use std::net::Shutdown;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;
    use std::sync::mpsc::channel;

    use wslmesh_relay::protocol::{FailureKind, Listen, ProxyProtocol};

    use super::*;
    use crate::harness::{connect, echo, guest, program, to as leading_to, works};
    use crate::network::inside;

    const NETWORK: &str = "ip link set lo up; for own in 2001:db8::1 2001:db8::2 fe80::1 fe80::2; \
        do ip address add $own/64 dev lo nodad; done";
    const IPV4: [(&str, &str); 2] = [
        ("127.0.0.1:0", "127.0.0.2:0"),
        ("127.0.0.3:0", "127.0.0.1:0"),
    ];

    #[test]
    fn answers_come_from_the_address_that_was_asked() {
        if !inside(
            "families::linux::answers_come_from_the_address_that_was_asked",
            NETWORK,
        ) {
            return;
        }
        answers("0.0.0.0", &IPV4);
        answers("::", &IPV4);
        let by_ipv6 = [
            ("[2001:db8::1]:0", "[2001:db8::2]:0"),
            ("[2001:db8::2]:0", "[2001:db8::1]:0"),
            ("[::1]:0", "[2001:db8::2]:0"),
            ("[2001:db8::2]:0", "[::1]:0"),
            // The interface of a link-local address is its own part: lo is the first one.
            ("[fe80::1%1]:0", "[fe80::2%1]:0"),
        ];
        answers("::", &by_ipv6);
    }

    #[test]
    fn answers_go_on_when_the_address_is_lost() {
        if !inside(
            "families::linux::answers_go_on_when_the_address_is_lost",
            NETWORK,
        ) {
            return;
        }
        let guest = udp();
        let mut relay = Relay::start();
        let listen_address: IpAddr = "::".parse().unwrap();
        let at = relay.forward_at(listen_address, Protocol::Udp, guest.local_addr().unwrap());
        let client = UdpSocket::bind("[2001:db8::1]:0").unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.send_to(b"x", ("2001:db8::2", at.port())).unwrap();
        let (_, port) = datagram(&guest);
        let delete = ["address", "del", "2001:db8::2/64", "dev", "lo"];
        assert!(Command::new("ip").args(delete).status().unwrap().success());
        guest.send_to(b"answer", port).unwrap();
        let (answer, from) = datagram(&client);
        assert_eq!(
            (answer.as_slice(), from.port()),
            (&b"answer"[..], at.port())
        );
    }

    #[test]
    fn both_families_are_taken_and_named() {
        if !inside(
            "families::linux::both_families_are_taken_and_named",
            NETWORK,
        ) {
            return;
        }
        let (sender, received) = channel();
        let service = guest(move |mut stream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            sender.send(bytes).unwrap();
        });
        let mut relay = Relay::start();
        let at = relay.forward_at("::".parse().unwrap(), Protocol::Tcp, service);
        relay.wanted.forwards[0].proxy_protocol = Some(ProxyProtocol::V2);
        relay.apply();
        for (asked, start) in [
            ("127.0.0.1", b"\x21\x11\0\x0c"),
            ("::1", b"\x21\x21\0\x24"),
            ("2001:db8::2", b"\x21\x21\0\x24"),
        ] {
            let asked = SocketAddr::new(asked.parse().unwrap(), at.port());
            let stream = connect(asked);
            let from = stream.local_addr().unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let octets = |of: SocketAddr| match of.ip() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let expected = [
                b"\r\n\r\n\0\r\nQUIT\n".as_slice(),
                start,
                &octets(from),
                &octets(asked),
                &from.port().to_be_bytes(),
                &asked.port().to_be_bytes(),
            ];
            let header = received.recv_timeout(DEADLINE).unwrap();
            assert_eq!(header, expected.concat(), "{asked}");
        }
        relay.wait_for_counters(at, |c| (c.opened, c.failed, c.refused) == (3, 0, 0));
    }

    #[test]
    fn one_address_of_ipv6_leaves_ipv4_to_others() {
        if !inside(
            "families::linux::one_address_of_ipv6_leaves_ipv4_to_others",
            NETWORK,
        ) {
            return;
        }
        let mut relay = Relay::start();
        let service = guest(echo);
        let at = relay.forward_at("2001:db8::1".parse().unwrap(), Protocol::Tcp, service);
        let listen_port = relay.wanted.forwards[0].listen.listen_port;
        for (protocol, listen_address) in [
            (Protocol::Tcp, "0.0.0.0"),
            (Protocol::Udp, "2001:db8::2"),
            (Protocol::Udp, "0.0.0.0"),
        ] {
            let listen = Listen {
                protocol,
                listen_address: listen_address.parse().unwrap(),
                listen_port,
            };
            relay.wanted.forwards.push(leading_to(listen, service));
        }
        let applied = relay.apply();
        assert!(
            applied.iter().all(|one| one.failure.is_none()),
            "{applied:?}"
        );
        for address in ["2001:db8::1", "127.0.0.1"] {
            let at = SocketAddr::new(address.parse().unwrap(), at.port());
            assert!(works(&mut connect(at)), "{address}");
        }
    }

    /// As with `disable_ipv6` for all interfaces.
    #[test]
    fn without_ipv6_the_others_are_served() {
        let network = "ip link set lo up; echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6";
        if !inside(
            "families::linux::without_ipv6_the_others_are_served",
            network,
        ) {
            return;
        }
        let mut relay = Relay::start();
        let at = relay.forward_at("::".parse().unwrap(), Protocol::Tcp, guest(echo));
        let here = SocketAddr::from(([127, 0, 0, 1], at.port()));
        assert!(works(&mut connect(here)));
        answers("::", &IPV4);
        relay.wanted.forwards[0].listen.listen_address = "::1".parse().unwrap();
        assert_eq!(relay.failure().unwrap().kind, FailureKind::NoAddress);
    }

    /// As with `ipv6.disable=1`, or a unit's `RestrictAddressFamilies`: such sockets are
    /// refused.
    #[expect(unsafe_code, reason = "a filter of system calls has no safe interface")]
    fn without_ipv6_sockets(command: &mut Command) {
        let jump = |value, otherwise| libc::sock_filter {
            code: 0x15, // BPF_JMP | BPF_JEQ | BPF_K
            jt: 0,
            jf: otherwise,
            k: value,
        };
        let plain = |code, k| libc::sock_filter {
            code,
            jt: 0,
            jf: 0,
            k,
        };
        let (load, give) = (0x20, 0x06); // BPF_LD | BPF_W | BPF_ABS, BPF_RET | BPF_K
        let errno = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT.cast_unsigned();
        // struct seccomp_data: the call's number, and at 16 its first argument.
        let mut filter = [
            plain(load, 0),
            jump(
                u32::try_from(libc::SYS_socket).expect("a number of a call"),
                3,
            ),
            plain(load, 16),
            jump(libc::AF_INET6.cast_unsigned(), 1),
            plain(give, errno),
            plain(give, libc::SECCOMP_RET_ALLOW),
        ];
        let restrict = move || {
            let program = libc::sock_fprog {
                len: 6,
                filter: filter.as_mut_ptr(),
            };
            // SAFETY: the program and its filter live, and the kernel copies both.
            let restricted = unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                    && libc::prctl(
                        libc::PR_SET_SECCOMP,
                        libc::SECCOMP_MODE_FILTER,
                        &raw const program,
                    ) == 0
            };
            restricted
                .then_some(())
                .ok_or_else(io::Error::last_os_error)
        };
        // SAFETY: between fork and exec it makes system calls alone.
        unsafe { command.pre_exec(restrict) };
    }

    #[test]
    fn a_system_that_refuses_ipv6_serves_ipv4_and_says_so() {
        if !inside(
            "families::linux::a_system_that_refuses_ipv6_serves_ipv4_and_says_so",
            NETWORK,
        ) {
            return;
        }
        let mut command = program();
        without_ipv6_sockets(&mut command);
        let mut relay = Relay::start_by(command);
        let service = guest(echo);
        let at = relay.forward_at("::".parse().unwrap(), Protocol::Tcp, service);
        let listen_port = relay.wanted.forwards[0].listen.listen_port;
        for (protocol, listen_address) in [(Protocol::Udp, "::"), (Protocol::Tcp, "2001:db8::1")] {
            let listen = Listen {
                protocol,
                listen_address: listen_address.parse().unwrap(),
                listen_port,
            };
            relay.wanted.forwards.push(leading_to(listen, service));
        }
        // It is said each time.
        for _ in 0..2 {
            let applied = relay.apply();
            let said: Vec<_> = applied
                .iter()
                .map(|one| (one.failure.map(|failure| failure.kind), one.ipv4_alone))
                .collect();
            let none = (Some(FailureKind::NoAddress), false);
            assert_eq!(said, [(None, true), (None, true), none]);
        }
        let here = SocketAddr::from(([127, 0, 0, 1], at.port()));
        assert!(works(&mut connect(here)));
    }
}
