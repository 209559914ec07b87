use super::*;
use crate::config::{Firewall, Protocol};

const SSH: Arguments<'_> = Arguments {
    name: "ssh",
    protocol: "tcp",
    listen_address: "",
    listen_port: "2222",
    connect_address: "",
    connect_port: "",
    firewall: "",
    backend: "",
    proxy_protocol: "",
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
        connect_port: "22",
        firewall: "full",
        ..SSH
    };
    let forward = whole.forward().unwrap();
    assert_eq!(
        (
            forward.protocol,
            forward.firewall,
            forward.connect_port.first().get()
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
        (
            "a",
            "tcp",
            "::ffff:1.2.3.4",
            "",
            "listen-address: ::ffff:1.2.3.4 is",
        ),
        (
            "a",
            "tcp",
            "host",
            "",
            "listen-address: \"host\" is no address",
        ),
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
    for (listen_port, connect_port, part) in [
        ("0", "", "listen-port: \"0\" is no port"),
        ("8010-8000", "", "write the lower number first"),
        ("8000-8010", "9000-9009", "9000-9009 is 10 ports"),
        (
            "8000-8010",
            "80",
            "80 is 1 port, and listen-port 8000-8010 is 11 ports",
        ),
        (huge.as_str(), "", "listen-port has"),
    ] {
        let arguments = Arguments {
            listen_port,
            connect_port,
            ..SSH
        };
        wrong(arguments, part);
    }
    let keys = HashMap::from([(huge, String::new())]);
    let Err(Error::Forward(text)) = Arguments::of(&keys) else {
        panic!("it is no key");
    };
    assert!(text.len() < 500, "{text}");
}

#[test]
fn keys_are_those_of_the_configuration() {
    let keys = |keys: &[(&str, &str)]| -> HashMap<String, String> {
        let owned = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
        keys.iter().map(owned).collect()
    };
    let given = [
        ("name", "web"),
        ("protocol", "tcp"),
        ("listen-port", "8000-8010"),
        ("connect-address", "127.0.0.1"),
        ("connect-port", "9000-9010"),
        ("backend", "relay"),
        ("proxy-protocol", "v2"),
    ];
    let forward = Arguments::of(&keys(&given)).unwrap().forward().unwrap();
    let settings = crate::config::settings(
        "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = \"8000-8010\"\nconnect-address = \"127.0.0.1\"\nconnect-port = \"9000-9010\"\nbackend = \"relay\"\nproxy-protocol = \"v2\"\n",
    );
    assert_eq!(settings.forwards, [forward]);
    let unknown = Arguments::of(&keys(&[("port", "1")])).map(drop);
    assert!(
        matches!(&unknown, Err(Error::Forward(text)) if text.contains("unknown key \"port\"")),
        "{unknown:?}"
    );
}
