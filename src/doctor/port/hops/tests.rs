use super::*;
use crate::{
    config::settings,
    doctor::port::{
        facts::{Holder, Owner},
        machine::*,
    },
    model::{ForwardBackend, ModeState, WindowsEnd},
};

pub(super) type Change = fn(&mut PortFacts);

/// Hops that work, their results in a word each, and words of the advice.
pub(super) type Case = (&'static str, Change, &'static str, &'static str);

pub(super) fn results(hops: &Hops) -> String {
    let letter = |one: &Hop| match one.result {
        HopResult::Ok => 'k',
        HopResult::Failed => 'F',
        HopResult::NotTried => '-',
        HopResult::Unknown => '?',
    };
    hops.hops.iter().map(letter).collect()
}

pub(super) fn check(of: &PortFacts, cases: &[Case]) {
    for (name, change, expected, words) in cases {
        let mut facts = of.clone();
        change(&mut facts);
        let hops = judge_hops(&facts);
        assert_eq!(results(&hops), *expected, "{name}: {hops:#?}");
        assert!(hops.advice.contains(words), "{name}: {}", hops.advice);
        let failed = hops.failed().is_some();
        assert_eq!(failed, expected.contains('F'), "{name}");
    }
}

pub(super) fn ssh() -> PortFacts {
    let mut facts = of(&forwards(), Protocol::Tcp, 2222);
    facts.tested.plain = Some(Kept::Open);
    facts.tested.milliseconds = Some(0);
    facts
}

pub(super) fn closes(facts: &mut PortFacts, to: WindowsEnd) {
    let found = windows(facts).connects.iter_mut().flatten();
    for one in found.filter(|one| one.to == to) {
        one.closed = true;
    }
}

/// In NAT mode: service, here, from Windows, Windows' port, through it, firewall.
#[test]
fn each_hop_fails_by_itself() {
    let cases: &[Case] = &[
        (
            "all",
            |_| {},
            "kkkkkk",
            "Every hop answers; run `wslmesh port 2222 --host ADDRESS`",
        ),
        (
            "no service",
            nothing_listens,
            "F--k-k",
            "Hop 1 fails (service): no service listens on tcp port 22",
        ),
        (
            "on loopback",
            |f| f.holders = Ok(vec![holder("127.0.0.1", sshd(), 22)]),
            // The case in which a rule leads there all the same.
            "kkkkkk",
            "Every hop",
        ),
        (
            "on loopback alone",
            |f| {
                f.holders = Ok(vec![holder("127.0.0.1", sshd(), 22)]);
                f.here = Some(Reach::Refused);
            },
            "F--k-k",
            "sshd (412) listens on 127.0.0.1 only",
        ),
        (
            "of another distribution",
            |f| f.holders = Ok(vec![holder("0.0.0.0", Owner::Elsewhere, 22)]),
            "kkkkkk",
            "Every hop",
        ),
        (
            "filtered here",
            |f| f.here = Some(Reach::TimedOut),
            "kF-k-k",
            "Hop 2 fails (service from here): a service listens, and 172.28.16.5:22 does not answer",
        ),
        (
            "a container's",
            |f| {
                f.holders = Ok(Vec::new());
                f.passes_on = true;
            },
            "kkkkkk",
            "Every hop",
        ),
        (
            "no sockets read",
            |f| {
                f.holders = Err("x".into());
                f.here = None;
            },
            "??kkkk",
            "No hop fails, and hop 1 is not known",
        ),
        (
            "not from Windows",
            |f| unanswered(f, &[WindowsEnd::Guest], 10060),
            "kkFk-k",
            "Hop 3 fails (service from Windows): 172.28.16.5:22 answers here, and from Windows it does not answer",
        ),
        (
            "none on Windows",
            |f| windows(f).owners = Some(Vec::new()),
            "kkkF-k",
            "nothing of wslmesh listens on 0.0.0.0:2222 on Windows. Run `wslmesh status`",
        ),
        (
            "no agent",
            |f| {
                windows(f).owners = Some(Vec::new());
                f.agent = false;
            },
            "kkkF-k",
            "the agent is not running, so the forward \"ssh\" follows no address. Run `sudo systemctl start wslmesh`",
        ),
        (
            "another program",
            |f| windows(f).owners = Some(vec![owner("0.0.0.0", "nginx", 7)]),
            "kkkF-k",
            "Hop 4 fails (port on Windows): on Windows nginx (7) listens on 0.0.0.0:2222",
        ),
        (
            "another's rule",
            |f| {
                windows(f).owners = Some(vec![owner("0.0.0.0", "svchost", 9)]);
                windows(f).rules = Some(vec![rule(("0.0.0.0", 2222), ("10.0.0.9", 22), false)]);
            },
            "kkkF-k",
            "another tool's port proxy rule",
        ),
        (
            "our rule",
            |f| {
                windows(f).owners = Some(vec![owner("0.0.0.0", "svchost", 9)]);
                windows(f).rules = Some(vec![rule(("0.0.0.0", 2222), ("172.28.16.5", 22), true)]);
            },
            "kkkkkk",
            "Every hop",
        ),
        (
            "the agent's reason",
            |f| {
                windows(f).owners = Some(Vec::new());
                f.health = vec![health("relay-failed")];
            },
            "kkkF-k",
            "it did not start. Do that.",
        ),
        (
            "owners unread",
            |f| windows(f).owners = None,
            "kkk?kk",
            "hop 4 is not known",
        ),
        (
            "nothing behind it",
            |f| unanswered(f, &[WindowsEnd::Network], 10061),
            "kkkkFk",
            "Hop 5 fails (forward from Windows): on Windows 192.168.50.10:2222 refuses connections",
        ),
        (
            "WSL's own listener on loopback does not count",
            |f| unanswered(f, &[WindowsEnd::Listener], 10061),
            "kkkkkk",
            "Every hop",
        ),
        (
            "closed at once",
            |f| closes(f, WindowsEnd::Network),
            "kkkkFk",
            "accepts a connection and closes it at once, which the service does not",
        ),
        (
            "as the service does",
            |f| {
                closes(f, WindowsEnd::Network);
                f.tested.plain = Some(Kept::Closed);
            },
            "kkkk?k",
            "hop 5 is not known",
        ),
        (
            "nothing tried from here",
            |f| {
                closes(f, WindowsEnd::Network);
                f.tested.plain = None;
            },
            "kkkk?k",
            "hop 5 is not known",
        ),
        (
            "blocked",
            |f| windows(f).firewall.as_mut().unwrap().blocks = vec!["no".into()],
            "kkkkkF",
            "keeps clients out by \"no\"",
        ),
        (
            "no rule",
            |f| windows(f).firewall.as_mut().unwrap().allows.clear(),
            "kkkkkF",
            "Hop 6 fails (Windows' firewall): no rule of Windows' firewall lets clients in to tcp 2222",
        ),
        (
            "left to the user",
            |f| {
                windows(f).firewall.as_mut().unwrap().allows.clear();
                f.forward.as_mut().unwrap().firewall = crate::config::Firewall::None;
            },
            "kkkkk?",
            "hop 6 is not known",
        ),
        (
            "Windows does not answer",
            |f| f.windows = Err("powershell.exe did not answer".into()),
            "kk?",
            "hop 3 is not known",
        ),
        (
            "not WSL",
            |f| f.mode = ModeState::Known(Mode::NotWsl),
            "kkF",
            "this is not WSL",
        ),
    ];
    check(&ssh(), cases);
}

#[test]
fn a_hop_says_how_long_it_took() {
    let hops = judge_hops(&ssh()).hops;
    let took: Vec<_> = hops.iter().map(|one| one.milliseconds).collect();
    assert_eq!(took, [None, Some(0), Some(3), None, Some(3), None]);
    let detail = |at: usize| hops[at].detail.as_str();
    assert_eq!(
        detail(0),
        "sshd (412), user root, unit ssh.service on 0.0.0.0:22"
    );
    assert_eq!(detail(3), "wslmesh-relay (5120) on 0.0.0.0:2222");
    assert!(detail(5).ends_with("read, not tried"), "{}", detail(5));
}

#[test]
fn a_header_that_the_service_does_not_know() {
    let text = CONFIG.to_owned() + "proxy-protocol = \"v2\"\n";
    let mut facts = of(&settings(&text), Protocol::Tcp, 2222);
    let mut with = |plain, headed, expected: &str, words: &str| {
        facts.tested.plain = Some(plain);
        facts.tested.headed = Some(headed);
        let ends = windows(&mut facts).connects.iter_mut().flatten();
        let closed = plain == Kept::Open && headed != Kept::Open;
        ends.for_each(|one| one.closed = closed);
        let hops = judge_hops(&facts);
        assert_eq!(results(&hops), expected, "{plain:?} {headed:?}");
        let all = format!("{}{}", hops.hops[1].detail, hops.advice);
        assert!(all.contains(words), "{all}");
    };
    with(
        Kept::Open,
        Kept::Closed,
        "kF-k-k",
        "the service closed the connection after the PROXY header: it likely does not know it. Set proxy-protocol only for",
    );
    with(
        Kept::Open,
        Kept::BadRequest,
        "kF-k-k",
        "answered \"400\" by HTTP to the PROXY header",
    );
    with(
        Kept::Open,
        Kept::Open,
        "kkkkkk",
        "keeps a connection that begins with the PROXY header",
    );
    with(
        Kept::Closed,
        Kept::Open,
        "kkkkkk",
        "keeps a connection that begins with the PROXY header",
    );
    with(Kept::Closed, Kept::Closed, "kkkkkk", "cannot be seen");
    // The relay's own are kept: the service may trust its address alone.
    windows(&mut facts)
        .connects
        .iter_mut()
        .flatten()
        .for_each(|one| one.closed = false);
    facts.tested.plain = Some(Kept::Open);
    facts.tested.headed = Some(Kept::Closed);
    let hops = judge_hops(&facts);
    assert_eq!(results(&hops), "k?kkkk");
    assert!(hops.hops[1].detail.contains("from here"), "{hops:?}");
    assert!(hops.more.is_empty(), "{hops:?}");
    // Where the relay does not come to it, that says nothing.
    facts.tested.counted = Some(false);
    assert_eq!(results(&judge_hops(&facts)), "kF-k-k");
    facts.tested.counted = None;

    // From Windows itself there is no header.
    closes(&mut facts, WindowsEnd::Guest);
    facts.tested.plain = Some(Kept::Open);
    facts.tested.headed = Some(Kept::Open);
    assert!(judge_hops(&facts).more.is_empty());

    // The other way round it is a hint.
    let mut facts = ssh();
    facts.tested.plain = Some(Kept::Closed);
    facts.tested.headed = Some(Kept::Open);
    let hops = judge_hops(&facts);
    assert_eq!(results(&hops), "kkkkkk");
    let codes: Vec<&str> = hops.more.iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, ["header-expected"]);
    facts.tested.headed = Some(Kept::Closed);
    assert!(judge_hops(&facts).more.is_empty());
}

