use super::{super::machine::*, *};
use crate::{
    config::settings,
    doctor::port::Holder,
    model::{ModeState, Socket},
};

type Change = fn(&mut PortFacts);

/// Each case with its cause, which is the first finding, and words of the advice.
#[test]
fn each_case_names_its_cause() {
    let ssh = 2222;
    let free = 8080;
    let cases: &[(&str, u16, Change, &str, &str)] = &[
        (
            "answers",
            ssh,
            |_| {},
            "",
            "tcp 2222 answers here and from Windows",
        ),
        ("by the port here", 22, |_| {}, "", "tcp 2222 answers"),
        (
            "nothing listens",
            ssh,
            nothing_listens,
            "nothing-listens",
            "no service listens on tcp port 22",
        ),
        (
            "a container's",
            ssh,
            |f| {
                nothing_listens(f);
                f.passes_on = true;
                f.here = Some(Reach::Answers);
            },
            "",
            "answers",
        ),
        (
            "none of a container's",
            ssh,
            |f| {
                nothing_listens(f);
                f.passes_on = true;
                f.here = Some(Reach::Refused);
            },
            "nothing-listens",
            "Start the service",
        ),
        (
            "loopback only",
            ssh,
            |f| {
                f.holders = Ok(vec![holder("127.0.0.1", sshd(), 22)]);
                f.here = Some(Reach::Refused);
            },
            "loopback-only",
            "sshd (412) listens on 127.0.0.1 only, which packets to 172.28.16.5:22 do not reach. Let the service listen on 0.0.0.0",
        ),
        (
            "filtered here",
            ssh,
            |f| f.here = Some(Reach::TimedOut),
            "filtered-here",
            "172.28.16.5:22 does not answer (timed out). Look at the packet filter",
        ),
        (
            "another distribution",
            ssh,
            |f| {
                f.holders = Ok(vec![holder("0.0.0.0", Owner::Elsewhere, 22)]);
                f.others = vec!["Fedora".into()];
            },
            "other-distribution",
            "a process of another distribution (Fedora) holds tcp port 22",
        ),
        (
            "a process of Windows",
            ssh,
            |f| windows(f).owners = Some(vec![owner("0.0.0.0", "nginx", 1234)]),
            "windows-process",
            "on Windows nginx (1234) listens on 0.0.0.0:2222. Stop or reconfigure",
        ),
        (
            "http.sys",
            ssh,
            |f| windows(f).owners = Some(vec![owner("::", "System", 4)]),
            "windows-process",
            "netsh http show servicestate",
        ),
        (
            "and no forward",
            free,
            |f| {
                nothing_listens(f);
                windows(f).owners = Some(vec![owner("0.0.0.0", "nginx", 1234)]);
            },
            "windows-process",
            "nginx (1234)",
        ),
        (
            "WSL's relay on loopback",
            ssh,
            |f| {
                windows(f).owners = Some(vec![
                    owner("127.0.0.1", "wslrelay", 7),
                    owner("::1", "wslrelay", 7),
                ])
            },
            "",
            "answers",
        ),
        (
            "an excluded range",
            ssh,
            |f| {
                windows(f).owners = Some(Vec::new());
                windows(f).excluded = Some("2200-2299".parse().unwrap());
            },
            "excluded-range",
            "Windows gives no program the tcp ports 2200-2299",
        ),
        (
            "no forward",
            free,
            |f| windows(f).owners = Some(Vec::new()),
            "no-forward",
            "`sudo wslmesh forward add NAME --protocol tcp --listen-port 8080`",
        ),
        (
            "outside the policy",
            ssh,
            |f| windows(f).allowed = Some(false),
            "outside-policy",
            "does not cover tcp 2222. Run `wslmesh host install` again",
        ),
        (
            "no firewall rule",
            ssh,
            |f| windows(f).firewall.as_mut().unwrap().allows.clear(),
            "firewall-lacks",
            "lets clients in to tcp 2222 (networks: private). Run `wslmesh host install`",
        ),
        (
            "a firewall that is off",
            ssh,
            |f| {
                let w = windows(f).firewall.as_mut().unwrap();
                w.allows.clear();
                w.open = true;
            },
            "",
            "answers",
        ),
        (
            "a Block rule",
            ssh,
            |f| windows(f).firewall.as_mut().unwrap().blocks = vec!["relay".into()],
            "firewall-blocks",
            "keeps clients out by \"relay\". Remove the rules",
        ),
        (
            "all that comes in",
            ssh,
            |f| {
                windows(f).firewall.as_mut().unwrap().shut =
                    vec!["all that comes in is blocked in the profile private".into()]
            },
            "firewall-blocks",
            "Turn off",
        ),
        (
            "a loop",
            ssh,
            |f| {
                windows(f).rules = Some(vec![rule(
                    ("0.0.0.0", 2222),
                    ("192.168.50.10", 2222),
                    false,
                )])
            },
            "loop",
            "the port proxy rule 0.0.0.0:2222 -> 192.168.50.10:2222 leads back to itself. Remove the rule",
        ),
        (
            "a loop of two",
            ssh,
            |f| {
                windows(f).rules = Some(vec![
                    rule(("0.0.0.0", 2222), ("localhost", 8080), false),
                    rule(("0.0.0.0", 8080), ("172.28.16.1", 2222), false),
                ])
            },
            "loop",
            "leads back",
        ),
        (
            "a loop by localhost",
            ssh,
            |f| {
                windows(f).rules = Some(vec![
                    rule(("0.0.0.0", 2222), ("127.0.0.1", 8080), true),
                    rule(("0.0.0.0", 8080), ("172.28.16.1", 2222), false),
                ])
            },
            "loop",
            "leads back",
        ),
        (
            "WSL's relay behind a rule",
            free,
            |f| {
                windows(f).rules = Some(vec![rule(("0.0.0.0", 8080), ("127.0.0.1", 8080), false)]);
                windows(f).owners = Some(vec![
                    owner("127.0.0.1", "wslrelay", 7),
                    owner("0.0.0.0", "svchost", 1188),
                ]);
            },
            "foreign-rule",
            "another tool's",
        ),
        (
            "another tool's rule",
            ssh,
            |f| windows(f).rules = Some(vec![rule(("0.0.0.0", 2222), ("nas.example", 80), false)]),
            "foreign-rule",
            "another tool's port proxy rule leads 0.0.0.0:2222 -> nas.example:80. Remove the rule",
        ),
        (
            "another tool's rule that leads here",
            free,
            |f| {
                windows(f).rules =
                    Some(vec![rule(("0.0.0.0", 8080), ("172.28.16.5", 8080), false)]);
                windows(f).owners = Some(vec![owner("0.0.0.0", "svchost", 1188)]);
            },
            "foreign-rule",
            "answers here and from Windows",
        ),
        (
            "our rule",
            ssh,
            |f| {
                windows(f).rules = Some(vec![rule(("0.0.0.0", 2222), ("172.28.16.5", 22), true)]);
                windows(f).owners = Some(vec![owner("0.0.0.0", "svchost", 1188)]);
            },
            "",
            "answers",
        ),
        (
            "no agent",
            ssh,
            |f| f.agent = false,
            "no-agent",
            "Run `sudo systemctl start wslmesh`",
        ),
        (
            "what the agent found",
            ssh,
            |f| f.health = vec![health("relay-failed")],
            "relay-failed",
            "it did not start. Do that",
        ),
        (
            "the agent and Windows say the same",
            ssh,
            |f| {
                f.health = vec![health("forward-taken")];
                windows(f).owners = Some(vec![owner("0.0.0.0", "nginx", 1234)]);
            },
            "windows-process",
            "nginx (1234)",
        ),
        (
            "the guest's filter",
            ssh,
            |f| unanswered(f, &[WindowsEnd::Guest], 10060),
            "not-reached",
            "172.28.16.5:22 answers here, and from Windows it does not answer (timed out)",
        ),
        (
            "Windows is silent",
            ssh,
            |f| unanswered(f, &[WindowsEnd::Listener, WindowsEnd::Network], 10061),
            "windows-silent",
            "on Windows 127.0.0.1:2222 refuses connections",
        ),
        (
            "on its address alone",
            ssh,
            |f| unanswered(f, &[WindowsEnd::Network], 10061),
            "network-silent",
            "on Windows 192.168.50.10:2222 refuses connections",
        ),
        (
            "Windows does not say",
            ssh,
            |f| f.windows = Err("no interop".into()),
            "windows-unknown",
            "not known: no interop. Run `wslmesh host check`",
        ),
        (
            "not WSL",
            ssh,
            |f| {
                f.mode = ModeState::Known(Mode::NotWsl);
                f.windows = Err("this is not WSL".into());
            },
            "",
            "answers here; if a client",
        ),
        (
            "the dynamic range",
            ssh,
            |f| windows(f).dynamic = Some("1024-65535".parse().unwrap()),
            "dynamic-range",
            "answers",
        ),
        (
            "kept in mirrored mode",
            135,
            |f| f.mode = ModeState::Known(Mode::Mirrored),
            "windows-keeps",
            "Choose another listen-port",
        ),
        (
            "mirrored without a forward",
            free,
            |f| {
                f.mode = ModeState::Known(Mode::Mirrored);
                windows(f).owners = Some(Vec::new());
            },
            "",
            "answers here and from Windows",
        ),
        (
            "mirrored without a rule",
            free,
            |f| {
                f.mode = ModeState::Known(Mode::Mirrored);
                windows(f).owners = Some(Vec::new());
                windows(f).firewall.as_mut().unwrap().allows.clear();
            },
            "firewall-lacks",
            "Add a forward, which brings the rule",
        ),
        (
            "mirrored, and a process of Windows",
            free,
            |f| {
                f.mode = ModeState::Known(Mode::Mirrored);
                windows(f).owners = Some(vec![owner("0.0.0.0", "nginx", 1)]);
            },
            "windows-process",
            "nginx (1)",
        ),
        (
            "consomme",
            free,
            |f| {
                f.mode = ModeState::Known(Mode::Consomme);
                windows(f).owners = Some(vec![owner("0.0.0.0", "vmwp", 9)]);
            },
            "",
            "answers",
        ),
        (
            "bridged",
            free,
            |f| {
                f.mode = ModeState::Known(Mode::Bridged);
                windows(f).owners = Some(vec![owner("0.0.0.0", "nginx", 9)]);
            },
            "",
            "answers",
        ),
        (
            "another distribution's forward",
            free,
            |f| {
                f.status = Some(status("Fedora"));
                windows(f).owners = Some(vec![owner("0.0.0.0", "wslmesh-relay", 9)]);
            },
            "other-distribution",
            "a forward of the distribution Fedora has tcp 8080",
        ),
    ];
    let mut wrong = Vec::new();
    for (name, port, change, code, words) in cases {
        let mut facts = of(&forwards(), Protocol::Tcp, *port);
        change(&mut facts);
        let found = judge_port(&facts);
        let first = found.first().map_or("", |one| &one.code);
        let advice = said(&facts, &found);
        if first != *code || !advice.contains(words) {
            wrong.push(format!("{name}: {first}: {advice}\n{found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The first finding with its fix, as the page has them.
fn said(facts: &PortFacts, found: &[HealthEntry]) -> String {
    let bad = found.iter().find(|one| one.severity > Severity::Info);
    let detail = bad
        .map(|one| format!("{}. ", one.detail))
        .unwrap_or_default();
    detail + &port_advice(facts, found)
}

/// A forward of a range is looked at port by port.
#[test]
fn a_port_of_a_range_has_its_own_way() {
    let settings = settings(
        "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = \"8000-8010\"\nconnect-port = \"9000-9010\"\n",
    );
    for (asked, listen, connect) in [(8003, 8003, 9003), (9010, 8010, 9010), (8011, 8011, 8011)] {
        let facts = of(&settings, Protocol::Tcp, asked);
        let ways = (facts.listen_port.get(), facts.connect_port.get());
        assert_eq!(ways, (listen, connect), "{asked}");
    }
}

#[test]
fn of_several_causes_the_first_on_the_way_counts() {
    let mut facts = of(&forwards(), Protocol::Tcp, 2222);
    nothing_listens(&mut facts);
    windows(&mut facts).allowed = Some(false);
    windows(&mut facts)
        .firewall
        .as_mut()
        .unwrap()
        .allows
        .clear();
    windows(&mut facts).owners = Some(vec![owner("0.0.0.0", "nginx", 1)]);
    let found = judge_port(&facts);
    let codes: Vec<&str> = found.iter().map(|one| one.code.as_str()).collect();
    assert_eq!(
        codes,
        [
            "nothing-listens",
            "windows-process",
            "outside-policy",
            "firewall-lacks"
        ]
    );
}

#[test]
fn udp_is_never_said_to_answer() {
    let settings =
        settings("[[forward]]\nname = \"wg\"\nprotocol = \"udp\"\nlisten-port = 51820\n");
    let mut facts = of(&settings, Protocol::Udp, 51820);
    let wireguard = Owner::Kernel("wg0".into());
    facts.holders = Ok(vec![Holder {
        socket: Socket {
            protocol: Protocol::Udp,
            ..holder("0.0.0.0", wireguard.clone(), 51820).socket
        },
        ..holder("0.0.0.0", wireguard, 51820)
    }]);
    windows(&mut facts).dynamic = None;
    let found = judge_port(&facts);
    assert_eq!(found, []);
    let text = port_advice(&facts, &found);
    assert!(
        text.contains("cannot be proven") && !text.contains("udp 51820 answers"),
        "{text}"
    );
}

/// What was not tried, or did not answer, is not said to answer.
#[test]
fn only_what_answers_is_said_to_answer() {
    let cases: [(Change, &str); 4] = [
        (|_| {}, "tcp 2222 answers here and from Windows"),
        (|f| windows(f).connects = None, "tcp 2222 answers here;"),
        (|f| f.here = None, "tcp 2222 answers from Windows;"),
        (
            |f| {
                f.here = None;
                windows(f).connects = None;
            },
            "whether tcp 2222 answers could not be tried",
        ),
    ];
    for (change, words) in cases {
        let mut facts = of(&forwards(), Protocol::Tcp, 2222);
        change(&mut facts);
        let text = port_advice(&facts, &[]);
        assert!(text.contains(words), "{words}: {text}");
    }
}
