//! The program: started with a pipe on each side, ended with the first of them.

#![expect(
    clippy::disallowed_methods,
    reason = "a program with its own standard output"
)]

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{ExitCode, exit};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::commands;
use crate::events::EventWriter;
use crate::forward::Forwards;
use crate::os;
use crate::protocol::{Command, EXIT_ELEVATED, Event, VERSION};
use crate::switch::{self, End};

const HELP: &str = "\
Usage: wslmesh-relay [--help | --version]
       wslmesh-relay switch [--threads | --help]

Forwards TCP and UDP ports to a WSL guest. Started by the wslmesh agent: it reads
commands as lines of JSON from standard input, writes events as lines of JSON to
standard output, and exits when standard input ends. See docs/relay.md.

`switch` carries a guest's packets instead.
";

const SWITCH_HELP: &str = "\
Usage: wslmesh-relay switch [--threads | --help]

Gives a WSL guest a network by this machine's own sockets: no adapter, no NAT, no
administrator. Started by `wslmesh tunnel`: frames with packets and control messages
come from standard input and go to standard output, and it exits when standard input
ends.

The guest has 192.168.127.2 and fd77:736c:6d73::2. The gateway, .1 and ::1, answers
ping and DNS; .254 and ::fe are this machine's 127.0.0.1 and ::1.

  --threads  read and write in threads of their own, as always on Windows

Exit status: 0 when the link ends, 1 after a failure, 2 for an invalid command line,
3 if elevated, 4 if the guest's side speaks another version, 5 after an invalid frame
or message.
";

/// Exit code of a switch whose guest's side speaks another version.
const EXIT_VERSION: u8 = 4;

/// Exit code of a switch that got an invalid frame or message.
const EXIT_INVALID: u8 = 5;

/// Exit code of an invalid command line.
const EXIT_USAGE: u8 = 2;

/// Most sessions in an event, so that a line stays below the longest.
const SESSIONS_PER_EVENT: usize = 4096;

/// How long writing the last events may take when standard input has ended.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(20);

/// How long writing the event [`Event::Elevated`] may take.
const ELEVATED_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the program with the process's arguments.
pub fn run() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let text = match arguments.as_slice() {
        [] => {
            let Err(error) = relay();
            let text = format!("wslmesh-relay: cannot start: {error}\n");
            io::stderr().write_all(text.as_bytes()).ok();
            return ExitCode::FAILURE;
        }
        [one] if one == "--help" || one == "-h" => HELP,
        [switch, rest @ ..] if switch == "switch" => match rest {
            [] => return switch_packets(false),
            [one] if one == "--threads" => return switch_packets(true),
            [one] if one == "--help" || one == "-h" => SWITCH_HELP,
            _ => {
                io::stderr().write_all(SWITCH_HELP.as_bytes()).ok();
                return ExitCode::from(EXIT_USAGE);
            }
        },
        [one] if one == "--version" || one == "-V" => {
            concat!("wslmesh-relay ", env!("CARGO_PKG_VERSION"), "\n")
        }
        _ => {
            io::stderr().write_all(HELP.as_bytes()).ok();
            return ExitCode::from(EXIT_USAGE);
        }
    };
    // A closed standard output is no error.
    io::stdout().write_all(text.as_bytes()).ok();
    ExitCode::SUCCESS
}

/// Runs the switch, and says on standard error why it ended unless the link was closed.
fn switch_packets(threads: bool) -> ExitCode {
    let (text, code) = match os::elevated().and_then(|elevated| match elevated {
        true => Ok(None),
        false => switch::run(threads).map(Some),
    }) {
        Ok(Some(End::Closed)) => return ExitCode::SUCCESS,
        Ok(Some(End::Version(other))) => (
            format!("the other end of the link speaks version {other}"),
            EXIT_VERSION,
        ),
        Ok(Some(End::Invalid(error))) => {
            (format!("the link ends: it carried {error}"), EXIT_INVALID)
        }
        Ok(Some(End::NoHello)) => (
            "the link ends: its first message is no hello".to_owned(),
            EXIT_INVALID,
        ),
        Ok(None) => (
            "started elevated, and it handles untrusted packets".to_owned(),
            EXIT_ELEVATED,
        ),
        Err(error) => (format!("cannot go on: {error}"), 1),
    };
    let line = format!("wslmesh-relay switch: {text}\n");
    io::stderr().write_all(line.as_bytes()).ok();
    ExitCode::from(code)
}