#[test]
fn a_datagram_has_no_answer() {
    let text = "[[forward]]\nname = \"wg\"\nprotocol = \"udp\"\nlisten-port = 51820\nfirewall = \"local\"\n";
    let mut wg = of(&settings(text), Protocol::Udp, 51820);
    wg.here = Some(Reach::Unknown);
    wg.holders = Ok(vec![Holder {
        socket: crate::model::Socket {
            protocol: Protocol::Udp,
            ..holder("0.0.0.0", Owner::Kernel("wg0".into()), 51820).socket
        },
        ..holder("0.0.0.0", Owner::Kernel("wg0".into()), 51820)
    }]);
    for end in [WindowsEnd::Guest, WindowsEnd::Listener] {
        unanswered(&mut wg, &[end], 10060);
    }
    windows(&mut wg).connects.as_mut().unwrap().pop();
    let cases: &[Case] = &[
        (
            "no counters",
            |_| {},
            "k??k?k",
            "`wslmesh port 51820/udp --host ADDRESS`",
        ),
        (
            "counted",
            |f| f.tested.counted = Some(true),
            "k??kkk",
            "hop 2 is not known",
        ),
        (
            "not counted",
            |f| f.tested.counted = Some(false),
            "k??kFk",
            "the relay did not count the datagram that Windows sent to 127.0.0.1:51820",
        ),
        (
            "refused here",
            |f| f.here = Some(Reach::Refused),
            "kF-k-k",
            "Hop 2 fails",
        ),
        (
            "refused from Windows",
            |f| unanswered(f, &[WindowsEnd::Guest], 10054),
            "k?Fk-k",
            "172.28.16.5:51820 refuses a datagram",
        ),
        (
            "an answer",
            |f| {
                unanswered(f, &[WindowsEnd::Listener], 0);
                f.tested.counted = Some(true);
            },
            "k??kkk",
            "",
        ),
        (
            "dead",
            |f| {
                f.holders = Ok(Vec::new());
                f.here = Some(Reach::Refused);
            },
            "F--k-k",
            "Hop 1 fails (service): no service listens on udp port 51820",
        ),
    ];
    check(&wg, cases);
}

