//! The program: started with a pipe on each side, ended with the first of them.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{ExitCode, exit};
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::commands::{self, Input};
use crate::context::RelayContext;
use crate::events::EventWriter;
use crate::forward::Forwards;
use crate::os;
use crate::protocol::{Command, EXIT_ELEVATED, Event, Session, VERSION};

const HELP: &str = "\
Usage: wslmesh-relay [--help | --version]

Forwards TCP and UDP ports to a WSL guest. Started by the wslmesh agent: it reads
commands as lines of JSON from standard input, writes events as lines of JSON to
standard output, and exits when standard input ends. See docs/relay.md.
";

/// Exit code of an invalid command line.
const EXIT_USAGE: u8 = 2;

/// Most sessions in each list of an event, so that a line stays below the longest.
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
        events.try_send(&Event::Ready {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let commands = commands::listen(io::stdin())?;
        Server::new(&events).run(commands).await;
        events.flush(FLUSH_TIMEOUT).await;
        // Without returning: a thread may be stuck in a read, and the system
        // closes thousands of sockets sooner than the runtime drops them.
        exit(0)
    })
}

/// Carries out commands and sends events.
struct Server<'a> {
    events: &'a EventWriter,
    context: Rc<RelayContext>,
    forwards: Forwards,
    unsent: Unsent,
    /// When the session that is idle for the longest time ends.
    expiry: Option<Instant>,
}

/// Events that are due. Only the latest of each kind matters, so they take
/// bounded memory while the agent does not read.
#[derive(Default)]
struct Unsent {
    whole_table: bool,
    applied: Option<Event>,
    invalid: Option<Event>,
    counters: bool,
}

impl<'a> Server<'a> {
    fn new(events: &'a EventWriter) -> Self {
        let context = Rc::new(RelayContext::new());
        Self {
            events,
            forwards: Forwards::new(Rc::clone(&context)),
            context,
            unsent: Unsent::default(),
            expiry: None,
        }
    }

    /// Runs until standard input ends.
    async fn run(mut self, mut commands: mpsc::Receiver<Input>) {
        let mut due = None;
        loop {
            tokio::select! {
                input = commands.recv() => match input {
                    Some(input) => self.handle(input).await,
                    None => return,
                },
                () = self.context.changed() => {}
                () = self.events.writable(), if self.events.is_full() => {}
                Some(()) = async { Some(sleep_until(due?).await) } => {}
            }
            due = self.send_events(Instant::now());
        }
    }

    async fn handle(&mut self, input: Input) {
        match input {
            Input::Command(Command::SetForwards(wanted)) => {
                let applied = self.forwards.set(wanted, Instant::now()).await;
                self.unsent.applied = Some(applied);
                // The idle time of sessions may have changed.
                self.expiry = Some(Instant::now());
            }
            Input::Command(Command::GetCounters) => self.unsent.counters = true,
            Input::Invalid { line, reason } => {
                self.unsent.invalid = Some(Event::Invalid { line, reason });
            }
        }
    }

    /// Closes idle sessions and sends what is due and fits. Returns when to call
    /// it again if nothing happens before.
    fn send_events(&mut self, now: Instant) -> Option<Instant> {
        if self.expiry.is_some_and(|expiry| expiry <= now) {
            self.expiry = self.forwards.expire(now);
        }
        self.send_sessions(now);
        // After the sessions, so that the agent's table is complete by then.
        let unsent = &mut self.unsent;
        unsent.applied.take_if(|event| self.events.try_send(event));
        unsent.invalid.take_if(|event| self.events.try_send(event));
        if unsent.counters {
            let forwards = self.forwards.counters();
            unsent.counters = !self.events.try_send(&Event::Counters { forwards });
        }
        let refusals = self.send_refusals(now);
        [self.expiry, refusals].into_iter().flatten().min()
    }

    fn send_sessions(&mut self, now: Instant) {
        let mut pending = self.context.take_pending();
        if !pending.opened.is_empty() && self.expiry.is_none() {
            self.expiry = self.forwards.expire(now);
        }
        if self.unsent.whole_table && !self.events.is_full() {
            self.unsent.whole_table = !self.events.try_send(&Event::Sessions {
                complete: true,
                opened: self.forwards.sessions(),
                closed: Vec::new(),
            });
            return;
        }
        let take = |sessions: &mut Vec<Session>| {
            let rest = sessions.split_off(sessions.len().min(SESSIONS_PER_EVENT));
            std::mem::replace(sessions, rest)
        };
        while !pending.opened.is_empty() || !pending.closed.is_empty() {
            let event = Event::Sessions {
                complete: false,
                opened: take(&mut pending.opened),
                closed: take(&mut pending.closed),
            };
            self.unsent.whole_table |= self.events.is_full() || !self.events.try_send(&event);
        }
    }

    /// Returns when the next event about refusals is due.
    fn send_refusals(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for stats in self.forwards.stats() {
            match stats.refusal_due(now) {
                Some(due) if due > now => {
                    next = Some(next.map_or(due, |next: Instant| next.min(due)));
                }
                Some(_) if self.events.try_send(&stats.refusal()) => stats.refusal_sent(now),
                Some(_) | None => {}
            }
        }
        next
    }
}
