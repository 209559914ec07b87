//! Passes on a described machine: what is done and what the journal says.

mod fake;
mod owners;

use std::time::Duration;

use self::fake::{Bench, Fake, SSH};
use super::*;
use crate::{
    config::settings,
    model::{DeviceReading, InterfaceName, Mode, ModeState, NetworkFile},
};

#[tokio::test]
async fn a_pass_does_everything_and_the_next_nothing() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, SSH);
    let first = bench.pass().await;
    assert_eq!(
        first.journal,
        [
            "eth0 address 172.28.16.5; create /etc/wslmesh/wsl-network.conf; eth0 mtu 1280 -> 1340 (a tunnel of 1280 needs it); wg0 mtu 1420 -> 1280; wg0 keepalive 25 s on 1 peer"
        ]
    );
    assert_eq!(bench.calls.wanted.len(), 1);
    assert_eq!(
        bench.pass().await.journal,
        ["rewrite /etc/wslmesh/wsl-network.conf (WSL_MTU)"],
        "it has the new MTU once that is set"
    );
    let second = bench.pass().await;
    assert_eq!(
        (second.changes, second.journal),
        (Vec::<String>::new(), Vec::new())
    );
    assert_eq!(
        bench.calls.wanted.len(),
        1,
        "the call in flight is not doubled"
    );
    bench.answer(true, Vec::new());
    bench.pass().await;
    assert_eq!(bench.calls.wanted.len(), 1, "Windows confirmed it");
    assert!(bench.agent.host.rules_remain);
    assert_eq!(bench.agent.next_due(), None, "and then nothing is due");
}

#[tokio::test]
async fn an_address_change_is_one_line_and_one_call() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, SSH);
    bench.pass().await;
    bench.answer(true, Vec::new());
    machine.world.borrow_mut().addresses[0].net = "172.28.27.77/20".parse().unwrap();
    assert_eq!(
        bench.pass().await.journal,
        [
            "eth0 address 172.28.16.5 -> 172.28.27.77; rewrite /etc/wslmesh/wsl-network.conf (WSL_IP, WSL_MTU)"
        ]
    );
    let addresses: Vec<String> = bench
        .calls
        .wanted
        .iter()
        .map(|set| set.connect_address.to_string())
        .collect();
    assert_eq!(addresses, ["172.28.16.5", "172.28.27.77"]);
}

#[tokio::test]
async fn a_thousand_forwards_with_the_same_trouble_are_not_a_thousand_findings() {
    let machine = Fake::wsl();
    let forward = |port| {
        format!(
            "[[forward]]\nname = \"f{port}\"\nprotocol = \"tcp\"\nlisten-port = {port}\nconnect-port = 22\n"
        )
    };
    let config: String = (50_000..51_000).map(forward).collect();
    let mut bench = Bench::new(&machine, &config);
    bench.agent.host.facts.dynamic.tcp = "49152-65535".parse().ok();
    let done = bench.pass().await;
    let of_range = |one: &&Finding| one.code == Code::ForwardDynamicRange;
    assert_eq!(done.findings.iter().filter(of_range).count(), 1_000);
    assert_eq!(done.journal.len(), 22, "21 and the pass");
    let document = crate::report::read_status(bench.folder.path());
    let document = document.unwrap().unwrap();
    assert_eq!((document.served.len(), document.health.len()), (1_000, 21));
}

/// The ports of WireGuard in the status document.
fn ports(bench: &Bench<'_>) -> String {
    let document = crate::report::read_status(bench.folder.path());
    let ports = document.unwrap().unwrap().wireguard_ports.into_iter();
    let shown = ports.map(|one| {
        assert!(!one.detail.contains(&one.device), "{one:?}");
        format!("{} {} {}", one.device, one.port, one.way)
    });
    Vec::from_iter(shown).join(", ")
}

