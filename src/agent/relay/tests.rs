//! Supervised relays that are shell scripts. Each notes its commands in a file.

mod counters;
mod unresponsive;

use std::{fs, net::IpAddr, path::Path};

use tokio::time::timeout;

use super::*;
use crate::model::RelayLocation;
use wslmesh_relay::protocol::{Admit, FailureKind, Forward, Protocol, Session};

use crate::host::relay::GUEST_PROGRAM;

/// Longest wait of a test.
const LONG: Duration = Duration::from_secs(20);

/// The behaviour of a good relay, as shell functions.
const GOOD: &str = r#"
ready() { echo '{"event":"ready","version":5,"program":"0.1.0"}'; }
receive() { read -r command && echo "$command" >> "$here/commands"; }
serial() { echo "$command" | sed 's/.*"serial":\([0-9]*\).*/\1/'; }
applied() { echo '{"event":"applied","serial":'$(serial)',"listeners":[{"protocol":"udp","listen-address":"0.0.0.0","listen-port":51820,"failure":'${1:-null}'}]}'; }
opened() { echo '{"event":"sessions","complete":false,"opened":[{"listen-address":"0.0.0.0","listen-port":51820,"client":"192.0.2.9:4000","port":'$1'}],"closed":[]}'; }
counters() { echo '{"event":"counters","forwards":[{"protocol":"udp","listen-address":"0.0.0.0","listen-port":51820,"active":1,"opened":'$n',"failed":0,"refused":2,"bytes-in":5,"bytes-out":9000000000}]}'; }
follow() { ready; while receive; do applied; done; }
"#;

/// A relay that answers each request twice, with the number of requests as `opened`,
/// and is killed when it is to serve 172.28.16.9.
const COUNTS: &str = r#"ready; n=0
while receive; do case $command in
    *get-counters*) n=$((n+1)); counters; counters ;;
    *172.28.16.9*) kill -9 $$ ;;
    *) applied ;;
esac; done"#;

struct Bench {
    folder: tempfile::TempDir,
    supervisor: Supervisor,
}

impl Bench {
    /// A supervisor whose relay is this script.
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_relay(folder.path(), script);
        let supervisor = Supervisor::new(&paths(folder.path()), RelayRole::Entry);
        Self { folder, supervisor }
    }

    /// Changes until a condition holds.
    async fn until(&mut self, what: impl Fn(&RelayMemory) -> bool) -> RelayMemory {
        let wait = async {
            loop {
                let memory = self.supervisor.next_change().await;
                if what(&memory) {
                    return memory;
                }
            }
        };
        timeout(LONG, wait).await.unwrap()
    }

    /// The forwards that relays have received so far.
    fn commands(&self) -> Vec<SetForwards> {
        let text = fs::read_to_string(self.folder.path().join("commands")).unwrap_or_default();
        text.lines()
            .filter_map(|line| match serde_json::from_str(line).unwrap() {
                Command::SetForwards(wanted) => Some(wanted),
                Command::GetCounters | Command::Attach { .. } => None,
            })
            .collect()
    }

    /// Skips the delay of the next start.
    fn at_once(&mut self) {
        assert!(
            matches!(self.supervisor.state, State::Waiting),
            "{:?}",
            self.supervisor.state
        );
        self.supervisor.retry();
    }
}

fn paths(folder: &Path) -> Paths {
    Paths {
        state: folder.to_owned(),
        runtime: folder.to_owned(),
        lib: folder.to_owned(),
    }
}

/// The program is made by another process: while this one has it open for writing,
/// a child that another test is starting may have it too, and then it does not run.
fn write_relay(folder: &Path, script: &str) {
    let here = folder.display();
    let text = format!("#!/bin/sh\nPATH=/usr/bin:/bin; here='{here}'\n{GOOD}\n{script}\n");
    let draft = folder.join("draft");
    fs::write(&draft, text).unwrap();
    let done = std::process::Command::new("install")
        .args(["-m", "755"])
        .args([&draft, &folder.join(GUEST_PROGRAM)])
        .status()
        .unwrap();
    assert!(done.success());
}

fn guest(last: u8) -> IpAddr {
    [172, 28, 16, last].into()
}

fn set(last: u8) -> Option<RelaySet> {
    let port = std::num::NonZeroU16::new(51820).unwrap();
    let forward = Forward {
        listen: Listen {
            protocol: Protocol::Udp,
            listen_address: [0; 4].into(),
            listen_port: port,
        },
        connect_address: guest(last),
        connect_port: port,
        admit: Admit::Any,
        proxy_protocol: None,
    };
    Some(RelaySet {
        location: RelayLocation::Guest,
        forwards: vec![("wg".into(), forward)],
    })
}

