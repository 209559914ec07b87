use std::num::NonZeroU16;

use super::*;
use crate::{
    config::settings,
    model::{Action, ForwardBackend, Link, LinkKind, Plan, Protocol, RelayMemory, RelaySet},
    plan::{Group, Member, plan_group, tests::machine::Machine},
};

const ON: &str = "[discovery]\ntcp = [\"8000-8999\"]\n";

/// What listens on `ADDRESS:PORT`, by TCP.
fn listens(text: &str) -> Discovered {
    let at: std::net::SocketAddr = text.parse().unwrap();
    Discovered {
        at: Listener {
            protocol: Protocol::Tcp,
            port: NonZeroU16::new(at.port()).unwrap(),
            address: at.ip(),
            ipv6_only: false,
            interface: None,
        },
        by: "nginx".to_owned(),
        to: None,
    }
}

fn group(listeners: &[&str]) -> Group {
    Group {
        discovered: listeners.iter().map(|text| listens(text)).collect(),
        ..Group::default()
    }
}

/// Names and backends of the forwards.
fn shown(plan: &Plan) -> Vec<String> {
    let forwards = plan.forwards.iter().flatten();
    let by = |backend: Option<ForwardBackend>| backend.map_or("-".into(), |one| one.to_string());
    forwards
        .map(|one| format!("{} {}", one.name, by(one.backend)))
        .collect()
}

#[test]
fn what_clients_reach_becomes_a_forward() {
    let other = Machine::nat()
        .link("eth1", LinkKind::Other, 1500)
        .address("eth1", "10.1.1.5/24");
    let table = [
        // Where it listens; with NAT, in mirrored mode, and there with eth1 named.
        ("0.0.0.0:8080", true, true, true),
        ("[::]:8080", true, true, true),
        ("172.28.16.5:8080", true, true, true),
        ("127.0.0.1:8080", false, false, false),
        ("[::1]:8080", false, false, false),
        ("172.17.0.1:8080", false, false, false),
        ("10.1.1.5:8080", false, false, true),
    ];
    for (at, nat, mirrored, named) in table {
        for (mode, more, expected) in [
            (Mode::Nat, "", nat),
            (Mode::Nat, "interfaces = [\"eth1\"]", nat),
            (Mode::Mirrored, "", mirrored),
            (Mode::Mirrored, "interfaces = [\"eth1\"]", named),
        ] {
            let settings = settings(&format!("{ON}{more}"));
            let seen = other.clone().mode(mode).seen();
            let found = own(&settings, &group(&[at]).discovered, &seen).0;
            assert_eq!(!found.is_empty(), expected, "{at} {mode} {more}");
        }
    }
}

/// The forwards of what was discovered, each with the address to which it leads.
fn leads(config: &str, listeners: &[&str], seen: &Observation) -> Vec<String> {
    let found = own(&settings(config), &group(listeners).discovered, seen).0;
    let to = |one: &Forward| {
        one.connect_address
            .map_or("node".into(), |to| to.to_string())
    };
    found
        .iter()
        .map(|one| format!("{} {}", one.name, to(one)))
        .collect()
}

#[test]
fn services_on_loopback_count_where_that_is_asked_for() {
    let on = format!("{ON}loopback = true\n");
    let seen = Machine::nat().seen();
    let table: [(&[&str], &[&str]); 7] = [
        (&["127.0.0.1:8080"], &["auto-tcp-8080 127.0.0.1"]),
        (&["127.9.8.7:8080"], &["auto-tcp-8080 127.9.8.7"]),
        // IPv4 loopback alone is taken.
        (&["[::1]:8080"], &[]),
        (&["172.17.0.1:8080"], &[]),
        // One that clients reach wins, whichever was found first.
        (
            &["127.0.0.1:8080", "172.28.16.5:8080"],
            &["auto-tcp-8080 node"],
        ),
        (&["0.0.0.0:8080", "127.0.0.1:8080"], &["auto-tcp-8080 node"]),
        (
            &["127.0.0.1:8080", "127.0.0.2:8080", "0.0.0.0:8081"],
            &["auto-tcp-8080 127.0.0.1", "auto-tcp-8081 node"],
        ),
    ];
    for (listeners, expected) in table {
        assert_eq!(leads(&on, listeners, &seen), expected, "{listeners:?}");
    }
    assert_eq!(leads(ON, &["127.0.0.1:8080"], &seen), [""; 0]);
    // What an agent on standby registers.
    let found = group(&["127.0.0.1:8080"]).discovered;
    let standby = discovered_forwards(&settings(&on), &found, Listener::is_everywhere).0;
    assert_eq!(standby[0].connect_address, Some([127, 0, 0, 1].into()));
    // One that takes what comes from one interface alone is left.
    let mut bound = found.clone();
    bound[0].at.interface = Some(1);
    assert!(own(&settings(&on), &bound, &seen).0.is_empty());
}

