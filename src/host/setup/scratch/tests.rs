use std::{cell::RefCell, num::NonZeroU16};

use super::*;
use crate::{config::Firewall, host::setup::Check, interop::Output, model::SyncMode};

fn read<T>(text: &str, parse: impl Fn(&Output) -> Result<T, crate::host::json::AnswerError>) -> T {
    let output = Output {
        stdout: text.as_bytes().to_vec(),
        stderr: String::new(),
    };
    parse(&output).unwrap()
}

/// The golden answer of the checks, with this policy.
fn checked(grants: &str) -> Answer {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/host-setup");
    let text = std::fs::read_to_string(format!("{folder}/answer-checked.json")).unwrap();
    let mut answer = read(&text, Answer::parse);
    if let Agreed::Policy(policy) = &mut answer.policy {
        policy.grants = grants.split(' ').map(by_portproxy).collect();
    }
    answer.checks = ["T1", "T9"].map(ok).into();
    answer
}

fn by_portproxy(grant: &str) -> Grant {
    Grant {
        backend: crate::config::Backend::Portproxy,
        ..grant.parse().unwrap()
    }
}

fn ok(id: &str) -> Check {
    Check {
        id: id.into(),
        result: CheckResult::Ok,
        detail: "".into(),
    }
}

fn allowed(grants: &str) -> Policy {
    policy(&checked(grants)).unwrap().clone()
}

fn rule(listen: u16, connect: u16) -> Rule {
    Rule {
        name: format!("to-{connect}"),
        listen: Listen {
            protocol: Protocol::Tcp,
            listen_address: [0, 0, 0, 0].into(),
            listen_port: NonZeroU16::new(listen).unwrap(),
        },
        connect_port: NonZeroU16::new(connect).unwrap(),
        backend: ForwardBackend::Portproxy,
        firewall: Firewall::Local,
    }
}

fn rules(rules: Vec<Rule>) -> RuleSet {
    RuleSet {
        mode: SyncMode::Nat,
        connect_address: [172, 28, 16, 5].into(),
        rules,
    }
}

/// An answer of `refresh.ps1` to this request, with fields replaced by others.
fn answer(wanted: &RuleSet, more: Value) -> Synced {
    let made: Vec<Value> = wanted.rules.iter().map(made).collect();
    let mut answer = json!({
        "version": 1, "state": "synced", "detail": null, "elevated": false, "rules": made,
        "added": 0, "removed": 0, "kept": 0, "conflicts": [], "taken": [], "refused": [],
        "firewall": null, "installed": null, "guest-address": null, "windows-address": null,
        "lowest-mtu": null,
    });
    for (name, value) in more.as_object().unwrap() {
        answer[name] = value.clone();
    }
    read(&answer.to_string(), Synced::parse)
}

fn made(rule: &Rule) -> Value {
    json!({
        "listen-address": "0.0.0.0", "listen-port": rule.listen.listen_port,
        "connect-address": "172.28.16.5", "connect-port": rule.connect_port,
    })
}

/// A trial with one forward present, 2222 to 22, and what was asked for: each request's
/// ports. Of each request `more` says what the answer has otherwise.
async fn tried(
    most: usize,
    patience: Duration,
    more: impl Fn(usize) -> Result<Value, String>,
) -> (Trial, Vec<Vec<u16>>) {
    let present = rules(vec![rule(2222, 22)]);
    let policy = allowed("tcp:2222:22 tcp:8000-8999:80");
    let asked = RefCell::new(Vec::new());
    let ask = async |wanted: RuleSet| {
        let ports = wanted.rules.iter();
        let ports = ports.map(|rule| rule.listen.listen_port.get());
        asked.borrow_mut().push(ports.collect::<Vec<_>>());
        more(asked.borrow().len()).map(|more| answer(&wanted, more))
    };
    let trial = trial(&present, &policy, false, most, patience, ask).await;
    (trial, asked.into_inner())
}

/// Result and one fact.
fn found(trial: &Trial, fact: &str) -> (CheckResult, Value) {
    (trial.result, trial.facts[fact].clone())
}

