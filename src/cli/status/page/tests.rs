//! Golden texts of the page.

use super::{
    super::{super::table::WIDTH, peers::MARGIN},
    *,
};

/// A document with these fields besides the necessary ones.
fn document(more: &str) -> Document {
    let role = if more.contains("\"leader\"") {
        "standby"
    } else {
        "active"
    };
    let text = format!(
        r#"{{"version":1,"pid":4121,"role":"{role}","mode":"nat","interface":"eth0","address":"172.28.16.5",
        "gateway":"172.28.16.1","network-file":"/etc/wslmesh/wsl-network.conf","forwards":null,
        "windows-address":"192.168.50.10","passes":12,"last-pass-us":830{more}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

/// The page without its colours: a test may run on a terminal.
fn shown(document: &Document) -> Vec<String> {
    let lines = page(document, None, NOW);
    lines.iter().map(|line| plain(line)).collect()
}

const NOW: u64 = 1_790_000_000;

fn plain(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |line, part| {
        line + part.split_once('m').map_or("", |(_, text)| text)
    })
}

fn fits(lines: &[String]) {
    for line in lines {
        assert!(line.chars().count() <= WIDTH, "{line}");
        assert_eq!(line.trim_end(), line, "no blanks at the end");
    }
}

const KEY: &str = "peer00000000000000000000000000000000000000A=";

#[test]
fn a_healthy_node() {
    let document = document(&format!(
        r#","links":[{{"name":"eth0","kind":"other","mtu":1500}},{{"name":"wg0","kind":"wireguard","mtu":1280}}],
        "wireguard":[{{"device":"wg0","listen-port":51820,"peers":[
          {{"public-key":"{KEY}","endpoint":"192.168.50.20:51820","keepalive":25,"latest-handshake-unix":1789999968,"received-bytes":1300000,"sent-bytes":92}}]}}],
        "served":[{{"name":"ssh","protocol":"tcp","listen-address":"0.0.0.0","listen-port":2222,"connect-port":22,"backend":"portproxy","state":"up","answers":true}},
          {{"name":"web","protocol":"tcp","listen-address":"0.0.0.0","listen-port":80,"connect-port":8080,"backend":"portproxy","state":"up","answers":false,"unanswered":"no service listens on 8080"}},
          {{"name":"wireguard","protocol":"udp","listen-address":"0.0.0.0","listen-port":51820,"connect-port":51820,"backend":"relay","state":"pending"}}],
        "relay":{{"location":"guest","applied":true,"sessions":1}},"health":[]"#
    ));
    let lines = shown(&document);
    fits(&lines);
    assert_eq!(
        lines,
        [
            "    agent: active (process 4121), healthy",
            "     mode: nat",
            "  address: 172.28.16.5 on eth0, gateway 172.28.16.1",
            "  windows: 192.168.50.10",
            "      mtu: eth0 1500, wg0 1280",
            "wireguard: wg0, port 51820, 1 peer",
            "           peer00000000000000000000000000000000000000A=  handshake 32 s ago",
            "             192.168.50.20:51820, keepalive 25 s, in 1.2 MiB, out 92 B",
            " forwards: ssh        tcp 0.0.0.0:2222 -> 22      by portproxy: up, answers",
            "           web        tcp 0.0.0.0:80 -> 8080",
            "                      by portproxy: up, no service listens on 8080",
            "           wireguard  udp 0.0.0.0:51820 -> 51820  by relay: pending",
            "    relay: serves, 1 UDP session; guest",
            "     file: /etc/wslmesh/wsl-network.conf",
            "   passes: 12, the last took 830 us",
            "   health: fine",
        ]
    );
}

#[test]
fn the_forwards_of_all_distributions() {
    let document = document(
        r#","distribution":"Ubuntu","members":[{"distribution":"Debian","forwards":2},{"distribution":"Fedora","forwards":1}],
        "served":[{"name":"ssh","protocol":"tcp","listen-address":"0.0.0.0","listen-port":2222,"connect-port":22,"backend":"relay","state":"up"},
          {"name":"Debian/web","distribution":"Debian","protocol":"tcp","listen-address":"0.0.0.0","listen-port":80,"connect-port":80,"backend":"relay","state":"up"},
          {"name":"Fedora/ssh","distribution":"Fedora","owner":"Ubuntu","protocol":"tcp","listen-address":"0.0.0.0","listen-port":2222,"connect-port":22,"backend":null,"state":"down"}],"health":[]"#,
    );
    let lines = shown(&document);
    fits(&lines);
    assert_eq!(
        lines[4..9],
        [
            "  members: Debian (2 forwards), Fedora (1 forward)",
            " forwards: ssh         tcp 0.0.0.0:2222 -> 22  by relay: up",
            "           Debian/web  tcp 0.0.0.0:80 -> 80    by relay: up",
            "           Fedora/ssh  tcp 0.0.0.0:2222 -> 22  Ubuntu has the port",
            "     file: /etc/wslmesh/wsl-network.conf",
        ]
    );
}

#[test]
fn ports_of_wireguard_that_windows_has_to_know() {
    let document = document(
        r#","wireguard-ports":[{"device":"wg0","port":51820,"way":"reserved","detail":"Windows reserves 50000 to 54095 for this machine"},
          {"device":"wg1","port":9,"way":"refused","detail":"Windows refused UDP 0.0.0.0:9: Address already in use (os error 98)"}],"health":[]"#,
    );
    let lines = shown(&document);
    fits(&lines);
    assert_eq!(
        lines[4..7],
        [
            "    ports: wg0 51820: Windows reserves 50000 to 54095 for this machine",
            "           wg1 9: Windows refused UDP 0.0.0.0:9: Address already in use (os",
            "           error 98)",
        ]
    );
}