/// What listens at the node's address for a service on loopback is the relay, unless it says
/// that it could not.
#[test]
fn the_relay_to_loopback_is_no_service() {
    let on = format!("{ON}loopback = true\n[host]\nbackend = \"relay\"\n");
    let both = ["127.0.0.1:8080", "172.28.16.5:8080"];
    let machine = Machine::nat().with(|seen| {
        seen.host.facts.local_app_data = crate::model::DrivePath::new(r"C:\Users\me").ok();
    });
    let plan = plan_group(&settings(&on), &group(&both[..1]), &machine.seen());
    let wanted = plan.actions.into_iter().find_map(|action| match action {
        Action::SyncRelay(RelayRole::Loopback, set) => set,
        _ => None,
    });
    let at = wanted.as_ref().unwrap().forwards[0].1.listen;
    let with = |change: &dyn Fn(&mut RelayMemory)| {
        let memory = |seen: &mut Observation| {
            seen.host.loopback.wanted.clone_from(&wanted);
            change(&mut seen.host.loopback);
        };
        leads(&on, &both, &machine.clone().with(memory).seen())
    };
    // Sent, or left by an agent before; then confirmed; and no longer wanted.
    let loopback = ["auto-tcp-8080 127.0.0.1"];
    assert_eq!(with(&|_| ()), loopback);
    assert_eq!(
        with(&|memory| memory.listening = std::iter::once(at).collect()),
        loopback
    );
    let failure = crate::model::Failure {
        kind: crate::model::FailureKind::InUse,
        code: 98,
    };
    let failed = with(&|memory| memory.failed = [(at, failure)].into());
    assert_eq!(failed, ["auto-tcp-8080 node"]);
}

#[test]
fn of_a_node_with_ipv6_alone_ipv6_counts() {
    let machine = Machine::new()
        .link("eth0", LinkKind::Other, 1500)
        .address("eth0", "2001:db8::5/64")
        .address("eth0", "169.254.7.7/16")
        .route("eth0", "fe80::1", 1024)
        .link("eth1", LinkKind::Other, 1500)
        .address("eth1", "2001:db8:1::5/64")
        .mode(Mode::Mirrored);
    let settings = settings(&format!("{ON}interfaces = [\"eth1\"]"));
    for (at, only, expected) in [
        ("[::]:8080", false, true),
        ("[::]:8080", true, true),
        ("[2001:db8::5]:8080", false, true),
        ("[2001:db8:1::5]:8080", false, true),
        ("[fd00::7]:8080", false, false),
        ("[::1]:8080", false, false),
        ("0.0.0.0:8080", false, false),
    ] {
        let mut found = listens(at);
        found.at.ipv6_only = only;
        let found = own(&settings, &[found], &machine.seen()).0;
        assert_eq!(!found.is_empty(), expected, "{at} {only}");
    }
}

#[test]
fn sockets_that_take_no_such_packets() {
    let link: Link = Machine::nat().seen().links.remove(0);
    let takes = |change: fn(&mut Listener), address: &str| {
        let mut at = listens("[::]:8080").at;
        change(&mut at);
        at.takes(address.parse().unwrap(), &link)
    };
    assert!(takes(|_| (), "172.28.16.5"));
    assert!(!takes(|at| at.ipv6_only = true, "172.28.16.5"));
    assert!(takes(|at| at.interface = Some(1), "172.28.16.5"));
    assert!(!takes(|at| at.interface = Some(2), "172.28.16.5"));
}

#[test]
fn what_is_configured_keeps_its_port() {
    let forward =
        "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 8080\nconnect-port = 80\n";
    let seen = Machine::nat().mode(Mode::Mirrored).named().seen();
    let table = [
        (forward.to_owned(), "web relay"),
        // Another address of the port overlaps with all of them.
        (
            forward.replace(
                "listen-port",
                "listen-address = \"192.168.1.5\"\nlisten-port",
            ),
            "web relay",
        ),
        (
            forward
                .replace("\"web\"", "\"auto-tcp-8080\"")
                .replace("8080\nc", "9090\nc"),
            "auto-tcp-8080 relay",
        ),
    ];
    for (own, expected) in table {
        let plan = plan_group(
            &settings(&format!("{ON}{own}")),
            &group(&["0.0.0.0:8080"]),
            &seen,
        );
        assert_eq!(shown(&plan), [expected], "{own}");
    }
    // Another distribution's, too; and what it discovered comes after what we did.
    let member = |text: &str, discovered: &str| Member {
        distribution: "Debian".to_owned(),
        forwards: settings(text).forwards,
        discovered: discovered_forwards(&settings(ON), &group(&[discovered]).discovered, |_| true)
            .0,
    };
    let (ours, theirs) = ("auto-tcp-8080 guest", "Debian/auto-tcp-8081 guest");
    let table = [
        (member(forward, "0.0.0.0:8080"), vec!["Debian/web relay"]),
        (member("", "0.0.0.0:8080"), vec![ours]),
        (member("", "0.0.0.0:8081"), vec![ours, theirs]),
    ];
    for (member, expected) in table {
        let group = Group {
            members: vec![member],
            ..group(&["0.0.0.0:8080"])
        };
        let plan = plan_group(&settings(ON), &group, &seen);
        assert_eq!(shown(&plan), expected);
        assert!(plan.findings.is_empty(), "{:?}", plan.findings);
    }
}

