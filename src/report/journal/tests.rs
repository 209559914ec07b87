//! Against a socket of the test in place of journald.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{IoSliceMut, Read, Seek},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::{
    fs::{SealFlags, fcntl_get_seals},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use tempfile::TempDir;

use super::*;

/// Only a failure takes this long.
const DEADLINE: Duration = Duration::from_secs(30);

struct Journald {
    folder: TempDir,
    socket: Option<UnixDatagram>,
}

impl Journald {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let mut journald = Self {
            folder,
            socket: None,
        };
        journald.listen();
        journald
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn listen(&mut self) {
        let socket = UnixDatagram::bind(self.path()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        self.socket = Some(socket);
    }

    fn stop(&mut self) {
        self.socket = None;
        std::fs::remove_file(self.path()).unwrap();
    }

    fn log(&self) -> Log {
        Log::new(Some(Native::open(&self.path(), SEND_TIMEOUT).unwrap()))
    }

    fn next(&self) -> BTreeMap<String, String> {
        let socket = self.socket.as_ref().unwrap();
        loop {
            let (text, sealed) = receive(socket);
            // Not the empty datagram of `Native::open`.
            if !text.is_empty() || sealed {
                return parsed(&text);
            }
        }
    }

    /// All lines that wait; the kernel queues at most ten datagrams.
    fn meanwhile(&self) -> Vec<BTreeMap<String, String>> {
        let socket = self.socket.as_ref().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut lines = Vec::new();
        let mut text = vec![0; 1 << 16];
        while let Ok(length) = socket.recv(&mut text) {
            if length > 0 {
                lines.push(parsed(&text[..length]));
            }
        }
        socket.set_nonblocking(false).unwrap();
        lines
    }
}

/// A datagram, or the sealed file sent instead of one.
fn receive(socket: &UnixDatagram) -> (Vec<u8>, bool) {
    let mut text = vec![0; 1 << 20];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut text)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .unwrap();
    text.truncate(got.bytes);
    let mut files = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => files.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let Some(file) = files.next() else {
        return (text, false);
    };
    assert!(text.is_empty(), "text or a file, not both");
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    assert_eq!(fcntl_get_seals(&file).unwrap(), seals);
    let mut file = File::from(file);
    file.rewind().unwrap();
    file.read_to_end(&mut text).unwrap();
    (text, true)
}

/// Decodes the native protocol.
fn parsed(mut rest: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let (head, tail) = (&rest[..end], &rest[end + 1..]);
        let (name, value, after) = match head.iter().position(|byte| *byte == b'=') {
            Some(at) => (&head[..at], &head[at + 1..], tail),
            None => {
                let length = u64::from_le_bytes(tail[..8].try_into().unwrap());
                let value = &tail[8..8 + usize::try_from(length).unwrap()];
                assert_eq!(tail[8 + value.len()], b'\n');
                (head, value, &tail[9 + value.len()..])
            }
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert!(
            name.iter()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == b'_'),
            "{}",
            text(name)
        );
        assert_eq!(fields.insert(text(name), text(value)), None, "twice");
        rest = after;
    }
    fields
}

/// Runs `write` with `log` as the log of this thread.
fn logging(log: Log, write: impl FnOnce()) {
    tracing::subscriber::with_default(
        tracing_subscriber::registry().with(&*Box::leak(Box::new(log))),
        write,
    );
}

fn line(level: Level, message: String) -> Line {
    Line {
        level,
        message,
        fields: vec![("event", "pass".to_owned())],
        code: None,
    }
}

fn of<'a>(fields: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    fields.get(name).map(String::as_str)
}

