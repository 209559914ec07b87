//! The wanted forwards and the state of each.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use tokio::task::{JoinHandle, spawn_local};
use tokio::time::Instant;

use crate::context::{RelayContext, SessionTable};
use crate::protocol::{
    Event, Failure, FailureKind, Forward, Listen, Listener, Protocol, Session, SetForwards,
};
use crate::route::Route;
use crate::socket::has_no_family;
use crate::tcp;
use crate::udp::Udp;

/// Every wanted forward.
pub(crate) struct Forwards {
    pub(crate) context: Rc<RelayContext>,
    all: BTreeMap<Listen, (Rc<Route>, Result<Listening, Failure>)>,
}

/// A forward that listens.
struct Listening {
    task: JoinHandle<()>,
    /// For UDP.
    udp: Option<Rc<Udp>>,
    /// As [`Listener::ipv4_alone`].
    ipv4_alone: bool,
}

impl Forwards {
    /// No forwards yet.
    pub(crate) fn new() -> Self {
        Self {
            context: Rc::new(RelayContext::new()),
            all: BTreeMap::new(),
        }
    }

    /// Applies the command as far as the system allows, and reports the result.
    pub(crate) async fn set(&mut self, wanted: SetForwards) -> Event {
        self.context.limits.set(wanted.limits);
        // Each holds its socket.
        self.context.tables.take();
        // Close first: a port may be wanted by another forward.
        let keep = |listen: &Listen| wanted.forwards.iter().any(|new| new.listen == *listen);
        let (kept, closing) = std::mem::take(&mut self.all)
            .into_iter()
            .partition(|(listen, _)| keep(listen));
        self.all = kept;
        for (_, listening) in BTreeMap::into_values(closing) {
            if let Ok(Listening { task, udp, .. }) = listening {
                task.abort();
                if let Some(udp) = udp {
                    udp.close().await;
                }
                // The result says only that it was aborted.
                task.await.ok();
            }
        }
        for forward in &wanted.forwards {
            self.set_one(forward).await;
        }
        let wanted_listens = wanted.forwards.iter().map(|forward| forward.listen);
        let listeners = wanted_listens.filter_map(|listen| self.listener(listen));
        let listeners = listeners.collect();
        let counters = self.routes().map(|route| Rc::clone(&route.counters));
        self.context.counters.replace(counters.collect());
        let tables = self
            .udps()
            .map(|udp| Rc::clone(udp) as Rc<dyn SessionTable>);
        self.context.tables.replace(tables.collect());
        let resume = |session: &Session, port: u16| {
            let udp = self.udp(session);
            udp.is_none_or(|udp| udp.resume(*session, port))
        };
        let mut sessions = wanted.sessions;
        sessions.retain(|session| !resume(session, session.port.get()));
        // Not before: the system could give one of them the port of another.
        for session in &sessions {
            resume(session, 0);
        }
        // The idle time of sessions may have changed.
        self.expire(Instant::now());
        Event::Applied {
            serial: wanted.serial,
            listeners,
        }
    }

    /// The forwards in force.
    pub(crate) fn applied(&self, serial: u64) -> Event {
        let listeners = self.all.keys().filter_map(|listen| self.listener(*listen));
        Event::Applied {
            serial,
            listeners: listeners.collect(),
        }
    }

    fn listener(&self, listen: Listen) -> Option<Listener> {
        let (_, listening) = self.all.get(&listen)?;
        Some(Listener {
            listen,
            failure: listening.as_ref().err().copied(),
            ipv4_alone: listening.as_ref().is_ok_and(|one| one.ipv4_alone),
        })
    }

    /// Re-points a forward that listens, opens any other.
    async fn set_one(&mut self, forward: &Forward) {
        let route = match self.all.get(&forward.listen) {
            Some((route, listening)) => {
                let may_end_some = route.change(forward);
                if let Ok(Listening { udp, .. }) = listening {
                    if let Some(udp) = udp.as_ref().filter(|_| may_end_some) {
                        udp.end_unadmitted();
                    }
                    return;
                }
                Rc::clone(route)
            }
            None => Rc::new(Route::new(forward, Rc::clone(&self.context))),
        };
        let mut opened = open(&route);
        if opened.is_err() && self.vacate(forward.listen).await {
            opened = open(&route);
        }
        let listening = opened.map_err(|error| failure(&error));
        self.all.insert(forward.listen, (route, listening));
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

    fn udp(&self, session: &Session) -> Option<&Rc<Udp>> {
        let listen = Listen {
            protocol: Protocol::Udp,
            listen_address: session.listen_address,
            listen_port: session.listen_port,
        };
        let (_, listening) = self.all.get(&listen)?;
        listening.as_ref().ok()?.udp.as_ref()
    }

    fn udps(&self) -> impl Iterator<Item = &Rc<Udp>> {
        let listening = self
            .all
            .values()
            .filter_map(|(_, state)| state.as_ref().ok());
        listening.filter_map(|listening| listening.udp.as_ref())
    }

    /// Closes the UDP sessions that are due, and sets the time to call it again. That
    /// is when the next one is due, but not at once: of thousands that end one after
    /// the other, each would have all others checked. So a session lasts longer than
    /// its time by up to a hundredth of the shorter one.
    pub(crate) fn expire(&self, now: Instant) {
        let next = self.udps().filter_map(|udp| udp.expire(now)).min();
        let pause = self.context.idle(false) / 100;
        self.context
            .expiry
            .set(next.map(|next| next.max(now + pause)));
    }

    /// The whole table of UDP sessions.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        self.udps().flat_map(|udp| udp.sessions()).collect()
    }

    /// Every forward's route.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Rc<Route>> {
        self.all.values().map(|(route, _)| route)
    }
}

fn open(route: &Rc<Route>) -> io::Result<Listening> {
    let is_ipv6 = route.listen.listen_address.is_ipv6();
    Ok(match route.listen.protocol {
        Protocol::Tcp => {
            let (task, at) = tcp::listen(Rc::clone(route))?;
            Listening {
                task,
                udp: None,
                ipv4_alone: is_ipv6 && at.is_ipv4(),
            }
        }
        Protocol::Udp => {
            let udp = Udp::open(Rc::clone(route))?;
            let at = udp.address()?;
            Listening {
                task: spawn_local(Rc::clone(&udp).carry_inward()),
                udp: Some(udp),
                ipv4_alone: is_ipv6 && at.is_ipv4(),
            }
        }
    })
}

/// What kind of refusal of a port an error is.
pub(crate) fn failure(error: &io::Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::AddrInUse => FailureKind::InUse,
        ErrorKind::PermissionDenied => FailureKind::Forbidden,
        ErrorKind::AddrNotAvailable => FailureKind::NoAddress,
        _ if has_no_family(error) => FailureKind::NoAddress,
        _ => FailureKind::Other,
    };
    Failure {
        kind,
        code: error.raw_os_error().unwrap_or_default(),
    }
}
