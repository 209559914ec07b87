use std::net::{TcpListener, UdpSocket as StdUdp};

use super::*;
use crate::doctor::tests::{machine, write};

fn block<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(work)
}

/// The listener is this process's, which its own /proc shows without rights.
#[test]
fn a_socket_of_this_process_has_its_name() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = tcp.local_addr().unwrap();
    let bound = observe::bound(Protocol::Tcp, at.port()).unwrap();
    let found = holders(&Root("/".into()), &bound, false, None);
    let own = found.iter().find(|one| one.socket.address == at.ip());
    let Some(Owner::Process { id, .. }) = own.map(|one| &one.owner) else {
        panic!("{found:?}");
    };
    assert_eq!(*id, std::process::id());
}

#[test]
fn a_socket_that_no_process_has_is_elsewhere_hidden_or_the_kernels() {
    let (_folder, root) = machine(&[("/etc/passwd", "root:x:0:0::/:\nme:x:1000:1000::/:\n")]);
    write(&root, "/proc/7/comm", "nginx\n");
    write(&root, "/proc/7/cgroup", "0::/system.slice/nginx.service\n");
    write(&root, "/proc/7/fd/.keep", "");
    std::os::unix::fs::symlink("socket:[42]", root.at("/proc/7/fd/3")).unwrap();
    let of = |inode, is_root, kernel| {
        let one = BoundSocket {
            socket: crate::model::Socket {
                protocol: Protocol::Tcp,
                address: Ipv4Addr::UNSPECIFIED.into(),
                port: 80,
                ipv6_only: false,
            },
            user: if inode == 42 { 1000 } else { 33 },
            inode,
        };
        let found = holders(&root, &[one], is_root, kernel);
        found
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(of(42, true, None), "nginx (7), user me, unit nginx.service");
    assert_eq!(
        of(43, true, None),
        "a process of another distribution, user 33"
    );
    assert_eq!(
        of(43, false, None),
        "a process that only root sees, user 33"
    );
    assert_eq!(of(43, true, Some("wg0")), "WireGuard in the kernel (wg0)");
}

#[test]
fn connections_are_told_apart() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = tcp.local_addr().unwrap();
    let udp = StdUdp::bind("127.0.0.1:0").unwrap();
    let closed = udp.local_addr().unwrap();
    drop(udp);
    block(async {
        assert_eq!(connect(Protocol::Tcp, open).await, Reach::Answers);
        drop(tcp);
        assert_eq!(connect(Protocol::Tcp, open).await, Reach::Refused);
        assert_eq!(connect(Protocol::Udp, closed).await, Reach::Refused);
    });
    for (kind, expected) in [
        (io::ErrorKind::HostUnreachable, Reach::Unreachable),
        (io::ErrorKind::PermissionDenied, Reach::Unreachable),
        (io::ErrorKind::TimedOut, Reach::TimedOut),
        (io::ErrorKind::ConnectionReset, Reach::Answers),
        (io::ErrorKind::OutOfMemory, Reach::Unknown),
    ] {
        assert_eq!(reach(&kind.into()), expected);
    }
}