#[test]
fn a_line_has_its_message_id_and_fields() {
    let journald = Journald::start();
    logging(journald.log(), || {
        tracing::info!(
            event = "pass",
            address_new = Some("10.0.0.2"),
            address_old = None::<String>,
            duration_us = 17_u64,
            "eth0 address 10.0.0.2"
        );
        tracing::warn!(
            event = "health",
            health = "forward-taken",
            subject = "ssh",
            "x"
        );
        tracing::info!(
            event = "health-cleared",
            health = "forward-taken",
            "cleared"
        );
        tracing::error!(target: "netlink", what = "y", "a library's error");
    });
    let pass = journald.next();
    let wanted = [
        ("MESSAGE", "eth0 address 10.0.0.2"),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "wslmesh"),
        ("CODE_FILE", file!()),
        ("WSLMESH_EVENT", "pass"),
        ("WSLMESH_ADDRESS_NEW", "10.0.0.2"),
        ("WSLMESH_DURATION_US", "17"),
    ];
    for (name, value) in wanted {
        assert_eq!(of(&pass, name), Some(value), "{name}");
    }
    assert!(!pass.contains_key("WSLMESH_ADDRESS_OLD"), "{pass:?}");
    let id = |event, health| super::super::event::message_id(event, health);
    assert_eq!(of(&pass, "MESSAGE_ID"), Some(id("pass", None).as_str()));
    let taken = Some("forward-taken");
    let health = journald.next();
    assert_eq!(of(&health, "PRIORITY"), Some("4"));
    assert_eq!(of(&health, "WSLMESH_HEALTH"), taken);
    assert_eq!(
        of(&health, "MESSAGE_ID"),
        Some(id("health", taken).as_str())
    );
    let cleared = journald.next();
    assert_eq!(of(&cleared, "WSLMESH_HEALTH"), taken);
    assert_eq!(
        of(&cleared, "MESSAGE_ID"),
        Some(id("health-cleared", None).as_str())
    );
    let library = journald.next();
    assert_eq!(of(&library, "PRIORITY"), Some("3"));
    assert_eq!(
        of(&library, "MESSAGE_ID"),
        Some(id("library", None).as_str())
    );
}

#[test]
fn a_multi_line_value_is_one_field() {
    let journald = Journald::start();
    let text = "first\nPRIORITY=0\n\nMESSAGE_ID=x\n";
    logging(journald.log(), || {
        tracing::info!(event = "reload", subject = text, "{text}");
    });
    let line = journald.next();
    assert_eq!(of(&line, "MESSAGE"), Some(text));
    assert_eq!(of(&line, "WSLMESH_SUBJECT"), Some(text));
    assert_eq!(of(&line, "PRIORITY"), Some("6"));
}

#[test]
fn an_oversized_line_is_sent_as_a_sealed_file() {
    let journald = Journald::start();
    let text = "y".repeat(300_000);
    logging(journald.log(), || tracing::info!(event = "pass", "{text}"));
    let line = journald.next();
    assert_eq!(of(&line, "MESSAGE"), Some(text.as_str()));
    assert_eq!(of(&line, "WSLMESH_EVENT"), Some("pass"));
}

#[test]
fn a_restarted_journald_gets_the_next_line() {
    let mut journald = Journald::start();
    let log = journald.log();
    let huge = "y".repeat(300_000);
    let write = |text: &str| tracing::info!(event = "pass", "{text}");
    logging(log, || {
        write("before");
        assert_eq!(of(&journald.next(), "MESSAGE"), Some("before"));
        journald.stop();
        write("lost");
        write(&huge);
        journald.listen();
        write("after");
        assert_eq!(of(&journald.next(), "MESSAGE"), Some("after"));
    });
}

#[test]
fn a_journald_that_does_not_read_blocks_nothing() {
    let journald = Journald::start();
    let log = journald.log();
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        logging(log, || {
            for _ in 0..10_000 {
                tracing::info!(event = "stop", "repeated");
            }
        });
        done.send(()).unwrap();
    });
    finished.recv_timeout(DEADLINE).expect("logging blocks");
    assert_eq!(of(&journald.next(), "MESSAGE"), Some("repeated"));
}