fn fine(value: impl Into<Value>) -> (CheckResult, Value) {
    (CheckResult::Ok, value.into())
}

const PORTS: [u16; 2] = [2222, 8999];

#[tokio::test]
async fn one_is_made_and_removed() {
    let (trial, asked) = tried(1, Duration::ZERO, |_| Ok(json!({}))).await;
    assert!(!trial.left && asked == [PORTS.to_vec(), vec![2222]]);
    for (fact, value) in [
        ("port", json!(8999)),
        ("made", json!("synced")),
        ("removed", json!("synced")),
        ("step", Value::Null),
    ] {
        assert_eq!(found(&trial, fact), fine(value));
    }
}

#[tokio::test]
async fn many_are_made_within_the_policy_and_2000() {
    let (trial, asked) = tried(900, MINUTE, |_| Ok(json!({}))).await;
    assert_eq!(found(&trial, "forwards"), fine(900));
    assert_eq!(asked[0].len(), 901);
    let (trial, _) = tried(2000, MINUTE, |_| Ok(json!({}))).await;
    assert_eq!(found(&trial, "forwards"), fine(1000), "no more are allowed");
    let full = rules((1..=2000).map(|port| rule(port, 22)).collect());
    let ask = async |_| Err::<Synced, _>("not to be asked");
    let ended = super::trial(&full, &allowed("tcp:1-9999"), false, 1, MINUTE, ask).await;
    assert_eq!(ended, Skipped::Full.into());
}

#[tokio::test]
async fn ports_that_others_have_are_left_to_them() {
    let taken = |ports: &[u16]| {
        let taken = ports.iter().map(|port| {
            json!({"protocol": "tcp", "listen-address": "0.0.0.0", "listen-port": port, "kind": "in-use", "owner": null})
        });
        json!({ "taken": taken.collect::<Vec<_>>() })
    };
    let conflict = json!({ "conflicts": [{
        "listen-address": "0.0.0.0", "listen-port": 8998, "connect-address": "nas", "connect-port": 80,
    }] });
    let (trial, asked) = tried(1, Duration::ZERO, |call| match call {
        1 => Ok(taken(&[8999])),
        2 => Ok(conflict.clone()),
        _ => Ok(json!({})),
    })
    .await;
    assert_eq!(found(&trial, "port"), fine(8997));
    assert_eq!(
        asked,
        [
            vec![2222, 8999],
            vec![2222, 8998],
            vec![2222, 8997],
            vec![2222]
        ]
    );
    // Of many the others do.
    let (trial, asked) = tried(10, MINUTE, |_| Ok(taken(&[8999, 8995]))).await;
    assert_eq!(found(&trial, "forwards"), fine(8));
    assert_eq!(asked.len(), 2);
    // After three tries that is how it is; what was there is put back all the same.
    let last = |call: usize| Ok(taken(&[9000 - u16::try_from(call).unwrap()]));
    let (trial, asked) = tried(1, Duration::ZERO, last).await;
    assert_eq!(trial, Skipped::NoPort.into());
    assert_eq!((asked.len(), asked.last()), (4, Some(&vec![2222])));
}

#[tokio::test]
async fn a_task_at_work_is_asked_again_while_there_is_patience() {
    let working = |call| match call {
        1 | 2 => Ok(json!({ "state": "task-timeout" })),
        _ => Ok(json!({})),
    };
    let (trial, asked) = tried(1, MINUTE, working).await;
    assert_eq!(found(&trial, "made"), fine("synced"));
    assert_eq!(
        asked,
        [PORTS.to_vec(), PORTS.to_vec(), PORTS.to_vec(), vec![2222]]
    );
    let (trial, asked) = tried(1, Duration::ZERO, working).await;
    assert_eq!(
        found(&trial, "made"),
        (CheckResult::Differs, json!("task-timeout"))
    );
    assert_eq!(asked, [PORTS.to_vec(), vec![2222]]);
}