#[test]
fn a_standby_with_its_forwards() {
    let document = document(
        r#","distribution":"Debian","leader":"Ubuntu",
        "served":[{"name":"web","protocol":"tcp","listen-address":"0.0.0.0","listen-port":80,"connect-port":80,"backend":"relay","state":"up"}],"health":[]"#,
    );
    let lines = shown(&document);
    assert_eq!(
        lines,
        [
            "    agent: standby (process 4121), healthy",
            "   leader: Ubuntu",
            " forwards: web  tcp 0.0.0.0:80 -> 80  by relay: up",
            "   health: fine",
        ]
    );
}

#[test]
fn each_finding_has_its_fix() {
    let document = document(
        r#","health":[{"code":"forward-not-elevated","severity":"warning","subject":"ssh","detail":"the Windows user may not change port forwards, and nothing that may is installed","remediation":"Run `wslmesh host install`; or start the distribution from an elevated terminal"},
        {"code":"some-note","severity":"info","subject":"","detail":"short","remediation":"Nothing to do"}]"#,
    );
    let lines = shown(&document);
    fits(&lines);
    assert_eq!(
        lines[lines.len() - 9..],
        [
            "   health: degraded",
            "           warning: forward-not-elevated (ssh)",
            "             the Windows user may not change port forwards, and nothing that may",
            "             is installed",
            "             fix: Run `wslmesh host install`; or start the distribution from an",
            "             elevated terminal",
            "           info: some-note",
            "             short",
            "             fix: Nothing to do",
        ]
    );
    assert_eq!(lines[0], "    agent: active (process 4121), degraded");
}

