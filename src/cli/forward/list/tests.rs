use super::*;

const SETTINGS: &str = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n\
        [[forward]]\nname = \"wireguard\"\nprotocol = \"udp\"\nlisten-port = 51820\nfirewall = \"full\"\n";

fn document() -> Document {
    let text = r#"{"version":1,"pid":1,"role":"active","mode":"nat","interface":null,"address":null,"gateway":null,"network-file":"/x","forwards":null,
            "served":[{"name":"ssh","protocol":"tcp","listen-address":"0.0.0.0","listen-port":2222,"connect-port":22,"backend":"portproxy","state":"up","answers":true},
                      {"name":"wireguard","protocol":"udp","listen-address":"127.0.0.1","listen-port":51820,"connect-port":51820,"backend":"relay","state":"down","answers":false,"unanswered":"no service listens on 51820"}],
            "windows-address":null,"passes":1,"last-pass-us":1,
            "health":[{"code":"forward-port-taken","severity":"error","subject":"other, wireguard","detail":"","remediation":""},
                      {"code":"some-note","severity":"info","subject":"ssh","detail":"","remediation":""}]}"#;
    serde_json::from_str(text).unwrap()
}

fn shown(document: Option<&Document>) -> Vec<String> {
    let settings = crate::config::settings(SETTINGS);
    let rows: Vec<Row> = settings
        .forwards
        .iter()
        .map(|forward| row(forward, document))
        .collect();
    table(&rows)
}

#[test]
fn each_forward_with_its_backend_and_state() {
    assert_eq!(
        shown(Some(&document())),
        [
            "NAME       PROTO  LISTEN           TO     FIREWALL  BY         STATE",
            "ssh        tcp    0.0.0.0:2222     22     local     portproxy  up, answers",
            "wireguard  udp    127.0.0.1:51820  51820  full      relay      down",
            "  no service listens on 51820, forward-port-taken",
        ]
    );
}

#[test]
fn the_longest_names_and_addresses_fit() {
    let row = |name: &str, listen: &str, state: &str| Row {
        name: name.to_owned(),
        protocol: "tcp".to_owned(),
        listen: listen.to_owned(),
        connect_address: None,
        connect_port: 65535,
        ports: 1,
        state_ports: None,
        firewall: "local".to_owned(),
        backend: Some(ForwardBackend::Portproxy),
        proxy_protocol: None,
        state: state.to_owned(),
        answers: Some(true),
        unanswered: None,
        health: Vec::new(),
        discovered: None,
        comment: None,
        counters: None,
    };
    let long = "n".repeat(64);
    let rows = [
        row("fourteen-signs", "255.255.255.255:65535", "pending"),
        row(&long, "192.168.150.110:80", "up"),
    ];
    let lines = table(&rows);
    assert!(lines.iter().all(|line| line.len() <= WIDTH), "{lines:#?}");
    assert_eq!(
        lines,
        [
            "NAME            PROTO  LISTEN                 TO     FIREWALL  BY         STATE",
            "fourteen-signs  tcp    255.255.255.255:65535  65535  local     portproxy",
            "  pending, answers",
            long.as_str(),
            "                tcp    192.168.150.110:80     65535  local     portproxy",
            "  up, answers",
        ]
    );
    let lines = table(&[row("a-name-of-twenty-two-x", "192.168.150.110:80", "up")]);
    assert_eq!(
        lines,
        [
            "NAME  PROTO  LISTEN              TO     FIREWALL  BY         STATE",
            "a-name-of-twenty-two-x",
            "      tcp    192.168.150.110:80  65535  local     portproxy  up, answers",
        ]
    );
}

#[test]
fn counters_are_below_the_table_and_raw_in_json() {
    let mut document = document();
    let settings = crate::config::settings(SETTINGS);
    assert_eq!(counted(&settings.forwards, Some(&document)), [""; 0]);
    let relay = r#"{"location":"guest","applied":true,"sessions":1,"counters":{"taken-unix-ms":5000,"forwards":[
            {"name":"wireguard","protocol":"udp","listen-address":"127.0.0.1","listen-port":51820,
             "active":1,"opened":2,"failed":3,"refused":4,"bytes-in":5000,"bytes-out":6000},
            {"name":"gone","protocol":"udp","listen-address":"0.0.0.0","listen-port":9,
             "active":0,"opened":0,"failed":0,"refused":0,"bytes-in":0,"bytes-out":0}]}}"#;
    document.relay = serde_json::from_str(relay).unwrap();
    let lines = counted(&settings.forwards, Some(&document));
    assert!(lines[1].starts_with("relay counters, ") && lines[1].ends_with(" years old:"));
    assert_eq!(
        (lines[0].as_str(), &lines[2..]),
        (
            "",
            [
                "NAME       ACTIVE  OPENED  FAILED  REFUSED       IN      OUT".to_owned(),
                "wireguard       1       2       3        4  4.8 KiB  5.8 KiB".to_owned(),
            ]
            .as_slice()
        )
    );
    let rows: Vec<Row> = settings
        .forwards
        .iter()
        .map(|forward| row(forward, Some(&document)))
        .collect();
    assert_eq!(rows[0].counters, None, "the port proxy counts nothing");
    assert_eq!(
        serde_json::to_value(&rows[1].counters).unwrap(),
        serde_json::json!({"taken-unix-ms": 5000, "protocol": "udp",
                "listen-address": "127.0.0.1", "listen-port": 51820, "active": 1, "opened": 2, "failed": 3,
                "refused": 4, "bytes-in": 5000, "bytes-out": 6000})
    );
}

#[test]
fn what_the_agent_has_not_read_is_new() {
    let mut document = document();
    document.served.remove(0);
    let lines = shown(Some(&document));
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("ssh") && line.ends_with("-      new")),
        "{lines:#?}"
    );
    assert!(
        shown(None)
            .iter()
            .filter(|line| line.ends_with("no agent"))
            .count()
            == 2
    );
}
