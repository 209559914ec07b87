//! Forwards that change hands: no port ever has two owners.

use std::time::Duration;

use super::{
    super::*,
    fake::{Bench, Fake, SSH},
};
use crate::{
    blocking::BlockingError,
    config::settings,
    model::{Failure, FailureKind, HostPrivilege, RelaySet, RuleSet},
};

/// What Windows was asked for last, and how often.
fn asked(bench: &Bench) -> (usize, Vec<String>) {
    let names = |set: &RuleSet| set.rules.iter().map(|rule| rule.name.clone()).collect();
    let wanted = &bench.calls.wanted;
    (wanted.len(), wanted.last().map(names).unwrap_or_default())
}

/// What the relay was sent last, and how often.
fn relay_sent(bench: &Bench) -> (usize, Vec<String>) {
    let listens = |set: &RelaySet| {
        let all = set.forwards.iter();
        all.map(|(name, forward)| format!("{name} {}", forward.listen.listen_address))
            .collect()
    };
    let sent = &bench.calls.relay_sent;
    let last = sent.last().and_then(Option::as_ref);
    (sent.len(), last.map(listens).unwrap_or_default())
}

fn nothing() -> Vec<String> {
    Vec::new()
}

/// The forward with whatever backend it gets.
fn auto() -> String {
    SSH.replace("backend = \"portproxy\"\n", "")
}

#[tokio::test]
async fn the_relay_serves_on_loopback_and_once_it_is_installed_everyone() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, &auto());
    bench.pass().await;
    assert_eq!(asked(&bench), (1, nothing()), "where may the relay be?");
    bench.pass().await;
    assert_eq!(relay_sent(&bench), (0, nothing()));
    bench.windows_may(HostPrivilege::None);
    bench.pass().await;
    assert_eq!(relay_sent(&bench), (1, vec!["ssh 127.0.0.1".to_owned()]));
    bench.relay_confirms(&[]);
    let done = bench.pass().await;
    let codes: Vec<Code> = done.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::RelayLoopback]);
    assert_eq!((asked(&bench).0, relay_sent(&bench).0), (1, 1));
    assert_eq!(bench.agent.next_due(), None, "all is said");

    bench.agent.ask_windows_again();
    bench.pass().await;
    assert_eq!(asked(&bench), (2, nothing()), "only how things are");
    assert_eq!(relay_sent(&bench).0, 1, "it serves on meanwhile");
    bench.windows_may(HostPrivilege::Installed);
    bench.pass().await;
    assert_eq!(relay_sent(&bench), (2, vec!["ssh 0.0.0.0".to_owned()]));
    bench.relay_confirms(&[]);
    let done = bench.pass().await;
    assert_eq!(done.findings, []);
    assert_eq!(asked(&bench), (3, vec!["ssh".to_owned()]), "read back");
    bench.windows_may(HostPrivilege::Installed);
    bench.pass().await;
    assert_eq!((asked(&bench).0, relay_sent(&bench).0), (3, 2));
    assert!(
        !bench.agent.host.rules_remain,
        "there is nothing to withdraw"
    );
}

#[tokio::test]
async fn a_rule_is_removed_before_the_relay_starts() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, SSH);
    bench.pass().await;
    bench.windows_may(HostPrivilege::Installed);
    bench.pass().await;
    assert_eq!(relay_sent(&bench), (0, nothing()));
    let relay = auto() + "[host]\nbackend = \"relay\"\n";
    bench.agent.adopt(settings(&relay));
    bench.pass().await;
    assert_eq!(
        (asked(&bench), relay_sent(&bench)),
        ((2, nothing()), (0, nothing()))
    );
    bench.windows_may(HostPrivilege::Installed);
    bench.pass().await;
    assert_eq!(relay_sent(&bench), (1, vec!["ssh 0.0.0.0".to_owned()]));
}

#[tokio::test]
async fn a_call_without_an_answer_may_have_made_its_rule() {
    let machine = Fake::wsl();
    let wg = auto().replace("ssh", "wg").replace("tcp", "udp");
    let mut bench = Bench::new(&machine, &wg);
    bench.pass().await;
    bench.windows_may(HostPrivilege::Installed);
    bench.pass().await;
    assert_eq!(relay_sent(&bench), (1, vec!["wg 0.0.0.0".to_owned()]));
    bench.relay_confirms(&[]);
    let both = format!("{wg}{SSH}");
    bench.agent.adopt(settings(&both));
    bench.windows_may(HostPrivilege::Installed);
    bench.pass().await;
    let names = ["wg".to_owned(), "ssh".to_owned()];
    assert_eq!(asked(&bench), (2, names.to_vec()), "in flight");
    bench.agent.adopt(settings(&format!(
        "{wg}{}[host]\nbackend = \"relay\"\n",
        auto()
    )));
    bench.pass().await;
    assert_eq!(relay_sent(&bench).0, 1, "the rule may be made any moment");
    bench.calls.syncing = false;
    let wanted = bench.calls.wanted.last().unwrap().clone();
    let unseen = crate::host::sync::not_returned(
        wanted,
        &BlockingError::TimedOut(Duration::from_secs(60)),
        Duration::from_secs(60),
    );
    bench.agent.handle_event(HostEvent::Forwards(unseen));
    bench.agent.ledger.reset();
    bench.pass().await;
    let wg_alone = vec!["wg".to_owned()];
    assert_eq!(asked(&bench), (3, wg_alone), "the rule is to go");
    assert_eq!(relay_sent(&bench).0, 1, "and may have been made");
    bench.windows_may(HostPrivilege::Installed);
    bench.pass().await;
    assert_eq!(relay_sent(&bench).1, ["wg 0.0.0.0", "ssh 0.0.0.0"]);
}

