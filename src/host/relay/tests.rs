//! Relays that are shell scripts.

use super::*;
use wslmesh_relay::protocol::{Admit, Forward, Limits, Listen, Protocol, SetForwards};

/// Longest wait of a test.
const LONG: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Process {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    Process::adopt(spawn(command).unwrap()).unwrap()
}

async fn recv(process: &mut Process) -> Result<Event, RelayError> {
    timeout(LONG, process.recv()).await.unwrap()
}

fn set_forwards(forwards: u16) -> protocol::Command {
    let forward = |number| Forward {
        listen: Listen {
            protocol: Protocol::Tcp,
            listen_address: [0; 4].into(),
            listen_port: std::num::NonZeroU16::new(number).unwrap(),
        },
        connect_address: [172, 28, 16, 5].into(),
        connect_port: std::num::NonZeroU16::MIN,
        admit: Admit::Any,
        proxy_protocol: None,
    };
    protocol::Command::SetForwards(SetForwards {
        version: VERSION,
        serial: 1,
        forwards: (1..=forwards).map(forward).collect(),
        sessions: Vec::new(),
        limits: Limits::default(),
    })
}

#[tokio::test]
async fn commands_go_in_and_events_come_out() {
    let mut process = shell(
        r#"echo '{"event":"ready","version":5,"program":"0.1.0"}'; read command
        case $command in '{"command":"set-forwards","version":5,'*) ;; *) exit 9 ;; esac
        printf '{"event":"applied",'; sleep 0.05; printf '"serial":1,"listeners":[]}\r\n{"event":"elevated"}\n'; cat"#,
    );
    let ready = Event::Ready {
        version: VERSION,
        program: "0.1.0".into(),
        attached: None,
    };
    assert_eq!(recv(&mut process).await.unwrap(), ready);
    process.send(&set_forwards(1)).unwrap();
    // A cancelled wait keeps the first half of the line.
    let cut = timeout(Duration::from_millis(10), process.recv()).await;
    assert!(cut.is_err());
    let applied = Event::Applied {
        serial: 1,
        listeners: Vec::new(),
    };
    assert_eq!(recv(&mut process).await.unwrap(), applied);
    assert_eq!(recv(&mut process).await.unwrap(), Event::Elevated);
    process.shutdown();
    let ended = recv(&mut process).await.unwrap_err().to_string();
    assert_eq!(ended, "the relay ended with exit code 0: no error message");
    assert!(process.send(&protocol::Command::GetCounters).is_err());
}

#[tokio::test]
async fn exits_are_distinguished() {
    let table = [
        ("exit 3", "the relay was started with administrator rights"),
        (
            "echo 'oh\x07 no' >&2; exit 101",
            "the relay ended with exit code 101: oh  no",
        ),
        (
            "echo '/mnt/c/Program Files/wslmesh/wslmesh-relay.exe: Invalid argument' >&2; exit 1",
            "Windows did not start the relay (/mnt/c/Program Files/wslmesh/wslmesh-relay.exe: Invalid argument): a policy such as AppLocker",
        ),
        (
            "echo 'bind: Invalid argument (os error 22)' >&2; exit 1",
            "the relay ended with exit code 1: bind",
        ),
        (
            "kill -9 $$",
            "the relay ended with signal 9: no error message",
        ),
        (
            "yes | head -c 3000000 | tr -d '\\n'",
            "the relay violated the protocol: not an event: \"yyyy",
        ),
        (
            "printf '{\\033[2J\\n'; sleep 600",
            "the relay violated the protocol: not an event: \"{\\u{1b}[2J\"",
        ),
        (
            "printf '{\"event\":\"dance\"}\\n'; sleep 600",
            "the relay violated the protocol: not an event: \"{\"event\":\"dance\"}\"",
        ),
        // A helper that outlives it and holds the pipes.
        (
            "sleep 600 & exit 4",
            "the relay ended with exit code 4: no error message",
        ),
    ];
    for (script, expected) in table {
        let mut process = shell(script);
        let error = recv(&mut process).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{script:?} gives {error:?}");
        assert!(error.chars().count() < 500, "{error}");
    }
}

#[tokio::test]
async fn flood_ends() {
    for script in [
        "exec yes '{\"event\":\"elevated\"}'",
        // Its standard output stays open.
        "yes >&2; exit",
    ] {
        let mut process = shell(script);
        let flood = async {
            loop {
                if let Err(error) = process.recv().await {
                    return error;
                }
            }
        };
        let error = timeout(LONG, flood).await.unwrap();
        assert!(matches!(error, RelayError::Flood), "{script}: {error}");
        assert!(process.stdout.bytes.capacity() <= 2 * MAX_LINE);
    }
}

#[tokio::test]
async fn events_before_its_exit_are_received() {
    let mut process = shell(r#"sleep 600 & echo '{"event":"elevated"}'; exit 3"#);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(recv(&mut process).await.unwrap(), Event::Elevated);
    let end = recv(&mut process).await.unwrap_err();
    assert!(matches!(end, RelayError::Elevated), "{end}");
}

#[tokio::test]
async fn sending_never_waits() {
    let mut process = shell("exec sleep 600");
    let begin = Instant::now();
    let mut sent = 0;
    let error = loop {
        match process.send(&set_forwards(1000)) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RelayError::Stuck), "{error}");
    assert!(sent >= 5, "a pipe holds a megabyte: {sent}");
    assert!(begin.elapsed() < LONG);
}

#[tokio::test]
async fn drop_kills_it_and_its_helpers() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let script = format!(
        "sleep 600 & echo $! $$ > {0}.new; mv {0}.new {0}; wait",
        pids.display()
    );
    let process = shell(&script);
    let written = async {
        while !pids.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, written).await.unwrap();
    drop(process);
    let text = std::fs::read_to_string(&pids).unwrap();
    for pid in text.split_whitespace() {
        let ended = async {
            while std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| !stat.contains(") Z "))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(LONG, ended).await.is_ok(), "{pid} still runs");
    }
}

/// What comes before the answer was for the agent before, the end of a line too.
#[tokio::test]
async fn one_that_another_agent_left_is_taken_over() {
    let script = r#"read empty; read attach; [ "$empty" = "" ] && [ "$attach" = '{"command":"attach","id":7}' ] || exit 9
        echo 'ent":"applied","serial":3,"listeners":[]}'; echo '{"event":"applied","serial":4,"listeners":[]}'
        echo '{"event":"ready","version":5,"program":"0.1.0","attached":6}'; echo '{"event":"ready","version":5,"program":"0.1.0","attached":7}'
        echo '{"event":"applied","serial":7,"listeners":[]}'"#;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    let (pipes, _child) = unit::piped(command);
    let mut process = Process::attach(pipes, 7).unwrap();
    let ready = recv(&mut process).await.unwrap();
    assert!(
        matches!(
            ready,
            Event::Ready {
                attached: Some(7),
                ..
            }
        ),
        "{ready:?}"
    );
    let applied = recv(&mut process).await.unwrap();
    assert!(
        matches!(applied, Event::Applied { serial: 7, .. }),
        "{applied:?}"
    );
    let ended = recv(&mut process).await.unwrap_err().to_string();
    assert_eq!(
        ended,
        "the relay ended with its unit (journalctl -u wslmesh-relay.service): no error message"
    );
}

#[test]
fn missing_program_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = command(&RelayLocation::Guest, folder.path()).unwrap_err();
    assert_eq!(missing.code(), Code::RelayMissing);
    let path = folder.path().join(GUEST_PROGRAM).display().to_string();
    assert_eq!(missing.to_string(), format!("{path} does not exist"));
}