fn codes(memory: &RelayMemory) -> Vec<Code> {
    memory.findings.iter().map(|finding| finding.code).collect()
}

/// The folder of an agent that has ended, with one session in its table.
async fn ended_agent() -> tempfile::TempDir {
    let mut bench =
        Bench::new("ready; receive; applied; opened 40001; while receive; do applied; done");
    bench.supervisor.set_forwards(set(5));
    bench.until(|memory| memory.sessions == 1).await;
    let Bench { folder, supervisor } = bench;
    drop(supervisor);
    folder
}

#[tokio::test]
async fn relay_is_started_updated_and_stopped() {
    let mut bench = Bench::new("follow; touch $here/ended");
    let first = bench.supervisor.set_forwards(set(5));
    assert!(!first.applied && first.listening.is_empty());
    let memory = bench.until(|memory| memory.applied).await;
    assert_eq!((memory.listening.len(), codes(&memory)), (1, vec![]));
    let State::Running { process, .. } = &bench.supervisor.state else {
        panic!("{:?}", bench.supervisor.state);
    };
    let id = process.id().unwrap();
    // A running relay is updated within the call, without a restart.
    let applying = bench.supervisor.set_forwards(set(6));
    assert!(!applying.applied && applying.listening.len() == 1);
    bench.until(|memory| memory.applied).await;
    let addresses: Vec<IpAddr> = bench
        .commands()
        .iter()
        .map(|want| want.forwards[0].connect_address)
        .collect();
    assert_eq!(addresses, [5, 6].map(guest));
    assert_eq!(bench.commands()[1].serial, bench.commands()[0].serial + 1);
    let ending = bench.supervisor.set_forwards(None);
    assert_eq!(ending.listening.len(), 1, "its port is still in use");
    let memory = bench.until(|memory| memory.listening.is_empty()).await;
    assert!(matches!(bench.supervisor.state, State::Idle));
    assert_eq!(memory.wanted, None);
    assert!(
        bench.folder.path().join("ended").exists(),
        "it exited by itself"
    );
    assert!(!Path::new(&format!("/proc/{id}/exe")).exists());
    let idle = timeout(Duration::from_millis(50), bench.supervisor.next_change()).await;
    assert!(idle.is_err(), "nothing is due");
}

/// A unit outlives the agent; the next one asks it what it has, and sends it no session.
#[tokio::test]
async fn next_agent_goes_on_with_the_relay() {
    let folder = ended_agent().await;
    fs::write(folder.path().join("commands"), "").unwrap();
    let script = r#"read empty; receive; id=$(echo "$command" | sed 's/[^0-9]//g')
        echo '{"event":"ready","version":5,"program":"0.1.0","attached":'$id'}'
        echo '{"event":"applied","serial":'$id',"listeners":[{"protocol":"udp","listen-address":"0.0.0.0","listen-port":51820,"failure":null}]}'
        while receive; do applied; done"#;
    write_relay(folder.path(), script);
    let program = std::process::Command::new(folder.path().join(GUEST_PROGRAM));
    let (pipes, child) = crate::host::relay::unit::piped(program);
    let supervisor = Supervisor::new(&paths(folder.path()), RelayRole::Entry).in_unit(Some(pipes));
    let mut bench = Bench { folder, supervisor };
    let memory = bench.until(|memory| memory.applied).await;
    assert_eq!(memory.wanted, set(5));
    assert_eq!((memory.listening.len(), memory.sessions), (1, 1));
    assert_eq!(codes(&memory), []);
    bench.supervisor.set_forwards(set(6));
    bench.until(|memory| memory.applied).await;
    let commands = bench.commands();
    let addresses = commands.iter().map(|want| want.forwards[0].connect_address);
    assert_eq!(addresses.collect::<Vec<_>>(), [5, 6].map(guest));
    assert!(commands.iter().all(|want| want.sessions.is_empty()));
    drop(child);
}

/// An upgrade of the agent leaves a relay that speaks the version before.
#[tokio::test]
async fn relay_of_another_version_is_replaced_at_once() {
    let folder = ended_agent().await;
    // The first to run is the one that was left.
    fs::write(folder.path().join("left"), "").unwrap();
    let script = r#"if rm "$here/left" 2>/dev/null; then
        read empty; receive; id=$(echo "$command" | sed 's/[^0-9]//g')
        echo '{"event":"ready","version":2,"program":"0.1.0","attached":'$id'}'; cat
        else ready; receive; applied; receive; fi"#;
    write_relay(folder.path(), script);
    let program = std::process::Command::new(folder.path().join(GUEST_PROGRAM));
    let (pipes, child) = crate::host::relay::unit::piped(program);
    let supervisor = Supervisor::new(&paths(folder.path()), RelayRole::Entry).in_unit(Some(pipes));
    let mut bench = Bench { folder, supervisor };
    let memory = bench
        .until(|memory| memory.applied || !memory.findings.is_empty())
        .await;
    assert_eq!(codes(&memory), [], "an upgrade is no failure");
    drop(child);
}