/// Nothing else in a pass, nor a restart of the agent, which reads it again, repeats it.
#[tokio::test]
async fn a_port_of_wireguard_is_claimed_once_for_each_socket() {
    let claims = |done: &Done| {
        let claims = done.changes.iter();
        claims
            .filter(|line| line.starts_with("claim UDP port 51820 of wg0"))
            .count()
    };
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, "");
    bench.pass().await;
    assert_eq!(ports(&bench), "", "in NAT mode");
    bench.agent.mode.state = ModeState::Known(Mode::Mirrored);
    for socket in [7, 8] {
        machine.world.borrow_mut().kernel_ports.sockets = [(51820, socket)].into();
        let mut count = 0;
        for _ in 0..10 {
            count += claims(&bench.pass().await);
            assert_eq!(ports(&bench), "wg0 51820 claimed");
        }
        assert_eq!(count, 1, "socket {socket}");
    }
    let mut restarted = Bench::new(&machine, "");
    restarted.agent.mode.state = ModeState::Known(Mode::Mirrored);
    assert_eq!(claims(&restarted.pass().await), 0);
}

/// What Windows refuses is asked for again when the user says so.
#[tokio::test]
async fn a_refused_port_is_not_claimed_again_by_itself() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, "");
    bench.agent.mode.state = ModeState::Known(Mode::Mirrored);
    machine.world.borrow_mut().kernel_ports.sockets = [(51820, 7)].into();
    machine.failing.borrow_mut().insert("claim");
    for _ in 0..10 {
        let done = bench.pass().await;
        let refused = |finding: &Finding| finding.code == Code::WireguardPortRefused;
        assert_eq!(done.findings.iter().filter(|one| refused(one)).count(), 1);
        assert_eq!(bench.agent.next_due(), None);
        assert_eq!(ports(&bench), "wg0 51820 refused");
    }
    machine.failing.borrow_mut().clear();
    assert_eq!(bench.pass().await.changes, Vec::<String>::new());
    let settings = bench.agent.settings.clone();
    bench.agent.adopt(settings);
    let done = bench.pass().await;
    assert_eq!(done.changes.len(), 1, "{:?}", done.changes);
}

#[tokio::test]
async fn an_address_that_goes_and_comes_is_reported_both_times() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, "");
    bench.pass().await;
    let addresses = std::mem::take(&mut machine.world.borrow_mut().addresses);
    let lost = bench.pass().await;
    assert_eq!(lost.journal[0], "eth0 address 172.28.16.5 is lost");
    assert!(bench.pass().await.journal.is_empty(), "once");
    machine.world.borrow_mut().addresses = addresses;
    let back = bench.pass().await;
    assert!(back.journal[0].starts_with("eth0 address 172.28.16.5;"));
}

