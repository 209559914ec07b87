use super::*;

#[test]
fn finds_the_first_server() {
    let table = [
        (
            "# made by WSL\nnameserver 10.255.255.254\nsearch lan\nnameserver 1.1.1.1\n",
            Some("10.255.255.254"),
        ),
        ("nameserver\tfe80::1%eth0\r\n", Some("fe80::1")),
        (
            "#nameserver 1.1.1.1\nnameservers 2.2.2.2\nnameserver bad\nnameserver 3.3.3.3",
            Some("3.3.3.3"),
        ),
        ("", None),
        ("nameserver", None),
    ];
    for (text, server) in table {
        assert_eq!(
            name_servers(text).next(),
            server.map(|ip| ip.parse().unwrap()),
            "{text:?}"
        );
    }
}

#[test]
fn servers_in_order() {
    let text = "# nameserver 9.9.9.9\nnameserver\t10.255.255.254\r\nnameservers 1.1.1.1\n nameserver 2.2.2.2\nnameserver fe80::1%eth0\nnameserver x\nsearch lan\n";
    let found: Vec<String> = name_servers(text).map(|ip| ip.to_string()).collect();
    assert_eq!(found, ["10.255.255.254", "fe80::1"]);
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "(nameserver[ \t]?)?\\PC{0,60}\n?", rest in "\\PC{0,60}") {
        let text = format!("{text}{rest}");
        proptest::prop_assert!(name_servers(&text).count() <= text.lines().count());
    }
}