#[test]
fn a_choice_that_is_not_obvious() {
    let reason = "eth2 has the better default route, but it looks like a VPN adapter with its address 198.18.0.1/30";
    let document = document(&format!(r#","interface-reason":"{reason}","health":[]"#));
    let lines = shown(&document);
    fits(&lines);
    assert_eq!(
        lines[2..5],
        [
            "  address: 172.28.16.5 on eth0, gateway 172.28.16.1",
            "           why eth0: eth2 has the better default route, but it looks like a VPN",
            "           adapter with its address 198.18.0.1/30",
        ]
    );
}

#[test]
fn the_longest_names_and_addresses_fit() {
    let name = "n".repeat(64);
    let served = |by: &str, state: &str| {
        format!(
            r#"{{"name":"{name}","protocol":"udp","listen-address":"255.255.255.255","listen-port":65535,"connect-port":65535,"backend":{by},"state":"{state}","answers":false,"unanswered":"65535 is open on [2001:db8:1234:5678:9abc:def0:1234:5678] only"}}"#
        )
    };
    let peer = |keepalive: u16, handshake: &str| {
        format!(
            r#"{{"public-key":"{KEY}","endpoint":"[2001:db8:1234:5678:9abc:def0:1234:5678%4294967295]:51820","keepalive":{keepalive},"latest-handshake-unix":{handshake},"received-bytes":{max},"sent-bytes":{max}}}"#,
            max = u64::MAX
        )
    };
    let links: Vec<String> = (0..9)
        .map(|n| format!(r#"{{"name":"tailscale00000{n}","kind":"tun","mtu":65535}}"#))
        .collect();
    let counted = format!(
        r#"{{"name":"{name}","protocol":"udp","listen-address":"255.255.255.255","listen-port":65535,"active":4294967295,"opened":{max},"failed":{max},"refused":{max},"bytes-in":{max},"bytes-out":{max}}}"#,
        max = u64::MAX
    );
    let document = document(&format!(
        r#","links":[{}],"wireguard":[{{"device":"wg1234567890123","listen-port":65535,"peers":[{},{},{},{}]}},
        {{"device":"wg1","listen-port":null,"peers":[],"error":"wg1 did not answer within 1 s although it was asked in words that are long"}}],
        "served":[{},{},{}],"relay":{{"location":"C:\\Program Files\\wslmesh\\{}\\wslmesh-relay.exe","applied":false,"sessions":18446744073709551615,
        "counters":{{"taken-unix-ms":0,"forwards":[{counted}]}}}},
        "health":[{{"code":"forward-port-taken","severity":"error","subject":"{name}, {name}","detail":"","remediation":"x"}}]"#,
        links.join(","),
        peer(65535, "0"),
        peer(65535, "null"),
        peer(0, "1"),
        peer(25, "1789999000"),
        served("\"portproxy\"", "pending"),
        served("null", "down"),
        served("\"guest\"", "up"),
        "w".repeat(30),
    ));
    let mut document = document;
    document.network_file = format!("/srv/{}/wsl-network.conf", "d".repeat(90)).into();
    let lines = shown(&document);
    fits(&lines);
    let text = lines.join("\n");
    for part in [
        "handshake 56 years ago",
        "stale, 16 min ago",
        "never answered",
        "wg1 did not answer within 1 s",
        "\n             [2001:db8:1234:5678:9abc:def0:1234:5678%4294967295]:51820,\n",
        "\n             udp 255.255.255.255:65535 -> 65535\n             by portproxy: pending, 65535 is open on\n             [2001",
        "no backend needed: up, 65535",
        &name,
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn peers_with_the_latest_handshakes_are_shown() {
    let peer = |n: u64| {
        format!(
            r#"{{"public-key":"{n}","endpoint":null,"keepalive":0,"latest-handshake-unix":{},"received-bytes":0,"sent-bytes":0}}"#,
            NOW - n
        )
    };
    let peers: Vec<String> = (0..300).rev().map(peer).collect();
    let document = document(&format!(
        r#","wireguard":[{{"device":"wg0","listen-port":1,"peers":[{}]}}],"health":[]"#,
        peers.join(",")
    ));
    let lines = shown(&document);
    fits(&lines);
    assert!(lines.len() < 60, "{}", lines.len());
    for line in [
        "           0  handshake 0 s ago",
        "           15  handshake 15 s ago",
        "             no endpoint",
        "             and 284 more: wg show wg0",
    ] {
        assert!(lines.iter().any(|found| found == line), "{lines:#?}");
    }
}

#[test]
fn of_many_forwards_some_are_shown() {
    let forward = |n: u64| {
        format!(
            r#"{{"name":"f{n}","protocol":"tcp","listen-address":"0.0.0.0","listen-port":{port},"connect-port":{port},"backend":"portproxy","state":"up"}}"#,
            port = 8000 + n
        )
    };
    let served: Vec<String> = (0..40).map(forward).collect();
    let document = document(&format!(r#","served":[{}],"health":[]"#, served.join(",")));
    let lines = shown(&document);
    fits(&lines);
    assert!(lines.iter().any(|line| line.contains(" f15 ")));
    assert!(!lines.iter().any(|line| line.contains(" f16 ")));
    assert!(lines.contains(&"           and 24 more: wslmesh forward list".to_owned()));
}

#[test]
fn peers_that_were_not_read_are_pointed_to() {
    let links = r#""links":[{"name":"eth0","kind":"other","mtu":1500},{"name":"wg0","kind":"wireguard","mtu":1280},{"name":"wg1","kind":"wireguard-userspace","mtu":1280}]"#;
    let lines = shown(&document(&format!(r#",{links},"health":[]"#)));
    let at = lines.iter().position(|line| line == "wireguard: wg0, wg1");
    assert_eq!(
        lines[at.unwrap() + 1],
        "           sudo wslmesh status shows the peers"
    );
    let without = shown(&document(r#","health":[]"#));
    assert!(!without.iter().any(|line| line.starts_with("wireguard:")));
}

#[test]
fn a_standby_names_the_leader() {
    let mut document = document(
        r#","health":[{"code":"standby","severity":"info","subject":"","detail":"the agent of process 7 leads","remediation":"Nothing to do"}]"#,
    );
    document.role = "standby".to_owned();
    assert_eq!(
        shown(&document),
        [
            "    agent: standby (process 4121), healthy",
            "   health: fine",
            "           info: standby",
            "             the agent of process 7 leads",
            "             fix: Nothing to do",
        ]
    );
}

#[test]
fn counters_are_shown_below_the_relay() {
    let name = "n".repeat(16);
    let document = document(&format!(
        r#","health":[],
        "relay":{{"location":"guest","applied":true,"sessions":1,"counters":{{"taken-unix-ms":{},"forwards":[
          {{"name":"{name}","protocol":"udp","listen-address":"0.0.0.0","listen-port":51820,
            "active":1,"opened":2,"failed":3,"refused":4,"bytes-in":1048575,"bytes-out":1048575}}]}}}}"#,
        u64::MAX
    ));
    let head = format!(
        "{:16}  ACTIVE  OPENED  FAILED  REFUSED        IN       OUT",
        "NAME"
    );
    let figures = format!("{name}       1       2       3        4  1023 KiB  1023 KiB");
    assert!(MARGIN + head.len() <= WIDTH);
    assert_eq!(
        relay_counters(&document),
        ["of now".to_owned(), head, figures]
    );
}

#[test]
fn the_firewall_of_mirrored_mode() {
    let lines = shown(&document(r#","guest-firewall":"hyper-v","health":[]"#));
    fits(&lines);
    let row = " firewall: rules of the Hyper-V firewall hold for this distribution";
    assert!(lines.iter().any(|line| line == row), "{lines:?}");
}

#[test]
fn the_last_recovery() {
    let lines = shown(&document(
        r#","resumed":{"ended-unix":1789999800,"sign":"clock","away-s":28800,"duration-ms":1900,"broken":["time","dns"],
        "repaired":["time","dns"],"failed":[],"summary":"back after 8 h asleep in 1.9 s: the clock was 8 h behind and is right, DNS answered after 0.6 s"},"health":[]"#,
    ));
    fits(&lines);
    let text = lines.join("\n");
    let story = "  resumed: 3 min ago: back after 8 h asleep in 1.9 s: the clock was 8 h";
    assert!(text.contains(story), "{text}");
}

#[test]
fn what_windows_had_lost() {
    let rows = |times: u32| {
        let lost = r#"["forward ssh","the firewall rule for TCP port 2222"]"#;
        let more = format!(
            r#","restored":{{"unix":1789999800,"lost":{lost},"times":{times}}},"health":[]"#
        );
        let lines = shown(&document(&more));
        fits(&lines);
        lines
            .join(" ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let once = "restored: 3 min ago: forward ssh, the firewall rule for TCP port 2222 file:";
    assert!(rows(1).contains(once), "{}", rows(1));
    assert!(
        rows(3).contains("port 2222 (3 times since the start)"),
        "{}",
        rows(3)
    );
}

#[test]
fn what_becomes_of_an_idle_distribution() {
    let rows = |lifetime: &str| {
        let more = format!(r#","served":[],"health":[],"lifetime":{lifetime}"#);
        let lines = shown(&document(&more));
        fits(&lines);
        let lines = lines.into_iter();
        let lines = lines.skip_while(|line| !line.starts_with(" lifetime:"));
        lines.take(2).collect::<Vec<_>>()
    };
    let held = r#"{"state":"kept","detail":"held open by wslmesh","held-since-unix":1789992800}"#;
    assert_eq!(rows(held)[0], " lifetime: held open by wslmesh, for 2 h");
    let stopped = r#"{"state":"stopped","detail":"stopped 15 s later","remediation":"Run it"}"#;
    let page = [" lifetime: stopped 15 s later", "           fix: Run it"];
    assert_eq!(rows(stopped), page);
}

#[test]
fn the_tunnel_to_windows() {
    let rows = |tunnel: &str| {
        let lines = shown(&document(&format!(r#","tunnel":{tunnel},"health":[]"#)));
        fits(&lines);
        let text = lines.join(" ");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let up = rows(
        r#"{"state":"up","reason":"nat-broken","since-unix":1789992800,"nat":"broken","look":"the gateway is silent","starts":1}"#,
    );
    let text =
        "tunnel: up for 2 h, because Windows' NAT is broken NAT broken: the gateway is silent";
    assert!(up.contains(text), "{up}");
    let by_hand = rows(r#"{"state":"up","reason":"by-hand","since-unix":1789999800}"#);
    assert!(
        by_hand.contains("tunnel: up for 3 min, started by hand file:"),
        "{by_hand}"
    );
    let down = rows(r#"{"state":"failed","reason":"always"}"#);
    let text = r#"tunnel: failed, as [tunnel] when = "always" has it"#;
    assert!(down.contains(text), "{down}");
}
