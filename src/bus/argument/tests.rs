use super::*;
use crate::config::{Firewall, Protocol};

const SSH: Arguments<'_> = Arguments {
    name: "ssh",
    protocol: "tcp",
    listen_address: "",
    listen_port: 2222,
    connect_port: 0,
    firewall: "",
};

#[test]
fn defaults_are_those_of_the_configuration() {
    let forward = SSH.forward().unwrap();
    let text = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    std::fs::write(&path, text).unwrap();
    let settings = crate::config::Settings::load(&crate::config::Source::File(path)).unwrap();
    assert_eq!(settings.forwards, [forward]);
    let whole = Arguments {
        protocol: "udp",
        listen_address: "192.0.2.7",
        connect_port: 22,
        firewall: "full",
        ..SSH
    };
    let forward = whole.forward().unwrap();
    assert_eq!(
        (
            forward.protocol,
            forward.firewall,
            forward.connect_port.get()
        ),
        (Protocol::Udp, Firewall::Full, 22)
    );
    assert_eq!(forward.listen_address.to_string(), "192.0.2.7");
}

#[test]
fn errors_name_the_argument_and_are_short() {
    let huge = "x".repeat(1 << 24);
    let mut escapes = "n\u{1b}[31m".repeat(1 << 18);
    escapes.push('\n');
    // Name, protocol, listen-address, firewall; and a part of the text.
    let table = [
        ("a", "icmp", "", "", "protocol \"icmp\": unknown variant"),
        ("a", "", "", "", "protocol \"\""),
        (
            "a",
            "tcp",
            "",
            "open",
            "expected one of `none`, `local`, `full`",
        ),
        ("a", "tcp", "::", "", "listen-address \"::\""),
        ("a", "tcp", "host", "", "invalid IPv4"),
        (&huge, "tcp", "", "", "name has 16777216 bytes"),
        (&escapes, "tcp", "", "", "name has 1572865 bytes"),
        ("a", &huge, "", "", "protocol has"),
        ("a", "tcp", &huge, "", "listen-address has"),
        ("a", "tcp", "", &huge, "firewall has"),
        ("a", "\u{1b}[31m\n", "", "", "\\u{1b}"),
    ];
    let wrong = |arguments: Arguments<'_>, part: &str| {
        let Err(Error::Forward(text)) = arguments.forward() else {
            panic!("{part}: it is no error");
        };
        assert!(text.contains(part), "{part}: {text}");
        assert!(text.len() < 500, "{} bytes", text.len());
    };
    for (name, protocol, listen_address, firewall, part) in table {
        let arguments = Arguments {
            name,
            protocol,
            listen_address,
            firewall,
            ..SSH
        };
        wrong(arguments, part);
    }
    let listen_port = 0;
    wrong(Arguments { listen_port, ..SSH }, "listen-port is 0");
}
