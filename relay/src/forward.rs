//! The wanted forwards and the state of each.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::context::{RelayContext, Route};
use crate::protocol::{
    Counters, Event, Failure, FailureKind, Forward, Listen, Listener, Protocol, Session,
    SetForwards,
};
use crate::stats::ForwardStats;
use crate::tcp::Tcp;
use crate::udp::Udp;

/// Every wanted forward.
pub(crate) struct Forwards {
    context: Rc<RelayContext>,
    all: BTreeMap<Listen, (Rc<Route>, State)>,
}

enum State {
    Tcp(Tcp),
    Udp(Udp),
    Failed(Failure),
}

impl Forwards {
    /// No forwards yet.
    pub(crate) fn new(context: Rc<RelayContext>) -> Self {
        Self {
            context,
            all: BTreeMap::new(),
        }
    }

    /// Applies the command as far as the system allows, and reports the result.
    pub(crate) async fn set(&mut self, wanted: SetForwards, now: Instant) -> Event {
        self.context.limits.set(wanted.limits);
        // Close first: a port may be wanted by another forward.
        let keep = |listen: &Listen| wanted.forwards.iter().any(|new| new.listen == *listen);
        let (kept, closing) = std::mem::take(&mut self.all)
            .into_iter()
            .partition(|(listen, _)| keep(listen));
        self.all = kept;
        for (_, state) in BTreeMap::into_values(closing) {
            match state {
                State::Tcp(tcp) => tcp.close().await,
                State::Udp(udp) => udp.close().await,
                State::Failed(_) => {}
            }
        }
        let mut listeners = Vec::with_capacity(wanted.forwards.len());
        for forward in &wanted.forwards {
            listeners.push(Listener {
                listen: forward.listen,
                failure: self.set_one(forward).await,
            });
        }
        let resume = |session: &Session, port: u16| {
            let udp = self.udp(*session);
            udp.is_none_or(|udp| udp.resume(*session, port, now))
        };
        let mut sessions = wanted.sessions;
        sessions.retain(|session| !resume(session, session.port.get()));
        // Not before: the system could give one of them the port of another.
        for session in &sessions {
            resume(session, 0);
        }
        Event::Applied {
            serial: wanted.serial,
            listeners,
        }
    }

    /// Re-points a forward that listens, opens any other.
    async fn set_one(&mut self, forward: &Forward) -> Option<Failure> {
        let guest = SocketAddrV4::new(forward.connect_address, forward.connect_port.get());
        let route = match self.all.get(&forward.listen) {
            Some((route, state)) => {
                let old = route.guest.replace(guest);
                match state {
                    State::Tcp(tcp) if old.ip() != guest.ip() => {
                        tcp.reset_connections();
                        return None;
                    }
                    State::Tcp(_) | State::Udp(_) => return None,
                    State::Failed(_) => Rc::clone(route),
                }
            }
            None => Rc::new(Route::new(forward.listen, guest, Rc::clone(&self.context))),
        };
        let mut opened = open(&route);
        if opened.is_err() && self.vacate(forward.listen).await {
            opened = open(&route);
        }
        let state = opened.unwrap_or_else(|error| State::Failed(failure(&error)));
        let failure = match &state {
            State::Failed(failure) => Some(*failure),
            State::Tcp(_) | State::Udp(_) => None,
        };
        self.all.insert(forward.listen, (route, state));
        failure
    }

    /// Closes a session of ours that has the UDP port. The system may have given
    /// it one such as 51820; the forward takes precedence.
    async fn vacate(&self, listen: Listen) -> bool {
        if listen.protocol == Protocol::Udp {
            for udp in self.udps() {
                if udp.vacate(listen.listen_port).await {
                    return true;
                }
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
        match self.all.get(&listen)? {
            (_, State::Udp(udp)) => Some(udp),
            _ => None,
        }
    }

    fn udps(&self) -> impl Iterator<Item = &Udp> {
        self.all.values().filter_map(|(_, state)| match state {
            State::Udp(udp) => Some(udp),
            State::Tcp(_) | State::Failed(_) => None,
        })
    }

    /// Closes the UDP sessions that are due, and returns when to call it again.
    /// That is when the next one is due, but not at once: of thousands that end
    /// one after the other, each would have all others checked. So a session
    /// lasts up to a hundredth longer than its time.
    pub(crate) fn expire(&self, now: Instant) -> Option<Instant> {
        let idle = self.context.limits.get().udp_idle_seconds;
        let idle = Duration::from_secs(u64::from(idle));
        // A machine with a shorter uptime has no session to close.
        let before = now.checked_sub(idle);
        let oldest = self.udps().filter_map(|udp| udp.expire(before)).min();
        oldest.map(|last| (last + idle).max(now + idle / 100))
    }

    /// The whole table of UDP sessions.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        self.udps().flat_map(Udp::sessions).collect()
    }

    /// The counters of every forward.
    pub(crate) fn counters(&self) -> Vec<Counters> {
        self.stats().map(ForwardStats::counters).collect()
    }

    /// The statistics of every forward.
    pub(crate) fn stats(&self) -> impl Iterator<Item = &ForwardStats> {
        self.all.values().map(|(route, _)| &route.stats)
    }
}

fn open(route: &Rc<Route>) -> io::Result<State> {
    match route.listen.protocol {
        Protocol::Tcp => Tcp::open(Rc::clone(route)).map(State::Tcp),
        Protocol::Udp => Udp::open(Rc::clone(route)).map(State::Udp),
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
