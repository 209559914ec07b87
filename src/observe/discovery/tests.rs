use std::net::{TcpListener, UdpSocket};

use super::*;
use crate::config::settings;

/// `[discovery]` with these ports.
fn at(tcp: &str, udp: &str) -> Discovery {
    settings(&format!(
        "[discovery]\ntcp = [{tcp}]\nudp = [{udp}]\ndeny = []"
    ))
    .discovery
}

/// What is found of a protocol, by port; `None` on a kernel that has no such table.
fn found(discovery: &Discovery) -> Option<BTreeMap<(Protocol, u16), (Listener, Owner)>> {
    match Question::new(discovery).ask() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => {
            let found = found.unwrap().into_iter();
            Some(
                found
                    .map(|one| ((one.0.protocol, one.0.port.get()), one))
                    .collect(),
            )
        }
    }
}

#[test]
fn only_ports_in_the_ranges() {
    let tcp = [(); 4].map(|()| TcpListener::bind("0.0.0.0:0").unwrap());
    let mut ports = tcp.each_ref().map(|one| one.local_addr().unwrap().port());
    ports.sort_unstable();
    let [first, second, third, fourth] = ports;
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let datagram = udp.local_addr().unwrap().port();
    // A connection at a port in the ranges does not listen.
    let client = std::net::TcpStream::connect(("127.0.0.1", first)).unwrap();
    let of_client = client.local_addr().unwrap().port();
    let discovery = at(
        &format!("{first}, \"{second}-{second}\", {of_client}, \"{fourth}-65535\""),
        &format!("{datagram}"),
    );
    let Some(found) = found(&discovery) else {
        return;
    };
    for port in [first, second, fourth] {
        let (listener, _) = found[&(Protocol::Tcp, port)];
        assert_eq!(listener.address, IpAddr::from([0, 0, 0, 0]));
        assert_eq!(listener.interface, None);
    }
    assert_eq!(
        found[&(Protocol::Udp, datagram)].0.address,
        IpAddr::from([127, 0, 0, 1])
    );
    for absent in [
        (Protocol::Tcp, third),
        (Protocol::Tcp, of_client),
        (Protocol::Tcp, datagram),
    ] {
        let is_in_the_last = absent.1 >= fourth && absent.1 != of_client;
        assert!(is_in_the_last || !found.contains_key(&absent), "{absent:?}");
    }
}

#[test]
fn sockets_of_ipv6_in_the_same_answer() {
    let Ok(both) = TcpListener::bind("[::]:0") else {
        return;
    };
    let port = both.local_addr().unwrap().port();
    let Some(found) = found(&at(&port.to_string(), "")) else {
        return;
    };
    let (listener, _) = found[&(Protocol::Tcp, port)];
    assert_eq!(
        (listener.address.is_ipv6(), listener.ipv6_only),
        (true, false)
    );
}

#[test]
fn names_the_program() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let Some(found) = found(&at(&port.to_string(), "")) else {
        return;
    };
    let (_, owner) = found[&(Protocol::Tcp, port)];
    let names = owners(Path::new("/"), &[owner].into());
    let own = fs::read_to_string("/proc/self/comm").unwrap();
    assert_eq!(names[&owner], own.trim_end());
    let port = NonZeroU16::new(port).unwrap();
    let at_port = (Protocol::Tcp, port);
    assert_eq!(owners_at(&[at_port])[&at_port], [own.trim_end()]);
    let listeners = listeners(&Question::new(&at(&port.to_string(), ""))).unwrap();
    assert!(
        listeners.is_empty(),
        "no one else reaches it: {listeners:?}"
    );
}

#[test]
fn names_the_unit_of_a_program_that_cannot_be_seen() {
    let root = tempfile::tempdir().unwrap();
    let cgroups = root.path().join("sys/fs/cgroup");
    let unit = cgroups.join("system.slice/nginx.service");
    fs::create_dir_all(&unit).unwrap();
    let cgroup = fs::metadata(&unit).unwrap().ino();
    let owner = Owner { inode: 7, cgroup };
    let unknown = Owner {
        inode: 8,
        cgroup: 0,
    };
    let wanted = [owner, unknown].into();
    assert!(owners(root.path(), &wanted).is_empty(), "of version 1");
    fs::write(cgroups.join("cgroup.controllers"), "").unwrap();
    let names = owners(root.path(), &wanted);
    assert_eq!(names, [(owner, "nginx.service".to_owned())].into());
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(0..=255_u8, 0..140)) {
        listener(Protocol::Tcp, &bytes);
    }
}