#[tokio::test]
async fn a_failure_is_one_finding_and_is_tried_again_later() {
    let machine = Fake::wsl();
    machine.failing.borrow_mut().insert("mtu");
    let mut bench = Bench::new(&machine, "");
    let codes = |done: &Done| {
        done.findings
            .iter()
            .map(|finding| format!("{} {}", finding.code, finding.subject))
            .collect::<Vec<_>>()
    };
    let first = bench.pass().await;
    assert_eq!(
        codes(&first),
        ["mtu-refused eth0 mtu", "mtu-refused wg0 mtu"]
    );
    assert!(
        first.changes.iter().all(|change| !change.contains("mtu")),
        "{:?}",
        first.changes
    );
    let second = bench.pass().await;
    assert_eq!(
        (codes(&second).len(), second.journal.len()),
        (2, 0),
        "still there, said once"
    );
    assert!(bench.agent.next_due().is_some());
    machine.failing.borrow_mut().clear();
    bench.agent.ledger.reset();
    let third = bench.pass().await;
    assert_eq!(
        third
            .journal
            .iter()
            .filter(|line| line.ends_with(" cleared"))
            .count(),
        2,
        "{:?}",
        third.journal
    );
    assert_eq!(codes(&third), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_changed_that_could_not_be_undone() {
    let machine = Fake::wsl();
    machine.failing.borrow_mut().insert("state");
    let done = Bench::new(&machine, "").pass().await;
    assert_eq!(
        done.changes,
        [
            "create /etc/wslmesh/wsl-network.conf",
            "wg0 keepalive 25 s on 1 peer"
        ]
    );
    assert!(
        done.findings
            .iter()
            .any(|finding| finding.code == Code::StateUnwritable)
    );
}

#[tokio::test]
async fn a_kernel_that_does_not_answer_is_asked_again() {
    let machine = Fake::wsl();
    machine.failing.borrow_mut().insert("kernel");
    let mut bench = Bench::new(&machine, SSH);
    let done = bench.pass().await;
    assert_eq!(
        (done.changes.len(), done.findings[0].code),
        (0, Code::ObserveFailed)
    );
    assert!(bench.agent.next_due().is_some() && bench.calls.wanted.is_empty());
}

#[tokio::test]
async fn another_owner_is_left_alone_after_a_few_rounds() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, "");
    let mut rounds = 0;
    while bench
        .pass()
        .await
        .changes
        .iter()
        .any(|change| change.contains("wg0 mtu"))
    {
        rounds += 1;
        machine.world.borrow_mut().links[1].mtu = 1420;
        assert!(rounds < 10, "it never stops");
    }
    assert_eq!(rounds, 2);
    let done = bench.pass().await;
    assert!(
        done.findings
            .iter()
            .any(|finding| finding.code == Code::Contested),
        "{:?}",
        done.findings
    );
}

#[tokio::test]
async fn windows_that_fails_is_called_again_and_one_that_refuses_is_not() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, SSH);
    bench.pass().await;
    bench.answer(false, vec![Finding::new(Code::InteropTimeout, "", "x")]);
    assert!(
        bench
            .pass()
            .await
            .findings
            .iter()
            .any(|finding| finding.code == Code::InteropTimeout)
    );
    assert_eq!(bench.calls.wanted.len(), 1, "not before it is due");
    assert!(bench.agent.next_due().is_some());
    bench.agent.ledger.reset();
    bench.pass().await;
    assert_eq!(bench.calls.wanted.len(), 2);
    bench.answer(true, vec![Finding::new(Code::ForwardNotElevated, "", "x")]);
    let done = bench.pass().await;
    assert_eq!(
        (bench.calls.wanted.len(), bench.agent.next_due()),
        (2, None)
    );
    assert!(
        done.findings
            .iter()
            .any(|finding| finding.code == Code::ForwardNotElevated)
    );
}

#[tokio::test]
async fn the_status_document_has_forwards_and_findings() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, SSH);
    bench.pass().await;
    bench.answer(true, Vec::new());
    bench.pass().await;
    let document = crate::report::read_status(bench.folder.path())
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            document.role.as_str(),
            document.mode.as_str(),
            document.passes
        ),
        ("active", "nat", 2)
    );
    assert_eq!(document.address, "172.28.16.5".parse().ok());
    assert_eq!(
        document.forwards.as_ref().map(|forwards| forwards.count),
        Some(1)
    );
    assert!(!document.degraded());
}

#[tokio::test]
async fn a_pass_that_cannot_observe_keeps_its_findings_and_does_not_spin() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, SSH);
    bench.pass().await;
    bench.answer(false, vec![Finding::new(Code::InteropTimeout, "", "x")]);
    bench.pass().await;
    machine.failing.borrow_mut().insert("kernel");
    for _ in 0..3 {
        let done = bench.pass().await;
        let codes: Vec<Code> = done.findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [Code::InteropTimeout, Code::ObserveFailed]);
        assert!(!done.journal.iter().any(|line| line.ends_with(" cleared")));
        assert!(
            bench
                .agent
                .next_due()
                .is_some_and(|due| due > Instant::now())
        );
    }
}

