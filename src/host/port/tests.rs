use super::*;
use crate::{
    host::json::object,
    interop::Output,
    model::{Reach, WindowsEnd},
};

fn question() -> Question {
    Question {
        test: false,
        protocol: Protocol::Tcp,
        served_by: ForwardBackend::Relay,
        listen_address: Ipv4Addr::UNSPECIFIED.into(),
        listen_port: NonZeroU16::new(2222).unwrap(),
        connect_address: Some([172, 28, 16, 5].into()),
        connect_port: NonZeroU16::new(22).unwrap(),
    }
}

#[test]
fn a_request_has_integers_and_addresses_alone() {
    let line = question().line().unwrap();
    let expected = r#"{"version":1,"action":"look","protocol":"tcp","served-by":"relay","listen-address":"0.0.0.0","listen-port":2222,"connect-address":"172.28.16.5","connect-port":22}"#;
    assert_eq!(line, format!("{expected}\n"));
    let line = Question {
        connect_address: None,
        ..question()
    };
    assert!(line.line().unwrap().contains(r#""connect-address":"","#));
    let test = Question {
        test: true,
        ..question()
    };
    let test = test.line().unwrap();
    assert!(test.contains(r#""action":"test","#), "{test}");
}

/// As the script printed it on an engine.
const ANSWER: &str = r#"{"version":1,"state":"looked","detail":null,"problems":["could not read the firewall: x"],
    "owners":[{"address":"0.0.0.0","process":"nginx","id":1234}],"excluded":[50000,50059],"dynamic":[49152,65535],
    "rules":[{"listen-address":"0.0.0.0","listen-port":2222,"connect-address":null,"connect-port":null,"ours":false}],
    "firewall":null,"allowed":true,"addresses":["192.168.50.10"],"windows-address":"192.168.50.10",
    "connects":[{"to":"guest","address":"172.28.16.5","port":22,"code":10061}]}"#;

#[test]
fn an_answer_is_read_and_made_plain() {
    let read = |text: &str| {
        object::<Answer>(&Output {
            stdout: text.as_bytes().to_vec(),
            stderr: String::new(),
        })
    };
    let answer = read(ANSWER).unwrap();
    assert!(answer.state == State::Looked);
    let port = answer.port;
    assert_eq!(port.owners.as_ref().unwrap()[0].to_string(), "nginx (1234)");
    assert_eq!(port.excluded.unwrap().to_string(), "50000-50059");
    assert_eq!(
        port.rules.as_ref().unwrap()[0].to_string(),
        "0.0.0.0:2222 without a target"
    );
    let guest = port.ends(WindowsEnd::Guest);
    let guest: Vec<_> = guest.map(|end| (end.at(), end.reach())).collect();
    let at = "172.28.16.5:22".parse().unwrap();
    assert_eq!(guest, [(at, Reach::Refused)]);
    assert_eq!(port.ends(WindowsEnd::Network).count(), 0);
    let control = read(&ANSWER.replace("nginx", "ng\\u001b[2Jinx")).unwrap();
    let owners = control.port.owners.unwrap();
    assert_eq!(owners[0].process, PlainText::from("ng [2Jinx"));
    for wrong in ["\"id\":-1", "\"id\":\"4\""] {
        assert!(read(&ANSWER.replace("\"id\":1234", wrong)).is_err());
    }
    assert!(read(&ANSWER.replace("[50000,50059]", "[50059,50000]")).is_err());
}

#[test]
fn who_is_in_the_way() {
    let owner = |address: &str| crate::model::PortOwner {
        address: address.into(),
        process: "x".into(),
        id: 1,
    };
    for (address, listen, overlaps) in [
        ("0.0.0.0", "0.0.0.0", true),
        ("::", "192.168.50.10", true),
        ("127.0.0.1", "0.0.0.0", false),
        ("::1", "0.0.0.0", false),
        ("192.168.50.10", "0.0.0.0", true),
        ("192.168.50.10", "192.168.50.11", false),
        ("fe80::1%12", "0.0.0.0", false),
    ] {
        let found = owner(address).overlaps(listen.parse().unwrap());
        assert_eq!(found, overlaps, "{address} {listen}");
    }
}
