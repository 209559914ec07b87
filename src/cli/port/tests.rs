use super::*;

#[test]
fn ports_as_a_person_writes_them() {
    let port = |number: u16, protocol| Asked {
        protocol,
        port: number.try_into().unwrap(),
    };
    assert_eq!(asked("22"), Ok(port(22, Protocol::Tcp)));
    assert_eq!(asked("22/tcp"), Ok(port(22, Protocol::Tcp)));
    assert_eq!(asked("51820/udp"), Ok(port(51820, Protocol::Udp)));
    for (text, words) in [
        ("0", "is no port"),
        ("65536", "is no port"),
        ("+22", "is no port"),
        ("ssh", "is no port"),
        ("22/sctp", "is no protocol: write /tcp or /udp"),
        ("22/", "is no protocol"),
        ("", "is no port"),
    ] {
        let error = asked(text).unwrap_err();
        assert!(error.contains(words), "{text:?}: {error}");
    }
}

#[test]
fn machines_as_a_person_writes_them() {
    for (text, expected) in [
        ("192.168.1.7", "192.168.1.7:0"),
        ("2001:db8::7", "[2001:db8::7]:0"),
        ("::1", "[::1]:0"),
        // The first interface of each network namespace is lo.
        ("fe80::7%lo", "[fe80::7%1]:0"),
        ("fe80::7%1", "[fe80::7%1]:0"),
    ] {
        let found = machine(text).map(|found| found.to_string());
        assert_eq!(found.as_deref(), Ok(expected), "{text}");
    }
    for (text, words) in [
        ("[2001:db8::7]", "has brackets: write \"2001:db8::7\""),
        (
            "fe80::7",
            "write the interface that leads to it, as fe80::7%eth0",
        ),
        ("fe80::7%", "no interface \"\""),
        ("fe80::7%none", "no interface \"none\""),
        ("fe80::7%0", "no interface"),
        ("2001:db8::7%lo", "only a link-local address"),
        ("127.0.0.1%lo", "only a link-local address"),
        ("192.168.1.7:22", "is no address"),
        ("[::1]:22", "is no address"),
        ("nas", "is no address"),
        ("", "is no address"),
    ] {
        let error = machine(text).unwrap_err();
        assert!(error.contains(words), "{text:?}: {error}");
    }
}

#[test]
fn what_comes_from_outside_is_one_sentence() {
    let to = "192.168.50.10:2222".parse().unwrap();
    for (protocol, result, words) in [
        (
            Protocol::Tcp,
            Reach::Answers,
            "tcp 192.168.50.10:2222 answers from here.",
        ),
        (
            Protocol::Tcp,
            Reach::Refused,
            "refuses: the machine is reached",
        ),
        (
            Protocol::Tcp,
            Reach::TimedOut,
            "a firewall drops the connection",
        ),
        (Protocol::Tcp, Reach::Unreachable, "no way to the machine"),
        (Protocol::Udp, Reach::Unknown, "which proves nothing"),
        (Protocol::Udp, Reach::Refused, "`wslmesh port 2222/udp`"),
    ] {
        let text = outside(protocol, to, result);
        assert!(text.contains(words) && text.ends_with('.'), "{text}");
        assert!(!text.contains(". "), "one sentence: {text}");
    }
}