#[tokio::test]
async fn a_known_mode_stays_known() {
    let machine = Fake::wsl();
    let mut bench = Bench::new(&machine, "");
    bench
        .agent
        .handle_event(HostEvent::Mode(ModeState::Unknown("x".into())));
    assert!(bench.agent.mode.state.known().is_some());
    assert_eq!(bench.agent.next_due(), None);
}

#[tokio::test]
async fn an_unknown_mode_is_asked_again_later() {
    let machine = Fake::wsl();
    let folder = tempfile::tempdir().unwrap();
    let paths = Paths {
        state: folder.path().to_owned(),
        runtime: folder.path().to_owned(),
        lib: folder.path().to_owned(),
    };
    let mut agent = Agent::new(&machine, settings(""), &paths, HostMemory::default());
    agent.handle_event(HostEvent::Mode(ModeState::Unknown("x".into())));
    assert!(agent.mode.state.known().is_none() && !agent.mode.retry.take_due(Instant::now()));
    assert!(agent.next_due().is_some_and(|due| due > Instant::now()));
}

#[tokio::test]
async fn an_object_that_vanished_is_no_change() {
    let machine = Fake::wsl();
    machine.failing.borrow_mut().insert("vanished");
    let done = Bench::new(&machine, "").pass().await;
    assert_eq!((done.changes.len(), done.findings.len()), (0, 0));
    assert_eq!(done.journal, ["eth0 address 172.28.16.5"]);
}

#[tokio::test]
async fn what_ends_without_an_event_is_checked_again() {
    let machine = Fake::wsl();
    machine.world.borrow_mut().network_file = NetworkFile::Unreadable("x".into());
    let mut bench = Bench::new(&machine, "");
    bench.pass().await;
    let due = bench.agent.next_due().unwrap();
    assert!(due <= Instant::now() + Duration::from_millis(1300));
    for _ in 0..5 {
        bench.pass().await;
    }
    assert_eq!(
        bench.agent.next_due(),
        Some(due),
        "other passes do not put it off"
    );
    let wg0 = InterfaceName::new("wg0").unwrap();
    let busy = DeviceReading::Busy("x".into());
    machine.world.borrow_mut().wireguard.insert(wg0, busy);
    bench.agent.recheck.retry.due = Some(Instant::now() + Duration::from_secs(300));
    bench.pass().await;
    let due = bench.agent.next_due().unwrap();
    assert!(
        due <= Instant::now() + Duration::from_millis(1300),
        "a new problem starts a new count"
    );
}

#[tokio::test]
async fn windows_is_asked_in_each_period_whether_it_has_the_rules() {
    let machine = Fake::wsl();
    let config = format!("{SSH}[host]\nverify = \"1h\"\n");
    let mut bench = Bench::new(&machine, &config);
    bench.agent.verify = Verify::new(false);
    bench.pass().await;
    let soon = bench.agent.next_due();
    assert_eq!(soon, None, "there are no rules yet");
    bench.answer(true, Vec::new());
    bench.pass().await;
    let due = bench.agent.next_due().unwrap();
    let hour = Duration::from_secs(3600);
    assert!(due > Instant::now() + hour / 2 && due <= Instant::now() + hour);
    assert_eq!(bench.calls.wanted.len(), 1, "it is not due");
    // The hour is over.
    let past = Some(Duration::ZERO);
    bench.agent.verify.follow(past, true, Instant::now());
    bench.pass().await;
    assert_eq!(bench.calls.wanted.len(), 2);
    assert_eq!(bench.agent.next_due(), None, "in flight");
    bench.answer(true, Vec::new());
    bench.pass().await;
    assert_eq!(bench.calls.wanted.len(), 2, "once");
    assert!(bench.agent.next_due().is_some());
    // Without the key, and where the relay serves, nothing wakes.
    bench.agent.settings.verify = Default::default();
    bench.pass().await;
    assert_eq!(bench.agent.next_due(), None);
}