#[test]
fn our_own_relay_is_not_discovered() {
    let seen = Machine::nat().mode(Mode::Mirrored);
    let text = format!(
        "{ON}[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 8080\nconnect-port = 80\n"
    );
    let action = plan_group(&settings(&text), &Group::default(), &seen.seen()).actions;
    let relay: Option<RelaySet> = action.into_iter().find_map(|action| match action {
        Action::SyncRelay(RelayRole::Entry, relay) => relay,
        _ => None,
    });
    let listening = [relay.clone().unwrap().forwards[0].1.listen];
    let seen = seen.with(|seen| {
        seen.host.relay = RelayMemory {
            wanted: relay,
            listening: listening.into_iter().collect(),
            ..RelayMemory::default()
        };
    });
    // The forward has left the configuration, and the relay listens for a moment more.
    let plan = plan_group(
        &settings(ON),
        &group(&["0.0.0.0:8080", "0.0.0.0:8081"]),
        &seen.seen(),
    );
    assert_eq!(shown(&plan), ["auto-tcp-8081 guest"]);
}

#[test]
fn a_rule_that_leads_back_to_windows_is_left_out() {
    let seen = Machine::nat().with(|seen| {
        seen.host.facts.windows_address = Some([192, 168, 1, 5].into());
    });
    for (to, expected) in [
        ([172, 17, 0, 2], true),
        ([172, 28, 16, 1], false),
        ([192, 168, 1, 5], false),
    ] {
        let mut found = listens("0.0.0.0:8080");
        found.to = Some(to.into());
        let forwards = own(&settings(ON), &[found], &seen.seen()).0;
        assert_eq!(!forwards.is_empty(), expected, "{to:?}");
    }
}

#[test]
fn only_so_many_and_the_first_ones_stay() {
    let listeners: Vec<String> = (0..MOST + 7)
        .map(|n| format!("0.0.0.0:{}", 8900 - n))
        .collect();
    let listeners: Vec<&str> = listeners.iter().map(String::as_str).collect();
    let plan = plan_group(
        &settings(ON),
        &group(&listeners),
        &Machine::nat().mode(Mode::Mirrored).seen(),
    );
    assert_eq!(plan.forwards.iter().flatten().count(), MOST);
    assert!(shown(&plan).contains(&"auto-tcp-8900 guest".to_owned()));
    let limit = plan
        .findings
        .iter()
        .find(|one| one.code == Code::DiscoveryLimit)
        .unwrap();
    assert_eq!(
        limit.detail,
        "of 107 ports in the ranges of [discovery] 7 are left out"
    );
}

#[test]
fn without_windows_or_discovery_nothing_is_different() {
    let seen = Machine::nat().seen();
    for text in [
        "",
        "[host]\nbackend = \"none\"\n[discovery]\ntcp = [8080]\n",
    ] {
        let settings = settings(text);
        let expected = plan_group(&settings, &Group::default(), &seen);
        let listeners = if text.is_empty() {
            group(&[])
        } else {
            group(&["0.0.0.0:8080"])
        };
        assert_eq!(plan_group(&settings, &listeners, &seen), expected);
    }
}

#[test]
fn many_forwards_make_one_finding() {
    let finding =
        |subject: &str, detail: &str| Finding::new(Code::ForwardOutsidePolicy, subject, detail);
    let mut findings = vec![
        finding("ssh", "tcp port 2222 to 22"),
        finding("auto-tcp-8080", "tcp port 8080"),
        finding("auto-tcp-8081, Debian/auto-udp-8082", "tcp port 8081"),
        finding("auto-tcp-8083, ssh", "mixed"),
        finding("auto-tcp-x", "no such name is made"),
    ];
    join(&mut findings);
    let subjects: Vec<&str> = findings.iter().map(|one| one.subject.as_str()).collect();
    assert_eq!(
        subjects,
        ["ssh", "auto-tcp-8083, ssh", "auto-tcp-x", DISCOVERED]
    );
    assert_eq!(findings[3].detail, "tcp port 8080, tcp port 8081");
}
