use super::super::tests::{Case, Change, check, closes, results, ssh};
use super::*;
use crate::config::settings;
use crate::doctor::port::{
    facts::{Holder, Owner, PortFacts},
    hops::judge_hops,
    machine::*,
};
use crate::model::{ForwardState, ForwardStatus, Mode, ModeState};

/// A forward whose port another one has, and a relay that is not installed.
#[test]
fn the_agents_word_counts() {
    let mut facts = ssh();
    let mut served = ForwardStatus {
        name: "ssh".into(),
        distribution: None,
        ..status("x")
    };
    served.listen.listen_port = 2222.try_into().unwrap();
    facts.status = Some(ForwardStatus {
        owner: Some("Debian".into()),
        ..served.clone()
    });
    let hops = judge_hops(&facts);
    assert_eq!(results(&hops), "kkkF-k");
    assert!(
        hops.advice.contains("a forward of Debian has tcp 2222"),
        "{hops:?}"
    );
    facts.status = Some(ForwardStatus {
        state: ForwardState::Down,
        ..served.clone()
    });
    assert_eq!(results(&judge_hops(&facts)), "kkkF-k");
    // Of a range some ports are down.
    facts.status = Some(ForwardStatus {
        state: ForwardState::Down,
        state_ports: Some("2223".into()),
        ..served.clone()
    });
    assert_eq!(results(&judge_hops(&facts)), "kkkkkk");
    served.listen.listen_address = std::net::Ipv4Addr::LOCALHOST.into();
    facts.status = Some(served);
    assert_eq!(facts.served_address(), std::net::Ipv4Addr::LOCALHOST);
    windows(&mut facts).owners = Some(vec![owner("127.0.0.1", "wslmesh-relay", 1)]);
    unanswered(&mut facts, &[WindowsEnd::Network], 10061);
    let hops = judge_hops(&facts);
    assert_eq!(results(&hops), "kkkkkF");
    assert!(
        hops.advice.contains("listens on 127.0.0.1 alone"),
        "{hops:?}"
    );
}

/// A rule of ours counts where it leads to the service.
#[test]
fn a_rule_leads_to_the_service() {
    fn proxied(f: &mut PortFacts, to: (&str, u16)) {
        windows(f).owners = Some(vec![owner("0.0.0.0", "svchost", 9)]);
        windows(f).rules = Some(vec![rule(("0.0.0.0", 2222), to, true)]);
    }
    let cases: &[Case] = &[
        (
            "right",
            |f| proxied(f, ("172.28.16.5", 22)),
            "kkkkkk",
            "Every hop",
        ),
        (
            "an old address",
            |f| proxied(f, ("172.28.16.9", 22)),
            "kkkF-k",
            "Hop 4 fails (port on Windows): the port proxy rule 0.0.0.0:2222 -> 172.28.16.9:22 does not lead to 172.28.16.5:22. Run `wslmesh status`",
        ),
        (
            "an old port",
            |f| proxied(f, ("172.28.16.5", 23)),
            "kkkF-k",
            "does not lead to 172.28.16.5:22",
        ),
        (
            "an old address, and no agent",
            |f| {
                proxied(f, ("172.28.16.9", 22));
                f.agent = false;
            },
            "kkkF-k",
            "Run `sudo systemctl start wslmesh`",
        ),
    ];
    check(&ssh(), cases);
}

/// What the relay counts of a connection, which shows where it waits for the service.
#[test]
fn the_relays_counters_say_whether_it_comes_to_the_service() {
    let cases: &[Case] = &[
        (
            "not",
            |f| f.tested.counted = Some(false),
            "kkkkFk",
            "192.168.50.10:2222 accepts a connection, and the relay does not get through to the service",
        ),
        (
            "not, of a service that closes",
            |f| {
                f.tested.counted = Some(false);
                f.tested.plain = Some(Kept::Closed);
                closes(f, WindowsEnd::Network);
            },
            "kkkkFk",
            "the relay does not get through",
        ),
        (
            "it does, and the service closes",
            |f| {
                f.tested.counted = Some(true);
                f.tested.plain = Some(Kept::Closed);
                closes(f, WindowsEnd::Network);
            },
            "kkkkkk",
            "Every hop",
        ),
        (
            "it does",
            |f| f.tested.counted = Some(true),
            "kkkkkk",
            "Every hop",
        ),
    ];
    check(&ssh(), cases);
}

