use std::net::UdpSocket;

use super::*;
use crate::model::InterfaceName;

/// Nothing holds bind() up here, so that the kernel alone answers.
#[test]
fn the_port_stays_its_owners_and_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claimed");
    let owner = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = owner.local_addr().unwrap().port();
    let claim = |socket| PortClaim {
        name: InterfaceName::new("wg0").unwrap(),
        port,
        socket,
    };
    remembered(&file, &claim(7)).unwrap();
    remembered(&file, &claim(8)).unwrap();
    assert_eq!(observe::claimed(&file), [7, 8].into());
    drop(owner);
    remembered(&file, &claim(9)).unwrap();
    UdpSocket::bind(("0.0.0.0", port)).expect("a claim takes no port");
}

#[test]
fn what_cannot_be_remembered_is_not_claimed() {
    let claim = PortClaim {
        name: InterfaceName::new("wg0").unwrap(),
        port: 9,
        socket: 7,
    };
    let (code, why, retry) = remembered(Path::new("/nowhere/claimed"), &claim).unwrap_err();
    assert_eq!((code, retry), (Code::WireguardPortUnclaimed, true));
    assert!(why.contains("/nowhere"), "{why}");
}

#[test]
fn a_damaged_file_is_written_anew_and_does_not_grow_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claimed");
    std::fs::write(&file, "{").unwrap();
    let all: BTreeSet<u64> = (0..300).collect();
    remember(&file, |sockets| sockets.extend(&all)).unwrap();
    let claim = PortClaim {
        name: InterfaceName::new("wg0").unwrap(),
        port: 9,
        socket: 300,
    };
    remembered(&file, &claim).unwrap();
    let found = observe::claimed(&file);
    assert_eq!((found.len(), found.last()), (MOST, Some(&300)));
}
