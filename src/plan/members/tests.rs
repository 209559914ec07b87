use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{
    config::{Backend, settings},
    model::{Action, ForwardBackend, Mode},
    plan::tests::machine::Machine,
};

fn forward(name: &str, listen: &str, connect: u16) -> String {
    let (address, port) = listen.split_once(':').unwrap();
    format!(
        "[[forward]]\nname = \"{name}\"\nprotocol = \"tcp\"\nlisten-address = \"{address}\"\nlisten-port = {port}\nconnect-port = {connect}\n"
    )
}

fn member(distribution: &str, text: &str) -> Member {
    Member {
        distribution: distribution.to_owned(),
        forwards: settings(text).forwards,
        discovered: Vec::new(),
    }
}

fn planned(own: &str, members: Vec<Member>) -> Plan {
    let machine = Machine::nat().mode(Mode::Mirrored);
    let group = Group {
        own: "Ubuntu".to_owned(),
        members,
        ..Group::default()
    };
    plan_group(&settings(own), &group, &machine.seen())
}

/// Name, distribution, state and owner of each.
fn shown(plan: &Plan) -> Vec<String> {
    let forwards = plan.forwards.iter().flatten();
    let shown = forwards.map(|one| {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (distribution, owner) = (or_dash(&one.distribution), or_dash(&one.owner));
        format!("{} {distribution} {} {owner}", one.name, one.state)
    });
    shown.collect()
}

#[test]
fn first_configured_wins_a_port() {
    let (any, one, other) = ("0.0.0.0:2222", "192.168.1.5:2222", "192.168.1.6:2222");
    let table = [
        // Our own, the first member's, the second's; what comes of them.
        (any, any, any, "down Ubuntu", "down Ubuntu"),
        ("0.0.0.0:1", any, any, "pending -", "down Debian"),
        ("0.0.0.0:1", one, other, "pending -", "pending -"),
        ("0.0.0.0:1", one, any, "pending -", "down Debian"),
        (one, other, any, "pending -", "down Ubuntu"),
    ];
    for (own, first, second, of_first, of_second) in table {
        let own = forward("ssh", own, 22);
        let members = vec![
            member("Debian", &forward("ssh", first, 2022)),
            member("Fedora", &forward("ssh", second, 3022)),
        ];
        let plan = planned(&own, members);
        let mut forwards = shown(&plan);
        forwards.sort();
        let expected = [
            format!("Debian/ssh Debian {of_first}"),
            format!("Fedora/ssh Fedora {of_second}"),
            "ssh - pending -".to_owned(),
        ];
        assert_eq!(forwards, expected, "{own} {first} {second}");
        let owned = |finding: &&Finding| finding.code == Code::ForwardOwned;
        let losers = plan.findings.iter().filter(owned).count();
        let down = forwards.iter().filter(|one| one.contains(" down ")).count();
        assert_eq!(losers, down, "{:?}", plan.findings);
    }
}

#[test]
fn members_keep_their_backend_and_their_connect_port() {
    let members = vec![member("Debian", &forward("web", "0.0.0.0:80", 80))];
    let plan = planned("", members);
    let forwards = plan.forwards.unwrap();
    assert_eq!(forwards[0].backend, Some(ForwardBackend::Guest));
    assert_eq!(forwards[0].distribution.as_deref(), Some("Debian"));
}

#[test]
fn without_members_nothing_is_different() {
    let text = [("ssh", "0.0.0.0:2222", 22), ("web", "127.0.0.1:60000", 80)];
    let text = text.map(|(name, listen, connect)| forward(name, listen, connect));
    let settings = settings(&text.concat());
    for mode in [Mode::Nat, Mode::Mirrored, Mode::Consomme] {
        let seen = Machine::nat().mode(mode).seen();
        // The one knows of members and ranges, the other of neither.
        let merged = plan_merged(&settings, &Group::default(), Vec::new(), &seen);
        assert_eq!(merged, plan_singles(&settings, &seen), "{mode}");
    }
}

fn range(name: &str, listen: &str, connect: &str) -> String {
    format!(
        "[[forward]]\nname = \"{name}\"\nprotocol = \"tcp\"\nlisten-port = \"{listen}\"\nconnect-port = \"{connect}\"\n"
    )
}