/// The other end of Windows is no finding beside the hops.
#[test]
fn the_end_that_the_hop_takes_counts() {
    let loopback: Change = |f| unanswered(f, &[WindowsEnd::Listener], 10060);
    let network: Change = |f| unanswered(f, &[WindowsEnd::Network], 10061);
    let cases: [(&[Change], &str, &str); 4] = [
        (&[loopback], "kkkkkk", "Every hop"),
        (&[network], "kkkkFk", "192.168.50.10:2222 refuses"),
        (&[loopback, network], "kkkkFk", "192.168.50.10:2222 refuses"),
        (
            &[nothing_listens, loopback, network],
            "F--k-k",
            "no service",
        ),
    ];
    for (changes, expected, words) in cases {
        let mut facts = ssh();
        changes.iter().for_each(|change| change(&mut facts));
        let hops = judge_hops(&facts);
        assert_eq!(results(&hops), expected, "{hops:#?}");
        assert!(hops.advice.contains(words), "{}", hops.advice);
        assert!(hops.more.is_empty(), "{:?}", hops.more);
    }
}

#[test]
fn a_forward_of_windows_alone_is_tried_from_nowhere_else() {
    let text = CONFIG.to_owned() + "listen-address = \"127.0.0.1\"\n";
    let mut facts = of(&settings(&text), Protocol::Tcp, 2222);
    facts.tested.plain = Some(Kept::Open);
    windows(&mut facts).owners = Some(vec![owner("127.0.0.1", "wslmesh-relay", 1)]);
    let hops = judge_hops(&facts);
    assert_eq!(results(&hops), "kkkkk");
    assert!(!hops.advice.contains("--host"), "{}", hops.advice);
    assert!(hops.advice.contains("loopback alone"), "{}", hops.advice);
}

/// Where the ports are shared: service, here, Windows' port, through it, firewall.
#[test]
fn equal_ports_in_mirrored_mode() {
    let mut facts = of(&settings(CONFIG), Protocol::Tcp, 2222);
    facts.mode = ModeState::Known(Mode::Mirrored);
    facts.listen_port = facts.connect_port;
    facts.tested.plain = Some(Kept::Open);
    windows(&mut facts).owners = Some(Vec::new());
    let cases: &[Case] = &[
        ("all", |_| {}, "kkkkk", "Every hop"),
        (
            "owners unread",
            |f| windows(f).owners = None,
            "kk?kk",
            "hop 3 is not known",
        ),
        (
            "not served",
            |f| {
                f.status = Some(ForwardStatus {
                    state: ForwardState::Down,
                    distribution: None,
                    ..status("x")
                });
            },
            "kkF-k",
            "Hop 3 fails (port on Windows): the agent says that tcp 22 is not served",
        ),
    ];
    check(&facts, cases);
}

/// A forward to a service on loopback with the relay that leads there: service, here, relay,
/// from Windows, Windows' port, through it, firewall.
fn to_loopback() -> PortFacts {
    let text = CONFIG.to_owned() + "connect-address = \"127.0.0.1\"\n";
    let mut facts = of(&settings(&text), Protocol::Tcp, 2222);
    facts.tested.plain = Some(Kept::Open);
    facts.holders = Ok(vec![relay_at(NODE), holder("127.0.0.1", sshd(), 22)]);
    facts
}

fn relay_at(address: std::net::Ipv4Addr) -> Holder {
    let owner = Owner::Process {
        name: "wslmesh-relay".into(),
        id: 9,
        unit: None,
    };
    holder(&address.to_string(), owner, 22)
}

