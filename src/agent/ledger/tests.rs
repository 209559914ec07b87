use super::*;
use crate::model::{
    Firewall, ForwardBackend, InterfaceName, Listen, MtuChange, Protocol, Rule, RuleSet, SyncMode,
    SysctlChange, SysctlKey, SysctlValue,
};

fn mtu(to: u32) -> Action {
    mtu_of(7, true, to)
}

fn mtu_of(index: u32, up: bool, to: u32) -> Action {
    Action::SetMtu(MtuChange {
        index,
        name: InterfaceName::new("wg0").unwrap(),
        up,
        from: 1420,
        to,
        why: String::new(),
    })
}

fn forwards(last: u8) -> Action {
    let port = std::num::NonZeroU16::MIN;
    Action::SyncForwards(RuleSet {
        mode: SyncMode::Nat,
        connect_address: [10, 0, 0, last].into(),
        rules: vec![Rule {
            name: String::new(),
            listen: Listen {
                protocol: Protocol::Tcp,
                listen_address: [0; 4].into(),
                listen_port: port,
            },
            connect_port: port,
            backend: ForwardBackend::Portproxy,
            firewall: Firewall::None,
        }],
    })
}

fn finding() -> Option<Finding> {
    Some(Finding::new(Code::MtuRefused, "wg0", "x"))
}

#[test]
fn a_failure_waits_and_a_new_end_does_not() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    assert!(ledger.allows(&mtu(1280), now));
    ledger.failed(&mtu(1280), finding(), true, now);
    assert!(!ledger.allows(&mtu(1280), now));
    assert!(ledger.allows(&mtu(1300), now));
    let due = ledger.next_due().unwrap();
    assert!(due >= now + Duration::from_secs(1) && due <= now + Duration::from_millis(1251));
    assert!(ledger.allows(&mtu(1280), due));
    ledger.failed(&mtu(1280), finding(), true, due);
    assert!(
        ledger.next_due().unwrap() >= due + Duration::from_secs(2),
        "twice as long"
    );
    ledger.reset();
    assert!(ledger.allows(&mtu(1280), due));
}

#[test]
fn a_call_in_flight_schedules_no_wakeup() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    ledger.failed(&forwards(1), None, true, now);
    let due = ledger.next_due().unwrap();
    ledger.begun(&forwards(1));
    ledger.planned(&[forwards(1)], due);
    assert_eq!(ledger.next_due(), None);
    ledger.failed(&forwards(1), None, true, due);
    assert!(
        ledger.next_due().unwrap() >= due + Duration::from_secs(2),
        "the failures before it still count"
    );
}

#[test]
fn what_cannot_succeed_waits_for_a_change_without_wakeups() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    ledger.failed(&mtu(1280), finding(), false, now);
    ledger.planned(&[mtu(1280)], now);
    assert_eq!(ledger.next_due(), None);
    assert!(!ledger.allows(&mtu(1280), now + Duration::from_secs(86400)));
    assert_eq!(ledger.findings().count(), 1);
    ledger.planned(&[], now);
    assert_eq!(ledger.findings().count(), 0, "no longer wanted");
    assert!(ledger.allows(&mtu(1280), now));
}

#[test]
fn what_is_due_and_not_tried_does_not_stay_due() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    ledger.failed(&forwards(1), None, true, now);
    let due = ledger.next_due().unwrap();
    ledger.planned(&[forwards(1)], due);
    ledger.put_off(due);
    assert!(ledger.next_due().unwrap() > due);
}

/// A setting of which another program makes something else each time.
fn sysctl() -> Action {
    Action::WriteSysctl(SysctlChange {
        key: SysctlKey::parse("net.core.rmem_max").unwrap(),
        from: SysctlValue::new("1"),
        to: SysctlValue::new("2"),
    })
}

#[test]
fn a_fight_is_noticed_and_left() {
    for (action, rounds) in [(mtu(1280), 2), (sysctl(), 4)] {
        let (mut ledger, mut now) = (Ledger::default(), Instant::now());
        let codes = |ledger: &Ledger| Vec::from_iter(ledger.findings().map(|found| found.code));
        for round in 1..=rounds {
            ledger.planned(std::slice::from_ref(&action), now);
            assert!(ledger.allows(&action, now), "{action}: round {round}");
            ledger.done(&action, now);
            now += Duration::from_secs(5);
            ledger.planned(&[], now);
            assert_eq!(codes(&ledger), [], "{action}: it may last");
        }
        ledger.planned(std::slice::from_ref(&action), now);
        assert!(!ledger.allows(&action, now), "{action}");
        assert_eq!(codes(&ledger), [Code::Contested]);
        now += ASIDE;
        ledger.planned(std::slice::from_ref(&action), now);
        assert!(ledger.allows(&action, now), "{action}");
        assert_eq!(codes(&ledger), []);
    }
}

/// What another program does at each of these seconds, and how often the agent changes
/// an MTU back.
#[test]
fn an_mtu_is_changed_twice_for_one_cause() {
    let table: [(&str, Vec<u64>, usize, bool); 5] = [
        ("WSL at one change of an adapter", vec![0], 1, false),
        ("a VPN that connects twice", vec![0, 20], 2, false),
        ("an owner that fights at once", (0..60).collect(), 2, true),
        ("one with a timer", vec![0, 90, 180, 270], 2, true),
        (
            "adapters that change now and then",
            vec![0, 400, 800, 1200],
            4,
            false,
        ),
    ];
    for (case, undone, changes, contested) in table {
        let (mut ledger, start, mut done) = (Ledger::default(), Instant::now(), 0);
        for second in undone {
            let now = start + Duration::from_secs(second);
            ledger.planned(&[mtu(1280)], now);
            if ledger.allows(&mtu(1280), now) {
                ledger.done(&mtu(1280), now);
                done += 1;
            }
        }
        assert_eq!(
            (done, ledger.findings().count() == 1),
            (changes, contested),
            "{case}"
        );
    }
}

/// wg-quick's `ip link set mtu 1420 up` undoes the first change; a restart of the tunnel
/// makes another device.
#[test]
fn a_tunnel_that_comes_up_is_no_fight() {
    let change = |index, up| mtu_of(index, up, 1280);
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    for index in 7..12 {
        for up in [false, true, true] {
            let action = change(index, up);
            ledger.planned(std::slice::from_ref(&action), now);
            assert!(ledger.allows(&action, now), "{index}, up: {up}");
            ledger.done(&action, now);
        }
        ledger.planned(&[], now);
    }
    ledger.planned(&[change(11, true)], now);
    assert!(!ledger.allows(&change(11, true), now), "a third time");
    assert_eq!(ledger.findings().count(), 1);
}

#[test]
fn going_to_and_fro_between_two_ends_is_no_fight() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    for _ in 0..20 {
        for end in [1280, 1300] {
            assert!(ledger.allows(&mtu(end), now));
            ledger.done(&mtu(end), now);
        }
    }
}

#[test]
fn the_breaker_holds_back_calls_to_a_dead_windows() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    for last in 1..=3 {
        assert!(ledger.allows(&forwards(last), now), "{last}");
        ledger.failed(&forwards(last), None, true, now);
    }
    assert!(!ledger.allows(&forwards(4), now));
    assert!(ledger.allows(&forwards(4), now + BREAKER));
    ledger.planned(&[forwards(4)], now);
    assert_eq!(
        ledger.next_due(),
        Some(now + BREAKER),
        "the loop wakes when it may try, not before"
    );
}
