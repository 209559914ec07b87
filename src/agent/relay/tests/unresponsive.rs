//! Relays that hang, do not answer, do not read, or say too much.

use super::*;

#[tokio::test]
async fn silent_relay_is_killed() {
    for script in ["sleep 600", "ready; receive; sleep 600"] {
        let mut bench = Bench::new(script);
        bench.supervisor.set_forwards(set(5));
        let waits = async {
            while bench.supervisor.deadline.is_none()
                || bench.commands().len() < script.matches("receive").count()
            {
                let news = timeout(Duration::from_millis(5), bench.supervisor.next_change());
                news.await.map(drop).unwrap_or_default();
            }
        };
        timeout(LONG, waits).await.unwrap();
        let due = bench.supervisor.deadline.unwrap();
        assert!(due > Instant::now() + Duration::from_secs(5), "{script}");
        bench.supervisor.on_deadline(due);
        let memory = bench.supervisor.memory();
        assert_eq!(codes(&memory), [Code::RelayFailed], "{script}");
        assert!(
            memory.findings[0].detail.contains("within 15 s"),
            "{memory:?}"
        );
        assert!(memory.listening.is_empty());
    }
}

#[tokio::test]
async fn later_changes_give_a_relay_no_more_time() {
    let received = async |bench: &mut Bench, commands: usize| {
        let all = async {
            while bench.commands().len() < commands {
                let news = timeout(Duration::from_millis(5), bench.supervisor.next_change());
                news.await.map(drop).unwrap_or_default();
            }
        };
        timeout(LONG, all).await.unwrap();
    };
    let mut bench = Bench::new("ready; while receive; do :; done");
    bench.supervisor.set_forwards(set(5));
    received(&mut bench, 1).await;
    let due = bench.supervisor.deadline.unwrap();
    for last in [6, 7] {
        bench.supervisor.set_forwards(set(last));
        assert_eq!(bench.supervisor.deadline, Some(due));
    }
    // Nor does an answer to something else.
    bench.supervisor.handle_event(Event::Counters {
        forwards: Vec::new(),
    });
    assert_eq!(bench.supervisor.deadline, Some(due));
    bench.supervisor.on_deadline(due);
    let memory = bench.supervisor.memory();
    let detail = &memory.findings[0].detail;
    assert_eq!(detail, "the relay did not confirm its forwards within 15 s");

    // One that confirms them late, one after the other, has its time for each.
    let mut bench = Bench::new("ready; while receive; do :; done");
    bench.supervisor.set_forwards(set(5));
    received(&mut bench, 1).await;
    let due = bench.supervisor.deadline.unwrap();
    bench.supervisor.set_forwards(set(6));
    for serial in [1, 2] {
        assert_eq!(bench.supervisor.deadline > Some(due), serial == 2);
        let listeners = Vec::new();
        bench
            .supervisor
            .handle_event(Event::Applied { serial, listeners });
    }
    assert_eq!(bench.supervisor.deadline, None);
}

#[tokio::test]
async fn flooding_relay_is_killed_and_restarted_later() {
    let refused = r#"{"event":"refused","listen":{"protocol":"udp","listen-address":"0.0.0.0","listen-port":51820},"limit":4096,"count":3}"#;
    let sessions = r#"seq 1 60000 | sed 's/.*/{"event":"sessions","complete":false,"opened":[{"listen-address":"0.0.0.0","listen-port":51820,"client":"192.0.2.9:&","port":40001}],"closed":[]}/'; sleep 600"#;
    let table = [
        (format!("yes '{refused}'"), "floods the agent"),
        (sessions.to_owned(), "too many sessions"),
    ];
    for (script, text) in table {
        let mut bench = Bench::new(&format!("ready; receive; applied; {script}"));
        bench.supervisor.set_forwards(set(5));
        let failed = |memory: &RelayMemory| codes(memory).contains(&Code::RelayFailed);
        let memory = bench.until(failed).await;
        assert!(memory.findings[0].detail.contains(text), "{memory:?}");
        assert!(memory.sessions == 0 && memory.listening.is_empty());
        assert!(
            matches!(bench.supervisor.state, State::Waiting),
            "{:?}",
            bench.supervisor.state
        );
        assert!(bench.supervisor.deadline.unwrap() > Instant::now());
    }
}

/// WSL's init stays when its program on Windows has vanished.
#[tokio::test]
async fn silent_relay_must_answer() {
    let after = |time: Duration| Instant::now() + time;
    let mut bench = Bench::new(COUNTS);
    assert_eq!(bench.supervisor.ask_if_silent(after(SILENCE)), None);
    assert_eq!(bench.supervisor.deadline, None, "no relay runs");
    bench.supervisor.set_forwards(set(5));
    bench.until(|memory| memory.applied).await;
    // It has just spoken.
    assert_eq!(bench.supervisor.ask_if_silent(after(SILENCE / 2)), None);
    assert_eq!(bench.supervisor.deadline, None);
    assert_eq!(bench.supervisor.ask_if_silent(after(SILENCE)), None);
    assert!(bench.supervisor.deadline.is_some());
    let answered = async {
        while bench.supervisor.deadline.is_some() {
            let news = timeout(Duration::from_millis(5), bench.supervisor.next_change());
            assert!(news.await.is_err(), "an answer changes nothing");
        }
    };
    timeout(LONG, answered).await.unwrap();

    // Whatever asks has it found out.
    let asks: [fn(&mut Supervisor) -> Option<RelayMemory>; 3] = [
        |supervisor| supervisor.ask_if_silent(Instant::now() + SILENCE),
        Supervisor::retry,
        Supervisor::ask_counters,
    ];
    for ask in asks {
        let mut bench = Bench::new("ready; receive; applied; sleep 600");
        bench.supervisor.set_forwards(set(5));
        bench.until(|memory| memory.applied).await;
        assert_eq!(ask(&mut bench.supervisor), None);
        let due = bench.supervisor.deadline.unwrap();
        assert!(due > Instant::now() + DEADLINE / 2);
        bench.supervisor.on_deadline(due);
        let memory = bench.supervisor.memory();
        assert_eq!(codes(&memory), [Code::RelayFailed]);
        let detail = &memory.findings[0].detail;
        assert_eq!(detail, "the relay did not answer within 15 s");
        assert!(memory.listening.is_empty());
    }
}

#[tokio::test]
async fn relay_that_does_not_read_is_replaced() {
    let mut bench = Bench::new("ready; receive; applied; sleep 600");
    bench.supervisor.set_forwards(set(5));
    bench.until(|memory| memory.applied).await;
    let begun = Instant::now();
    let memory = (0..200)
        .cycle()
        .map(|last| bench.supervisor.set_forwards(set(last)))
        .find(|memory| !memory.findings.is_empty() || begun.elapsed() > LONG)
        .unwrap();
    assert_eq!(
        memory.findings[0].detail,
        "the relay does not read its commands"
    );
    assert!(matches!(bench.supervisor.state, State::Waiting));
}