#[tokio::test]
async fn a_listener_that_fails_is_tried_again_later() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, &auto());
    bench.pass().await;
    bench.windows_may(HostPrivilege::None);
    bench.pass().await;
    let listen = bench.calls.relay.listening[0];
    let failure = Failure {
        kind: FailureKind::InUse,
        code: 10048,
    };
    bench.relay_confirms(&[(listen, failure)]);
    let done = bench.pass().await;
    let is_taken = |finding: &Finding| finding.code == Code::ForwardTaken;
    assert!(done.findings.iter().any(is_taken), "{:?}", done.findings);
    assert_eq!(relay_sent(&bench).0, 1, "not before it is due");
    assert!(
        bench
            .agent
            .next_due()
            .is_some_and(|due| due > Instant::now())
    );
    // An address change does not wait for that.
    machine.world.borrow_mut().addresses[0].net = "172.28.27.77/20".parse().unwrap();
    bench.pass().await;
    assert_eq!(relay_sent(&bench).0, 2);
    bench.relay_confirms(&[]);
    let done = bench.pass().await;
    assert!(!done.findings.iter().any(is_taken));
    assert_eq!((relay_sent(&bench).0, bench.agent.next_due()), (2, None));
}

#[tokio::test]
async fn an_address_change_reaches_a_warm_relay_in_its_own_pass() {
    let machine = Fake::wsl();
    let wg = auto().replace("tcp", "udp");
    let mut bench = Bench::new(&machine, &wg);
    bench.pass().await;
    bench.windows_may(HostPrivilege::Installed);
    bench.pass().await;
    bench.relay_confirms(&[]);
    bench.pass().await;
    bench.windows_may(HostPrivilege::Installed);
    let calls = asked(&bench).0;
    for last in 2..10 {
        machine.world.borrow_mut().addresses[0].net =
            format!("172.28.27.{last}/20").parse().unwrap();
        bench.pass().await;
        let set = bench.calls.relay_sent.last().unwrap().as_ref().unwrap();
        let leads_to = set.forwards[0].1.connect_address;
        assert_eq!(leads_to, std::net::IpAddr::from([172, 28, 27, last]));
        bench.relay_confirms(&[]);
        bench.windows_may(HostPrivilege::Installed);
    }
    assert_eq!(asked(&bench).0, calls + 8, "what Windows has is read back");
    let contested = |finding: &Finding| finding.code == Code::Contested;
    assert!(!bench.pass().await.findings.iter().any(contested));
}

#[tokio::test]
async fn a_call_begun_before_a_reload_settles_nothing() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, SSH);
    bench.pass().await;
    // Its answer is that a rule may not be made, which is not wanted any more.
    bench.agent.adopt(settings(&auto()));
    bench.windows_may(HostPrivilege::None);
    let done = bench.pass().await;
    let refused = |finding: &Finding| finding.code == Code::ForwardNotElevated;
    assert!(!done.findings.iter().any(refused), "{:?}", done.findings);
    assert_eq!(asked(&bench), (2, nothing()), "asked again");
    bench.windows_may(HostPrivilege::None);
    bench.pass().await;
    assert_eq!((asked(&bench).0, bench.agent.next_due()), (2, None));
}

#[tokio::test]
async fn a_relay_that_was_uninstalled_during_a_call_is_asked_about_again() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, &auto());
    bench.pass().await;
    bench.windows_may(HostPrivilege::Installed);
    bench.pass().await;
    bench.relay_confirms(&[]);
    bench.pass().await;
    assert_eq!(asked(&bench).0, 2, "the call in flight");
    bench.calls.relay.findings = vec![Finding::new(Code::RelayLoopback, "", "x")];
    bench.relay_confirms(&[]);
    // It looked before the uninstall.
    bench.windows_may(HostPrivilege::Installed);
    bench.pass().await;
    assert_eq!(asked(&bench).0, 3);
}