#[test]
fn a_range_is_one_forward_with_the_state_of_its_worst_port() {
    let own = range("web", "8000-8010", "9000-9010") + &forward("ssh", "0.0.0.0:2222", 22);
    let mut seen = Machine::nat().mode(Mode::Mirrored).seen();
    let single = |plan: &Plan| plan.forwards.clone().unwrap().remove(0);
    let plan = plan_group(&settings(&own), &Group::default(), &seen);
    let relayed = plan.actions.iter().find_map(|action| match action {
        Action::SyncRelay(_, Some(wanted)) => Some(wanted.clone()),
        _ => None,
    });
    let wanted = relayed.unwrap();
    let pairs = wanted.forwards.iter().map(|(name, one)| {
        let (listen, connect) = (one.listen.listen_port.get(), one.connect_port.get());
        format!("{name} {listen} {connect}")
    });
    let pairs = Vec::from_iter(pairs);
    assert_eq!((pairs.len(), pairs[0].as_str()), (12, "web 8000 9000"));
    assert_eq!(pairs[10], "web 8010 9010");
    assert_eq!(shown(&plan), ["web - pending -", "ssh - pending -"]);
    let web = single(&plan);
    assert_eq!(web.listens(), "0.0.0.0:8000-8010");
    assert_eq!(web.connects().to_string(), "9000-9010");
    assert_eq!((web.ports, web.state_ports), (11, None));

    // The relay listens, but for three of them.
    seen.host.relay.applied = true;
    let listens = wanted.forwards.iter().map(|(_, one)| one.listen);
    let failure = crate::model::Failure {
        kind: crate::model::FailureKind::InUse,
        code: 98,
    };
    let fails = |port: u16| [8003, 8004, 8007].contains(&port);
    for listen in listens {
        if fails(listen.listen_port.get()) {
            seen.host.relay.failed.insert(listen, failure);
        } else {
            seen.host.relay.listening.extend([listen]);
        }
    }
    seen.host.relay.wanted = Some(wanted);
    let plan = plan_group(&settings(&own), &Group::default(), &seen);
    assert_eq!(shown(&plan), ["web - down -", "ssh - up -"]);
    let web = single(&plan);
    assert_eq!(web.state_in_words(), "down (8003-8004, 8007)");
    let of_web = |finding: &&Finding| finding.subject == "web";
    let found = Vec::from_iter(plan.findings.iter().filter(of_web));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        found[0].detail,
        "tcp 0.0.0.0:8003 is in use (error 98); tcp 0.0.0.0:8004 is in use (error 98); \
         tcp 0.0.0.0:8007 is in use (error 98)"
    );
}

#[test]
fn of_a_members_range_only_the_ports_that_are_free_are_served() {
    let members = vec![member("Debian", &range("web", "8000-8010", "9000-9010"))];
    let plan = planned(&forward("x", "0.0.0.0:8005", 1), members);
    assert_eq!(shown(&plan), ["x - pending -", "Debian/web Debian down -"]);
    let web = plan.forwards.as_ref().unwrap()[1].clone();
    assert_eq!((web.ports, web.listen.listen_port.get()), (11, 8000));
    assert_eq!(web.state_in_words(), "down (8005)");
    let owned = |finding: &&Finding| finding.code == Code::ForwardOwned;
    let owned = Vec::from_iter(plan.findings.iter().filter(owned));
    assert_eq!(owned[0].detail, "Ubuntu has tcp 0.0.0.0:8005");
    // All of it is another's.
    let members = vec![member("Debian", &range("web", "8000-8010", "9000-9010"))];
    let plan = planned(
        &range("x", "7000-9000", "7000-9000").replace("9000", "7999"),
        members,
    );
    assert_eq!(shown(&plan)[1], "Debian/web Debian pending -");
    let members = vec![member("Debian", &range("web", "8000-8010", "9000-9010"))];
    let plan = planned(&range("x", "7900-8100", "7900-8100"), members);
    assert_eq!(shown(&plan)[1], "Debian/web Debian down Ubuntu");
}

#[test]
fn a_leader_that_never_calls_windows_serves_none() {
    let mut own = settings("");
    own.backend = Backend::None;
    let group = Group {
        own: String::new(),
        members: vec![member("Debian", &forward("ssh", "0.0.0.0:2222", 22))],
        ..Group::default()
    };
    let plan = plan_group(&own, &group, &Machine::nat().seen());
    assert_eq!(shown(&plan), ["Debian/ssh Debian down -"]);
    let calls = |action: &Action| matches!(action, Action::SyncForwards(_));
    assert!(!plan.actions.iter().any(calls), "{:?}", plan.actions);
}

static SSH: LazyLock<Forward> = LazyLock::new(|| {
    let text = forward("ssh", "0.0.0.0:2222", 22);
    settings(&text).forwards.remove(0)
});

proptest! {
    /// Whatever is registered: no two forwards that are served have one port, our own
    /// stay, and each forward is served or has an owner.
    #[test]
    fn no_port_has_two_owners(ports in prop::collection::vec((0..4_usize, 1..6_u16, 0..3_u8), 0..24)) {
        let address = |last| match last {
            0 => "0.0.0.0".to_owned(),
            last => format!("10.0.0.{last}"),
        };
        let ssh = SSH.clone();
        let mut texts = vec![Vec::new(); 4];
        for (number, (whose, port, last)) in ports.into_iter().enumerate() {
            texts[whose].push(Forward {
                name: format!("f{number}"),
                listen_address: address(last).parse().unwrap(),
                listen_port: std::num::NonZeroU16::new(port).unwrap().into(),
                ..ssh.clone()
            });
        }
        let mut own = crate::config::Settings::default();
        // As a configuration is read: without clashes.
        for forward in texts.remove(0) {
            if !own.forwards.iter().any(|other| other.clashes_with(&forward)) {
                own.forwards.push(forward);
            }
        }
        let members: Vec<Member> = texts.into_iter().enumerate().map(|(number, forwards)| Member {
            distribution: format!("D{number}"),
            forwards,
            discovered: Vec::new(),
        }).collect();
        let all: usize = members.iter().map(|member| member.forwards.len()).sum();
        let group = Group { own: "Ubuntu".to_owned(), members, ..Group::default() };
        let (merged, losers) = merge(&own, &group, Vec::new());
        prop_assert_eq!(merged.forwards.len() + losers.len(), own.forwards.len() + all);
        prop_assert!(merged.forwards.starts_with(&own.forwards));
        for (number, one) in merged.forwards.iter().enumerate() {
            prop_assert!(!merged.forwards[..number].iter().any(|other| other.clashes_with(one)));
        }
    }
}