/// What goes wrong is said, and the second sync follows in any case.
#[tokio::test]
async fn what_differs_is_said() {
    let elsewhere = json!({ "rules": [
        {"listen-address": "0.0.0.0", "listen-port": 8999, "connect-address": "172.28.16.9", "connect-port": 80},
    ] });
    let left = json!({ "rules": [made(&rule(8999, 80))] });
    let failed = |state: &str| json!({ "state": state, "detail": "what went wrong" });
    let fine = || Ok(json!({}));
    let table: [([Result<Value, String>; 2], &str); 8] = [
        ([fine(), Ok(failed("partial"))], "what went wrong"),
        ([Ok(json!({ "rules": [] })), fine()], "no rule was made"),
        (
            [Ok(elsewhere), fine()],
            "the rule leads to 172.28.16.9:80 instead of 172.28.16.5:80",
        ),
        ([Ok(failed("partial")), fine()], "what went wrong"),
        ([Ok(failed("task-failed")), fine()], "what went wrong"),
        ([Err("out of reach".into()), fine()], "out of reach"),
        ([fine(), Err("out of reach".into())], "out of reach"),
        ([fine(), Ok(left)], "port 8999 is still forwarded"),
    ];
    for (answers, step) in table {
        let more = |call: usize| answers[call - 1].clone();
        let (trial, asked) = tried(1, Duration::ZERO, more).await;
        assert!(trial.left && trial.result == CheckResult::Differs);
        let said = trial.facts["step"].as_str().unwrap();
        assert!(said.starts_with(step), "{said}");
        assert_eq!(asked, [PORTS.to_vec(), vec![2222]], "{step}");
    }
}

#[tokio::test]
async fn a_sync_that_comes_meanwhile_is_no_fault() {
    let later = async |number, more: Value| {
        let more = move |call| match call {
            call if call == number => Ok(more.clone()),
            _ => Ok(json!({})),
        };
        tried(1, Duration::ZERO, more).await
    };
    let superseded = || json!({ "state": "superseded" });
    let (trial, asked) = later(1, superseded()).await;
    assert_eq!(trial, Skipped::Superseded.into());
    assert_eq!(asked, [PORTS.to_vec()], "nothing is written over it");
    let (trial, _) = later(2, superseded()).await;
    assert_eq!(trial, Skipped::Superseded.into());
}

#[test]
fn a_minute_is_enough_or_it_differs() {
    let wanted = rules(vec![rule(8999, 80)]);
    let ended = |wanted: &RuleSet, seconds| Ended {
        answer: Ok(answer(wanted, json!({}))),
        took: Duration::from_secs(seconds),
    };
    let judged = |seconds| {
        judge(
            &rules(vec![]),
            &wanted.rules,
            &ended(&wanted, seconds),
            &ended(&rules(vec![]), 5),
        )
        .result
    };
    assert_eq!(
        [59, 61].map(judged),
        [CheckResult::Ok, CheckResult::Differs]
    );
}

#[test]
fn spare_ports_are_the_policys_and_nothing_uses_them() {
    let chosen = |policy: &Policy, used: &[u16], most| -> Vec<(u16, u16)> {
        let used = used.iter().filter_map(|port| NonZeroU16::new(*port));
        let spares = spares(policy, false, used.collect(), most);
        let ports = |one: &Rule| (one.listen.listen_port.get(), one.connect_port.get());
        spares.iter().map(ports).collect()
    };
    let mut policy = allowed("udp:7000-7009 tcp:8000-8002:80-81 tcp:9000");
    assert_eq!(
        chosen(&policy, &[8001], 9),
        [(8002, 81), (8000, 81), (9000, 9000)]
    );
    assert_eq!(chosen(&policy, &[], 1), [(8002, 81)]);
    assert_eq!(chosen(&policy, &[8000, 8001, 8002, 9000], 1), []);
    // Those that the firewall stays shut for come first.
    policy.grants[2].firewall = Firewall::None;
    assert_eq!(chosen(&policy, &[], 2), [(9000, 9000), (8002, 81)]);
    // The first grant with the ports counts on Windows.
    let mut policy = allowed("tcp:8000-8001:80 tcp:8000-8002:80");
    policy.grants[1].firewall = Firewall::None;
    let spares = spares(&policy, false, BTreeSet::new(), 9);
    let firewalls: Vec<_> = spares
        .iter()
        .map(|one| (one.listen.listen_port.get(), one.firewall))
        .collect();
    let expected = [
        (8002, Firewall::None),
        (8001, Firewall::Local),
        (8000, Firewall::Local),
    ];
    assert_eq!(firewalls, expected);
}