/// Where the ports are shared: service, here, the relay in here if the ports differ, Windows'
/// port, through it, firewall.
#[test]
fn other_modes_have_other_hops() {
    let mut shared = ssh();
    shared.mode = ModeState::Known(Mode::Mirrored);
    shared.served_by = ForwardBackend::Relay;
    windows(&mut shared).owners = Some(Vec::new());
    // Windows does not reach its own addresses in here.
    unanswered(
        &mut shared,
        &[WindowsEnd::Guest, WindowsEnd::Network],
        10061,
    );
    let mut served = ForwardStatus {
        name: "ssh".into(),
        distribution: None,
        ..status("x")
    };
    served.listen.listen_port = 2222.try_into().unwrap();
    shared.status = Some(served);
    let cases: &[Case] = &[
        ("unequal ports", |_| {}, "kkkkkk", "Every hop"),
        (
            "no agent",
            |f| {
                f.status = None;
                f.agent = false;
            },
            "kkFk-k",
            "Hop 3 fails (relay in this distribution)",
        ),
        (
            "equal ports",
            |f| f.listen_port = f.connect_port,
            "kkkkk",
            "Every hop",
        ),
        (
            "a program of Windows",
            |f| windows(f).owners = Some(vec![owner("0.0.0.0", "nginx", 7)]),
            "kkkF-k",
            "nginx (7)",
        ),
        (
            "by 127.0.0.1",
            |f| unanswered(f, &[WindowsEnd::Listener], 10061),
            "kkkkFk",
            "on Windows 127.0.0.1:2222 refuses",
        ),
        (
            "bridged",
            |f| f.mode = ModeState::Known(Mode::Bridged),
            "kkk",
            "Every hop",
        ),
    ];
    check(&shared, cases);
}

#[test]
fn the_tunnel_needs_no_policy_and_no_mode() {
    let config = CONFIG.to_owned() + "backend = \"tunnel\"\n";
    let mut facts = of(&settings(&config), Protocol::Tcp, 2222);
    assert_eq!(facts.served_by, ForwardBackend::Tunnel);
    facts.tested.plain = Some(Kept::Open);
    windows(&mut facts).allowed = Some(false);
    for mode in [Mode::Nat, Mode::Mirrored] {
        facts.mode = ModeState::Known(mode);
        let hops = judge_hops(&facts);
        assert_eq!(hops.failed(), None, "{mode}: {hops:#?}");
        let relay = hops.hops.iter().any(|hop| hop.hop == HopKind::Relay);
        assert!(!relay && hops.more.is_empty(), "{mode}: {hops:#?}");
    }
}
