use proptest::prelude::*;

use super::*;

const A: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const B: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

fn parsed(text: &str) -> Vec<(u8, String)> {
    let peers = parse(text).into_iter();
    let shown = |(key, name): (PublicKey, EndpointName)| {
        (key.bytes()[0], format!("{}:{}", name.host, name.port))
    };
    peers.map(shown).collect()
}

#[test]
fn names_of_peers() {
    let hub = || (1, "hub.example.org:51820".to_owned());
    for (what, text, expected) in [
        (
            "wg-quick's",
            format!(
                "[Interface]\nPrivateKey = {B}\nPostUp = x = y\n[Peer]\nPublicKey = {A}\nEndpoint = hub.example.org:51820\n"
            ),
            vec![hub()],
        ),
        (
            "networkd's",
            format!(
                "[NetDev]\nName=wg0\nKind=wireguard\n[WireGuardPeer]\nEndpoint=hub.example.org:51820\nPublicKey={A}\n"
            ),
            vec![hub()],
        ),
        (
            "CRLF, comments, any case",
            format!(
                "[PEER] # hub\r\npublickey={A} # hers\r\nENDPOINT =hub.example.org:51820# home\r\n"
            ),
            vec![hub()],
        ),
        (
            "two peers, one by address",
            format!(
                "[Peer]\nPublicKey={B}\nEndpoint=192.0.2.1:7\n[Peer]\nPublicKey={A}\nEndpoint=hub.example.org:51820"
            ),
            vec![hub()],
        ),
        (
            "the last of two",
            format!("[Peer]\nPublicKey={A}\nEndpoint=old:1\nEndpoint=hub.example.org:51820\n"),
            vec![hub()],
        ),
        (
            "no key",
            "[Peer]\nEndpoint=hub.example.org:51820\n".to_owned(),
            vec![],
        ),
        (
            "a damaged key",
            format!("[Peer]\nPublicKey=x{A}\nEndpoint=hub:1\n"),
            vec![],
        ),
        (
            "another section",
            format!("[Interface]\nPublicKey={A}\nEndpoint=hub:1\n"),
            vec![],
        ),
        (
            "commented out",
            format!("[Peer]\nPublicKey={A}\n#Endpoint=hub:1\n"),
            vec![],
        ),
        ("nothing", String::new(), vec![]),
    ] {
        assert_eq!(parsed(&text), expected, "{what}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read(text: String) {
        parse(&text);
        value_of(&text, "netdev", "name");
    }
}

#[test]
fn files_of_both_kinds() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let peer = |kind: &str, host: &str| format!("[{kind}]\nPublicKey={A}\nEndpoint={host}:7\n");
    let netdev = |name: &str, host: &str| {
        format!(
            "[NetDev]\nName={name}\nKind=wireguard\n{}",
            peer("WireGuardPeer", host)
        )
    };
    let names = |device: &str| {
        let device = InterfaceName::new(device).unwrap();
        let found = endpoint_names(root.path(), &[device]);
        Vec::from_iter(found.into_values().map(|name| name.host))
    };
    assert_eq!(names("wg0"), [""; 0], "no folder");
    write("etc/wireguard/wg0.conf", &peer("Peer", "quick"));
    write(
        "etc/systemd/network/10-wg1.netdev",
        &netdev("wg1", "networkd"),
    );
    write("run/systemd/network/10-wg1.netdev", &netdev("wg1", "older"));
    write(
        "run/systemd/network/10-netplan-wg2.netdev",
        &netdev("wg2", "netplan"),
    );
    write("etc/systemd/network/wg3.network", &netdev("wg3", "none"));
    for (device, expected) in [
        ("wg0", vec!["quick"]),
        ("wg1", vec!["networkd"]),
        ("wg2", vec!["netplan"]),
        ("wg3", vec![]),
    ] {
        assert_eq!(names(device), expected, "{device}");
    }
    // One that is cut off may end in the middle of a name.
    write(
        "etc/wireguard/wg0.conf",
        &format!("{}{}", peer("Peer", "quick"), "#".repeat(LARGEST)),
    );
    assert_eq!(names("wg0"), [""; 0]);
    fs::remove_file(root.path().join("etc/wireguard/wg0.conf")).unwrap();
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        root.path().join("etc/wireguard/wg0.conf"),
        0o600.into(),
    )
    .unwrap();
    assert_eq!(names("wg0"), [""; 0], "a pipe is not waited for");
}