#[tokio::test]
async fn relay_that_does_not_exit_is_killed() {
    let mut bench =
        Bench::new("trap '' TERM; ready; receive; applied; while :; do sleep 600; done");
    bench.supervisor.set_forwards(set(5));
    bench.until(|memory| memory.applied).await;
    bench.supervisor.set_forwards(None);
    let begin = Instant::now();
    bench.until(|memory| memory.listening.is_empty()).await;
    assert!(begin.elapsed() >= SHUTDOWN_TIMEOUT && matches!(bench.supervisor.state, State::Idle));
}

#[tokio::test]
async fn restarted_relay_gets_the_session_table() {
    let mut bench = Bench::new(
        "ready; receive; applied; [ -e $here/crashed ] || { opened 40001; opened 40002; touch $here/crashed; kill -9 $$; }; receive",
    );
    bench.supervisor.set_forwards(set(5));
    let fallen = bench.until(|memory| !memory.findings.is_empty()).await;
    assert_eq!(codes(&fallen), [Code::RelayFailed]);
    assert!(fallen.findings[0].detail.contains("signal 9"), "{fallen:?}");
    assert_eq!((fallen.sessions, fallen.listening.len()), (1, 0));
    // It ran for less than a minute, so it is not restarted at once.
    assert!(
        matches!(bench.supervisor.state, State::Waiting),
        "{:?}",
        bench.supervisor.state
    );
    let until = bench.supervisor.deadline.unwrap();
    assert!(until > Instant::now() && until <= Instant::now() + Duration::from_secs(1));
    bench.at_once();
    let back = bench.until(|memory| memory.applied).await;
    assert_eq!(codes(&back), [Code::RelayRestarted]);
    let commands = bench.commands();
    let expected = Session {
        listen_address: [0; 4].into(),
        listen_port: std::num::NonZeroU16::new(51820).unwrap(),
        client: "192.0.2.9:4000".parse().unwrap(),
        port: std::num::NonZeroU16::new(40002).unwrap(),
    };
    assert_eq!(commands[0].sessions, []);
    assert_eq!(commands[1].sessions, [expected], "the last port it had");
    let due = bench.supervisor.transient.due().unwrap();
    assert!(bench.supervisor.on_deadline(due));
    assert_eq!(
        codes(&bench.supervisor.memory()),
        [],
        "cleared after a while"
    );
}

#[tokio::test]
async fn next_agent_takes_over_the_session_table() {
    let folder = ended_agent().await;
    write_relay(folder.path(), "follow");
    let supervisor = Supervisor::new(&paths(folder.path()), RelayRole::Entry);
    let mut bench = Bench { folder, supervisor };
    bench.supervisor.set_forwards(set(6));
    bench.until(|memory| memory.applied).await;
    let ports: Vec<u16> = bench.commands()[1]
        .sessions
        .iter()
        .map(|session| session.port.get())
        .collect();
    assert_eq!(ports, [40001]);
    bench.supervisor.set_forwards(None);
    bench.until(|memory| memory.sessions == 0).await;
}