/// Relays until standard input ends, then exits the process.
///
/// # Errors
///
/// Why it could not start.
fn relay() -> io::Result<Infallible> {
    let events = EventWriter::start(io::stdout())?;
    let elevated = os::elevated()?;
    os::raise_limits();
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        if elevated {
            events.try_send(&Event::Elevated);
            events.flush(ELEVATED_FLUSH_TIMEOUT).await;
            exit(EXIT_ELEVATED.into());
        }
        events.try_send(&ready(None));
        let commands = commands::listen(io::stdin())?;
        let server = Server {
            events: &events,
            forwards: Forwards::new(),
            unsent: Unsent::default(),
        };
        server.run(commands).await;
        events.flush(FLUSH_TIMEOUT).await;
        // Without returning: a thread may be stuck in a read, and the system
        // closes thousands of sockets sooner than the runtime drops them.
        exit(0)
    })
}

fn ready(attached: Option<u64>) -> Event {
    Event::Ready {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        attached,
    }
}

/// Carries out commands and sends events.
struct Server<'a> {
    events: &'a EventWriter,
    forwards: Forwards,
    unsent: Unsent,
}

/// Events that are due. Only the latest of each kind matters, so they take
/// bounded memory while the agent does not read.
#[derive(Default)]
struct Unsent {
    /// For an agent that took over. Nothing else is sent before it.
    ready: Option<Event>,
    whole_table: bool,
    applied: Option<Event>,
    invalid: Option<Event>,
    counters: bool,
}

impl Server<'_> {
    /// Runs until standard input ends.
    async fn run(mut self, mut commands: mpsc::Receiver<Result<Command, Event>>) {
        let mut due = None;
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Ok(Command::SetForwards(wanted))) => {
                        self.unsent.applied = Some(self.forwards.set(wanted).await);
                    }
                    Some(Ok(Command::GetCounters)) => self.unsent.counters = true,
                    Some(Ok(Command::Attach { id })) => {
                        // What the former agent was owed is nothing to this one.
                        self.unsent = Unsent {
                            ready: Some(ready(Some(id))),
                            whole_table: true,
                            applied: Some(self.forwards.applied(id)),
                            ..Unsent::default()
                        };
                    }
                    Some(Err(invalid)) => self.unsent.invalid = Some(invalid),
                    None => return,
                },
                () = self.forwards.context.changed.notified() => {}
                () = self.events.writable(), if self.events.is_full() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            due = self.send_events(Instant::now());
        }
    }

    /// Closes idle sessions and sends what is due and fits. Returns when to call
    /// it again if nothing happens before.
    fn send_events(&mut self, now: Instant) -> Option<Instant> {
        let expiry = &self.forwards.context.expiry;
        if expiry.get().is_some_and(|expiry| expiry <= now) {
            self.forwards.expire(now);
        }
        self.unsent
            .ready
            .take_if(|event| self.events.try_send(event));
        if self.unsent.ready.is_some() {
            return self.forwards.context.expiry.get();
        }
        self.send_sessions();
        // After the sessions, so that the agent's table is complete by then.
        let unsent = &mut self.unsent;
        unsent.applied.take_if(|event| self.events.try_send(event));
        unsent.invalid.take_if(|event| self.events.try_send(event));
        if unsent.counters {
            let counters = self.forwards.routes().map(|route| route.counters());
            let forwards = counters.collect();
            unsent.counters = !self.events.try_send(&Event::Counters { forwards });
        }
        let try_send = |event: &Event| self.events.try_send(event);
        let refusals = self.forwards.routes();
        let refusals = refusals.filter_map(|route| route.send_refusals(now, try_send));
        refusals.chain(self.forwards.context.expiry.get()).min()
    }

    fn send_sessions(&mut self) {
        let changes: Vec<_> = self
            .forwards
            .context
            .take_sessions()
            .into_values()
            .collect();
        if self.unsent.whole_table && !self.events.is_full() {
            self.unsent.whole_table = !self.events.try_send(&Event::Sessions {
                complete: true,
                opened: self.forwards.sessions(),
                closed: Vec::new(),
            });
            return;
        }
        for some in changes.chunks(SESSIONS_PER_EVENT) {
            let sessions = |open: bool| {
                let sessions = some.iter().filter(|(_, is_open)| *is_open == open);
                sessions.map(|(session, _)| *session).collect()
            };
            let event = Event::Sessions {
                complete: false,
                opened: sessions(true),
                closed: sessions(false),
            };
            self.unsent.whole_table |= self.events.is_full() || !self.events.try_send(&event);
        }
    }
}