#[test]
fn a_flapping_finding_is_summarised() {
    let journald = Journald::start();
    let mut lines = Vec::new();
    logging(journald.log(), || {
        let (health, subject) = ("contested", "eth0");
        for _ in 0..300 {
            tracing::warn!(event = "health", health, subject, "contested (eth0): x");
            tracing::info!(
                event = "health-cleared",
                health,
                subject,
                "contested (eth0) cleared"
            );
            lines.extend(journald.meanwhile());
        }
        tracing::warn!(event = "health", health, subject = "eth1", "another one");
        tracing::info!(event = "stop", "stopped");
    });
    lines.extend(journald.meanwhile());
    let messages: Vec<_> = lines
        .iter()
        .filter_map(|line| of(line, "MESSAGE"))
        .collect();
    assert_eq!(
        messages[..2],
        ["contested (eth0): x", "contested (eth0) cleared"]
    );
    assert!(
        messages[9].starts_with(
            "contested (eth0) cleared (repeating: further lines are counted for 10 min"
        ),
        "{messages:?}"
    );
    assert!(messages[11].starts_with("contested (eth0) cleared (295 more times in 1 s)"));
    assert_eq!(messages[10], "another one");
    assert_eq!(messages.len(), 13, "{messages:?}");
    assert_eq!(of(&lines[11], "WSLMESH_TIMES"), Some("295"));
    assert_eq!(of(&lines[11], "WSLMESH_SUBJECT"), Some("eth0"));
}

#[test]
fn each_event_has_its_rate_limit() {
    let journald = Journald::start();
    let mut lines = Vec::new();
    logging(journald.log(), || {
        for round in 0..70 {
            tracing::info!(event = "pass", "eth0 address 10.0.0.{round}");
            tracing::debug!(event = "relay", "not limited");
            let health = "config-rejected";
            tracing::warn!(event = "reload", health, "the same mistake");
            tracing::warn!(event = "reload", health, "mistake {round}");
            tracing::error!(target: "netlink", "the same error");
            lines.extend(journald.meanwhile());
        }
    });
    let count = |start: &str| {
        let messages = lines.iter().filter_map(|line| of(line, "MESSAGE"));
        messages.filter(|text| text.starts_with(start)).count()
    };
    let table = [
        ("eth0 address", 60),
        ("not limited", 70),
        ("the same mistake", 10),
        ("mistake", 70),
        ("the same error", 10),
    ];
    for (start, wanted) in table {
        assert_eq!(count(start), wanted, "{start}");
    }
}

#[test]
fn the_watchdog_tick_writes_expired_summaries() {
    let journald = Journald::start();
    let log = journald.log();
    let (begin, minute) = (Instant::now(), Duration::from_secs(60));
    let mut written = 0;
    for round in 0..100 {
        log.record(line(Level::INFO, format!("pass {round}")), begin);
        written += journald.meanwhile().len();
    }
    log.flush_expired(begin + minute / 2);
    assert_eq!(written + journald.meanwhile().len(), 60);
    log.flush_expired(begin + minute);
    let last = journald.next();
    assert_eq!(of(&last, "MESSAGE"), Some("pass 99 (40 more times in 1 s)"));
}

#[test]
fn a_burst_waits_for_a_slow_journald() {
    let journald = Journald::start();
    let log = Log::new(Some(Native::open(&journald.path(), DEADLINE).unwrap()));
    let sender = thread::spawn(move || {
        logging(log, || {
            for round in 0..200 {
                tracing::info!(event = "stop", "line {round}");
            }
        });
    });
    for round in 0..200 {
        let line = journald.next();
        assert_eq!(of(&line, "MESSAGE"), Some(format!("line {round}").as_str()));
    }
    sender.join().unwrap();
}

#[test]
fn without_journald_open_fails() {
    let folder = TempDir::new().unwrap();
    Native::open(&folder.path().join("socket"), SEND_TIMEOUT).unwrap_err();
    Native::open(Path::new(&"x".repeat(200)), SEND_TIMEOUT).unwrap_err();
}

#[test]
fn without_a_journal_a_line_is_level_and_message() {
    let table = [
        (Level::ERROR, "wslmesh: error: eth0 disappeared\n"),
        (Level::WARN, "wslmesh: warning: eth0 disappeared\n"),
        (Level::INFO, "wslmesh: eth0 disappeared\n"),
        (Level::DEBUG, "wslmesh: debug: eth0 disappeared\n"),
    ];
    for (level, wanted) in table {
        let line = line(level, "eth0 disappeared".to_owned());
        assert_eq!(line.plain(), wanted);
    }
}