#[test]
fn a_service_on_loopback_has_a_relay_before_it() {
    let cases: &[Case] = &[
        ("all", |_| {}, "kkkkkkk", "Every hop"),
        (
            "no service",
            |f| {
                f.holders = Ok(vec![relay_at(NODE)]);
                f.here = Some(Reach::Refused);
            },
            "F-k-k-k",
            "no service listens on tcp 127.0.0.1:22, where its forward leads. Start the service",
        ),
        (
            "elsewhere",
            |f| {
                f.holders = Ok(vec![relay_at(NODE), holder("127.0.0.2", sshd(), 22)]);
                f.here = Some(Reach::Refused);
            },
            "F-k-k-k",
            "sshd (412) listens on 127.0.0.2 only, which packets to 127.0.0.1:22 do not reach. Correct connect-address",
        ),
        (
            "no relay",
            |f| {
                f.holders = Ok(vec![holder("127.0.0.1", sshd(), 22)]);
                f.health = vec![health("relay-failed")];
            },
            "kkF-k-k",
            "Hop 3 fails (relay in this distribution): it did not start. Do that.",
        ),
        (
            "on all addresses",
            |f| {
                f.holders = Ok(vec![holder("0.0.0.0", sshd(), 22)]);
                f.health = vec![health("forward-taken")];
            },
            "kkF-k-k",
            "Hop 3 fails (relay in this distribution): sshd (412) has 172.28.16.5:22, where the relay is to take what comes from Windows. Remove connect-address",
        ),
        (
            "another distribution's relay",
            |f| {
                f.holders = Ok(vec![
                    holder("172.28.16.5", Owner::Elsewhere, 22),
                    holder("127.0.0.1", sshd(), 22),
                ]);
            },
            "kkkkkkk",
            "Every hop",
        ),
        (
            "sockets unread",
            |f| {
                f.holders = Err("x".into());
                f.here = None;
            },
            "???kkkk",
            "hop 1 is not known",
        ),
        (
            "no address",
            |f| f.node = Err("x".into()),
            "kk?kkkk",
            "hop 3 is not known",
        ),
        (
            "not from Windows",
            |f| unanswered(f, &[WindowsEnd::Guest], 10060),
            "kkkFk-k",
            "the relay here is to answer at 172.28.16.5:22, and from Windows it does not answer",
        ),
        (
            "Windows is not let in",
            |f| closes(f, WindowsEnd::Guest),
            "kkkFk-k",
            "and from Windows it accepts a connection and closes it at once",
        ),
    ];
    check(&to_loopback(), cases);
}

/// A listener on `::`: the way through it by IPv4, then by IPv6.
#[test]
fn each_family_is_a_hop() {
    let text = CONFIG.to_owned() + "listen-address = \"::\"\n";
    let mut both = of(&settings(&text), Protocol::Tcp, 2222);
    both.tested.plain = Some(Kept::Open);
    windows(&mut both).owners = Some(vec![owner("::", "wslmesh-relay", 1)]);
    let connects = windows(&mut both).connects.as_mut().unwrap();
    let (mut listener, mut network) = (connects[1].clone(), connects[2].clone());
    listener.address = std::net::Ipv6Addr::LOCALHOST.into();
    network.address = "2001:db8::10".parse().unwrap();
    network.milliseconds = 7;
    connects.extend([listener, network]);
    let took = judge_hops(&both).hops.into_iter();
    let took: Vec<_> = took.map(|one| one.milliseconds).collect();
    assert_eq!(took[4..6], [Some(3), Some(7)]);
    fn fail(f: &mut PortFacts, at: &str, code: u32) {
        let found = windows(f).connects.iter_mut().flatten();
        let at: std::net::IpAddr = at.parse().unwrap();
        for one in found.filter(|one| one.address == at) {
            one.code = code;
        }
    }
    let cases: &[Case] = &[
        ("all", |_| {}, "kkkkkkk", "Every hop"),
        (
            "by IPv6",
            |f| fail(f, "2001:db8::10", 10060),
            "kkkkkFk",
            "Hop 6 fails (forward from Windows by IPv6): on Windows [2001:db8::10]:2222 does not answer",
        ),
        (
            "by IPv4",
            |f| fail(f, "192.168.50.10", 10061),
            "kkkkFkk",
            "Hop 5 fails (forward from Windows): on Windows 192.168.50.10:2222 refuses",
        ),
        (
            "without an address of IPv6",
            |f| {
                windows(f).connects.as_mut().unwrap().pop();
                fail(f, "::1", 10061);
            },
            "kkkkkFk",
            "on Windows [::1]:2222 refuses",
        ),
        (
            "without IPv6",
            |f| {
                windows(f).connects.as_mut().unwrap().pop();
                fail(f, "::1", 10049);
            },
            "kkkkkk",
            "Every hop",
        ),
        (
            "no service",
            nothing_listens,
            "F--k--k",
            "no service listens",
        ),
    ];
    check(&both, cases);
}