#[tokio::test]
async fn each_failure_is_reported_and_retried() {
    let table = [
        (
            "echo garbage; sleep 600",
            Code::RelayFailed,
            "\"garbage\"",
            1,
        ),
        (
            "ready; receive; echo '{\"event\":\"applied\",\"seri'; sleep 600",
            Code::RelayFailed,
            "not an event",
            1,
        ),
        (
            "echo '{\"event\":\"ready\",\"version\":9,\"program\":\"9\"}'; sleep 600",
            Code::RelayFailed,
            "version 9",
            1,
        ),
        ("ready; ready; sleep 600", Code::RelayFailed, "twice", 1),
        (
            "echo '{\"event\":\"applied\",\"serial\":1,\"listeners\":[]}'; sleep 600",
            Code::RelayFailed,
            "before it was ready",
            1,
        ),
        (
            "ready; receive; echo '{\"event\":\"invalid\",\"line\":1,\"reason\":\"no\"}'; sleep 600",
            Code::RelayFailed,
            "line 1: no",
            1,
        ),
        ("exit 7", Code::RelayFailed, "exit code 7", 1),
        (
            "echo '{\"event\":\"elevated\"}'; exit 3",
            Code::RelayElevated,
            "administrator",
            300,
        ),
        ("exit 3", Code::RelayElevated, "administrator", 300),
    ];
    for (script, code, text, seconds) in table {
        let mut bench = Bench::new(script);
        bench.supervisor.set_forwards(set(5));
        let memory = bench.until(|memory| !memory.findings.is_empty()).await;
        assert_eq!(codes(&memory), [code], "{script}");
        assert!(memory.findings[0].detail.contains(text), "{memory:?}");
        assert!(
            matches!(bench.supervisor.state, State::Waiting),
            "{script}: {:?}",
            bench.supervisor.state
        );
        let until = bench.supervisor.deadline.unwrap();
        let wait = until.saturating_duration_since(Instant::now());
        assert!(
            wait <= Duration::from_secs(seconds) && wait + LONG >= Duration::from_secs(seconds),
            "{script}: {wait:?}"
        );
        // A relay that is not wanted has no failure.
        assert_eq!(codes(&bench.supervisor.set_forwards(None)), []);
        assert!(matches!(bench.supervisor.state, State::Idle));
    }
}

#[tokio::test]
async fn missing_program_is_retried() {
    let mut bench = Bench::new("follow");
    let program = bench.folder.path().join(GUEST_PROGRAM);
    let aside = bench.folder.path().join("aside");
    fs::rename(&program, &aside).unwrap();
    bench.supervisor.set_forwards(set(5));
    let memory = bench.until(|memory| !memory.findings.is_empty()).await;
    assert_eq!(codes(&memory), [Code::RelayMissing]);
    fs::rename(&aside, &program).unwrap();
    let memory = bench.until(|memory| memory.applied).await;
    assert_eq!(codes(&memory), [], "a first start is no restart");
}

#[tokio::test]
async fn ports_in_use_and_refused_clients_are_reported() {
    let mut bench = Bench::new(
        r#"ready; receive; applied '{"kind":"in-use","code":10048}'
        for count in 3 4; do echo '{"event":"refused","protocol":"udp","listen-address":"0.0.0.0","listen-port":51820,"limit":4096,"count":'$count'}' | sed 's/"protocol"/"listen":{"protocol"/; s/51820,/51820},/'; done
        while receive; do applied; done"#,
    );
    bench.supervisor.set_forwards(set(5));
    let memory = bench.until(|memory| !memory.findings.is_empty()).await;
    assert!(memory.applied && memory.listening.is_empty());
    let kinds: Vec<FailureKind> = memory.failed.values().map(|one| one.kind).collect();
    assert_eq!(kinds, [FailureKind::InUse]);
    assert_eq!(codes(&memory), [Code::RelayLimit]);
    assert_eq!(memory.findings[0].subject, "wg");
    // The same command again is another attempt.
    bench.supervisor.set_forwards(set(5));
    let memory = bench.until(|memory| memory.applied).await;
    assert_eq!((memory.failed.len(), memory.listening.len()), (0, 1));
    assert_eq!(
        memory.findings[0].detail,
        "udp 0.0.0.0:51820: 4 refused at the limit of 4096"
    );
}

#[tokio::test]
async fn new_place_restarts_the_relay() {
    let mut bench = Bench::new("follow; touch $here/ended");
    bench.supervisor.set_forwards(set(5));
    bench.until(|memory| memory.applied).await;
    let mut other = set(5);
    let folder = crate::model::DrivePath::new(r"C:\Users\me").unwrap();
    other.as_mut().unwrap().location = RelayLocation::Unpacked(folder);
    let memory = bench.supervisor.set_forwards(other);
    assert!(!memory.applied && memory.listening.len() == 1);
    // The second one needs Windows, which is not here.
    let memory = bench.until(|memory| !memory.findings.is_empty()).await;
    assert_eq!(codes(&memory), [Code::InteropMissing]);
    assert_eq!(memory.findings[0].subject, "relay");
    assert!(bench.folder.path().join("ended").exists());
}

#[tokio::test]
async fn single_reconciliation_starts_nothing() {
    let mut supervisor = Supervisor::default();
    let memory = supervisor.set_forwards(set(5));
    assert_eq!(
        (codes(&memory), memory.wanted),
        (vec![Code::RelayNeedsAgent], set(5))
    );
    assert_eq!(codes(&supervisor.set_forwards(None)), []);
    assert!(matches!(supervisor.state, State::Idle));
}
