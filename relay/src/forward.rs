//! The wanted forwards and what became of each.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::board::Board;
use super::protocol::{
    Counters, Event, Failure, FailureKind, Forward, Listen, Listener, Protocol, Session, Want,
};
use super::tally::Tally;
use super::tcp::Tcp;
use super::udp::Udp;

/// Every wanted forward.
pub(super) struct Forwards {
    board: Rc<Board>,
    all: BTreeMap<Listen, Wanted>,
}

struct Wanted {
    tally: Rc<Tally>,
    state: State,
}

enum State {
    Tcp(Tcp),
    Udp(Udp),
    Failed(Failure),
}

impl Forwards {
    /// None yet.
    pub(super) fn new(board: Rc<Board>) -> Self {
        Self {
            board,
            all: BTreeMap::new(),
        }
    }

    /// Makes the order true as far as the system lets it, and says how far.
    pub(super) async fn want(&mut self, want: Want, now: Instant) -> Event {
        self.board.set_limits(want.limits);
        // First what goes: its ports may be wanted for something else.
        let wanted = |listen: &Listen| want.forwards.iter().any(|new| new.listen == *listen);
        let (kept, gone) = std::mem::take(&mut self.all)
            .into_iter()
            .partition(|(listen, _)| wanted(listen));
        self.all = kept;
        for forward in BTreeMap::into_values(gone) {
            forward.state.close().await;
        }
        let mut listeners = Vec::with_capacity(want.forwards.len());
        for forward in &want.forwards {
            listeners.push(Listener {
                listen: forward.listen,
                failure: self.put(forward).await,
            });
        }
        let resumed = |session: &Session| {
            let udp = self.udp(*session);
            udp.is_none_or(|udp| udp.resume(*session, now))
        };
        let without_port: Vec<Session> = (want.sessions.iter().copied())
            .filter(|session| !resumed(session))
            .collect();
        // Not before: the system could give one of them the port of another.
        for session in without_port {
            if let Some(udp) = self.udp(session) {
                udp.replace(session, now);
            }
        }
        Event::Applied {
            serial: want.serial,
            listeners,
        }
    }

    /// One forward: re-pointed when it listens, else opened.
    async fn put(&mut self, forward: &Forward) -> Option<Failure> {
        let guest = SocketAddrV4::new(forward.connect_address, forward.connect_port.get());
        let known = self.all.get(&forward.listen);
        match known.map(|wanted| &wanted.state) {
            Some(State::Tcp(tcp)) => {
                tcp.repoint(guest);
                return None;
            }
            Some(State::Udp(udp)) => {
                udp.repoint(guest);
                return None;
            }
            Some(State::Failed(_)) | None => {}
        }
        let tally = known.map_or_else(
            || Rc::new(Tally::new(forward.listen)),
            |wanted| Rc::clone(&wanted.tally),
        );
        let mut opened = self.open(forward.listen, guest, &tally);
        if opened.is_err() && self.vacate(forward.listen).await {
            opened = self.open(forward.listen, guest, &tally);
        }
        let state = opened.unwrap_or_else(|error| State::Failed(failure(&error)));
        let failure = match &state {
            State::Failed(failure) => Some(*failure),
            State::Tcp(_) | State::Udp(_) => None,
        };
        self.all.insert(forward.listen, Wanted { tally, state });
        failure
    }

    fn open(&self, listen: Listen, guest: SocketAddrV4, tally: &Rc<Tally>) -> io::Result<State> {
        let (tally, board) = (Rc::clone(tally), Rc::clone(&self.board));
        match listen.protocol {
            Protocol::Tcp => {
                let address = SocketAddrV4::new(listen.listen_address, listen.listen_port.get());
                Tcp::open(address, guest, tally, board).map(State::Tcp)
            }
            Protocol::Udp => Udp::open(listen, guest, tally, board).map(State::Udp),
        }
    }

    /// The system may have given the port to a session of ours, since a port
    /// such as 51820 lies among those it gives. The forward comes first.
    async fn vacate(&self, listen: Listen) -> bool {
        if listen.protocol != Protocol::Udp {
            return false;
        }
        for wanted in self.all.values() {
            if let State::Udp(udp) = &wanted.state
                && udp.vacate(listen.listen_port).await
            {
                return true;
            }
        }
        false
    }

    fn udp(&self, session: Session) -> Option<&Udp> {
        let listen = Listen {
            protocol: Protocol::Udp,
            listen_address: session.listen_address,
            listen_port: session.listen_port,
        };
        match &self.all.get(&listen)?.state {
            State::Udp(udp) => Some(udp),
            State::Tcp(_) | State::Failed(_) => None,
        }
    }

    /// Ends the UDP sessions that are due, and says when to look again. That is
    /// when the next one is due, but not at once: of thousands that end one
    /// after the other, each would have all others looked at. So a session
    /// lasts up to a hundredth longer than its time.
    pub(super) fn expire(&self, now: Instant) -> Option<Instant> {
        let idle = Duration::from_secs(u64::from(self.board.limits().udp_idle_seconds));
        // A machine that is up for less than that has no session to end.
        let before = now.checked_sub(idle);
        let udps = self.all.values().filter_map(|wanted| match &wanted.state {
            State::Udp(udp) => Some(udp),
            State::Tcp(_) | State::Failed(_) => None,
        });
        let oldest = udps.filter_map(|udp| udp.expire(before)).min();
        oldest.map(|last| (last + idle).max(now + idle / 100))
    }

    /// The whole table of UDP sessions.
    pub(super) fn sessions(&self) -> Vec<Session> {
        let states = self.all.values().map(|wanted| &wanted.state);
        states
            .flat_map(|state| match state {
                State::Udp(udp) => udp.sessions(),
                State::Tcp(_) | State::Failed(_) => Vec::new(),
            })
            .collect()
    }

    /// The counters of every forward.
    pub(super) fn counters(&self) -> Vec<Counters> {
        let tallies = self.tallies();
        tallies.map(|tally| tally.counters()).collect()
    }

    /// The counts of every forward.
    pub(super) fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.all.values().map(|wanted| wanted.tally.as_ref())
    }
}

impl State {
    async fn close(self) {
        match self {
            Self::Tcp(tcp) => tcp.close().await,
            Self::Udp(udp) => udp.close().await,
            Self::Failed(_) => {}
        }
    }
}

fn failure(error: &io::Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::AddrInUse => FailureKind::InUse,
        ErrorKind::PermissionDenied => FailureKind::Forbidden,
        ErrorKind::AddrNotAvailable => FailureKind::NoAddress,
        _ => FailureKind::Other,
    };
    Failure {
        kind,
        code: error.raw_os_error().unwrap_or_default(),
    }
}
