//! The program: started with a pipe on each side, ended with the first of them.

use std::convert::Infallible;
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::board::Board;
use super::forward::Forwards;
use super::orders::{self, Input};
use super::os;
use super::outbox::{self, Outbox};
use super::protocol::{EXIT_ELEVATED, Event, Order, Session, VERSION};

const HELP: &str = "\
Usage: wslmesh-relay [--help | --version]

Forwards TCP and UDP ports to a WSL guest. Started by the wslmesh agent: orders
are lines of JSON on standard input, events are lines of JSON on standard
output, and it ends when standard input ends. See docs/relay.md.
";

/// Exit code of a command line that is not understood.
const EXIT_USAGE: u8 = 2;

/// Sessions in one event, so that a line stays below the longest one.
const SESSIONS_IN_A_LINE: usize = 4096;

/// How long the last events may take when standard input has ended.
const FAREWELL: Duration = Duration::from_millis(20);

/// How long the word of a refusal to run may take.
const REFUSAL: Duration = Duration::from_secs(2);

/// Runs the program with those arguments.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    match arguments.as_slice() {
        [] => {
            let Err(error) = relay();
            outbox::complain(&format!("wslmesh-relay: cannot start: {error}\n"));
            ExitCode::FAILURE
        }
        [one] if one == "--help" || one == "-h" => {
            outbox::say(HELP);
            ExitCode::SUCCESS
        }
        [one] if one == "--version" || one == "-V" => {
            outbox::say(concat!("wslmesh-relay ", env!("CARGO_PKG_VERSION"), "\n"));
            ExitCode::SUCCESS
        }
        _ => {
            outbox::complain(HELP);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Relays until standard input has ended, and ends the process then.
///
/// # Errors
///
/// Why it could not start.
fn relay() -> io::Result<Infallible> {
    let outbox = Outbox::start()?;
    if os::elevated()? {
        outbox.offer(&Event::Elevated);
        outbox.settle(REFUSAL);
        leave(EXIT_ELEVATED);
    }
    os::raise_limits();
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        outbox.offer(&Event::Ready {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let orders = orders::listen(io::stdin())?;
        Office::new(&outbox).work(orders).await;
        outbox.settle(FAREWELL);
        leave(0)
    })
}

/// Not by a return: a thread may be stuck in a read, and the system closes
/// thousands of sockets sooner than the runtime lets go of each.
fn leave(code: u8) -> ! {
    std::process::exit(i32::from(code))
}

/// Follows orders and tells events.
struct Office<'a> {
    outbox: &'a Outbox,
    board: Rc<Board>,
    forwards: Forwards,
    owed: Owed,
    /// When the quietest session ends.
    expiry: Option<Instant>,
}

/// What could not be told when it happened. Only the latest of each kind
/// matters, so it takes no more memory however long nobody reads.
#[derive(Default)]
struct Owed {
    whole_table: bool,
    applied: Option<Event>,
    invalid: Option<Event>,
    counters: bool,
}

impl<'a> Office<'a> {
    fn new(outbox: &'a Outbox) -> Self {
        let board = Rc::new(Board::new());
        Self {
            outbox,
            forwards: Forwards::new(Rc::clone(&board)),
            board,
            owed: Owed::default(),
            expiry: None,
        }
    }

    /// Until standard input ends.
    async fn work(mut self, mut orders: mpsc::Receiver<Input>) {
        let mut due = None;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(input) => self.follow(input).await,
                    None => return,
                },
                () = self.board.news() => {}
                () = self.outbox.room() => {}
                () = at(due) => {}
            }
            due = self.tell(Instant::now());
        }
    }

    async fn follow(&mut self, input: Input) {
        match input {
            Input::Order(Order::Want(want)) => {
                let applied = self.forwards.want(want, Instant::now()).await;
                self.owed.applied = Some(applied);
                // Its time for a session may be another one.
                self.expiry = Some(Instant::now());
            }
            Input::Order(Order::Report) => self.owed.counters = true,
            Input::Invalid { line, reason } => {
                self.owed.invalid = Some(Event::Invalid { line, reason });
            }
        }
    }

    /// Ends what is due and tells what can be told. When it wants to be called
    /// again, if nothing happens before.
    fn tell(&mut self, now: Instant) -> Option<Instant> {
        if self.expiry.is_some_and(|expiry| expiry <= now) {
            self.expiry = self.forwards.expire(now);
        }
        self.tell_sessions();
        // After the sessions, so that with it the agent's table is whole.
        self.owed.applied.take_if(|event| self.outbox.offer(event));
        self.owed.invalid.take_if(|event| self.outbox.offer(event));
        if self.owed.counters {
            let forwards = self.forwards.counters();
            self.owed.counters = !self.outbox.offer(&Event::Counters { forwards });
        }
        let refusals = self.tell_refusals(now);
        [self.expiry, refusals].into_iter().flatten().min()
    }

    fn tell_sessions(&mut self) {
        let unsaid = self.board.take_unsaid();
        if !unsaid.opened.is_empty() && self.expiry.is_none() {
            self.expiry = self.forwards.expire(Instant::now());
        }
        if self.outbox.is_full() {
            self.owed.whole_table |= !unsaid.opened.is_empty() || !unsaid.closed.is_empty();
        } else if self.owed.whole_table {
            self.owed.whole_table = !self.outbox.offer(&Event::Sessions {
                complete: true,
                opened: self.forwards.sessions(),
                closed: Vec::new(),
            });
        } else {
            let mut opened = unsaid.opened.chunks(SESSIONS_IN_A_LINE);
            let mut closed = unsaid.closed.chunks(SESSIONS_IN_A_LINE);
            let list = |sessions: Option<&[Session]>| sessions.unwrap_or_default().to_vec();
            loop {
                let (opened, closed) = (opened.next(), closed.next());
                if opened.is_none() && closed.is_none() {
                    break;
                }
                self.owed.whole_table |= !self.outbox.offer(&Event::Sessions {
                    complete: false,
                    opened: list(opened),
                    closed: list(closed),
                });
            }
        }
    }

    /// When the next one is due.
    fn tell_refusals(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for tally in self.forwards.tallies() {
            let Some(due) = tally.refusal_due(now) else {
                continue;
            };
            if due > now {
                next = Some(next.map_or(due, |next: Instant| next.min(due)));
            } else if self.outbox.offer(&tally.refusal()) {
                tally.refusal_told(now);
            }
        }
        next
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