#[test]
fn nothing_is_begun_on_a_windows_that_is_not_ready() {
    let with = |change: fn(&mut Answer)| {
        let mut answer = checked("tcp:8000-8999:80");
        change(&mut answer);
        policy(&answer).map(|_| ())
    };
    assert_eq!(with(|_| ()), Ok(()));
    type Change = fn(&mut Answer);
    let table: [(Change, Skipped); 9] = [
        (
            |answer| answer.policy = Agreed::Nothing,
            Skipped::NotInstalled,
        ),
        (
            |answer| answer.policy = Agreed::Unreadable,
            Skipped::OtherVersion,
        ),
        (|answer| answer.installed = None, Skipped::NotInstalled),
        (
            |answer| {
                if let Agreed::Policy(policy) = &mut answer.policy {
                    policy.grants[0].backend = crate::config::Backend::Auto;
                }
            },
            Skipped::NoPortproxy,
        ),
        (
            |answer| answer.installed.as_mut().unwrap().contract = 1,
            Skipped::OtherVersion,
        ),
        (
            |answer| answer.checks[1].result = CheckResult::NotRun,
            Skipped::NotInstalled,
        ),
        (
            |answer| answer.checks[1].result = CheckResult::Differs,
            Skipped::Task,
        ),
        (
            |answer| answer.checks[0].result = CheckResult::NotRun,
            Skipped::Guest,
        ),
        (
            |answer| answer.checks[0].result = CheckResult::Differs,
            Skipped::Guest,
        ),
    ];
    for (change, why) in table {
        assert_eq!(with(change), Err(why));
    }
}

#[test]
fn only_what_can_be_put_back_is_present() {
    let selected = |mode, forwards: &[[u16; 4]]| Selection {
        mode,
        forwards: forwards.to_vec(),
    };
    let configured = rules(vec![rule(2222, 22), rule(8080, 80)]);
    let found = |selection: Option<Selection>, wanted: &RuleSet, remain| {
        present(selection.as_ref(), wanted.clone(), remain)
    };
    let none = rules(vec![]);
    // One that Windows was not asked for is not made now either.
    let asked = found(Some(selected(1, &[[6, 8080, 80, 1]])), &configured, true);
    assert_eq!(asked, Ok(rules(vec![rule(8080, 80)])));
    assert_eq!(
        found(Some(selected(1, &[])), &configured, true),
        Ok(none.clone())
    );
    assert_eq!(
        found(Some(selected(0, &[])), &none, false),
        Ok(none.clone())
    );
    let table = [
        (None, &configured, Skipped::Unreadable),
        (Some(selected(2, &[])), &configured, Skipped::NoForwards),
        (Some(selected(0, &[])), &configured, Skipped::NotAsked),
        (Some(selected(0, &[])), &none, Skipped::NotAsked),
        (
            Some(selected(1, &[[6, 2222, 23, 1]])),
            &configured,
            Skipped::OtherForwards,
        ),
        (
            Some(selected(1, &[[6, 2222, 22, 2]])),
            &configured,
            Skipped::OtherForwards,
        ),
        (
            Some(selected(1, &[[17, 2222, 22, 1]])),
            &configured,
            Skipped::OtherForwards,
        ),
        (
            Some(selected(1, &[[6, 2222, 22, 1], [6, 1, 1, 1]])),
            &configured,
            Skipped::OtherForwards,
        ),
    ];
    for (selection, wanted, why) in table {
        let shown = format!("{selection:?}");
        assert_eq!(found(selection, wanted, true), Err(why), "{shown}");
    }
}
