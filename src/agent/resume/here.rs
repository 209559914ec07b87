//! A recovery's steps on this machine.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::IpAddr,
    path::Path,
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    time::Instant,
};

use super::{
    Ending, Order,
    steps::{Check, World, recover},
    tunnels::Tunnels,
    view::{View, named},
};
use crate::{
    agent::endpoints::{Endpoints, Reading, Search},
    blocking::{SingleFlight, run_blocking},
    model::{EndpointNames, ForwardState, Mode, RecoveryStep, Resume, ResumeSign, span},
    netlink::Netlink,
    observe::{self, DNS_DEADLINE, Devices, Ptp},
};

/// Longest wait for Hyper-V's clock.
const CLOCK_DEADLINE: Duration = Duration::from_secs(1);

/// The clock is right where it differs from Windows' by less, in milliseconds.
const RIGHT_MS: u64 = 1_000;

/// What a recovery is about, and its ways to the loop.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) resume: Resume,
    /// The last view before the sleep, or the last one of a connected node.
    pub(super) before: View,
    pub(super) steps: Vec<RecoveryStep>,
    pub(super) view: watch::Receiver<View>,
    pub(super) orders: UnboundedSender<Order>,
    /// Whether Windows is being asked already.
    pub(super) asked: bool,
}

/// Calls that may hang, one at a time over all recoveries.
#[derive(Debug, Default)]
pub(super) struct Calls {
    clock: SingleFlight,
    devices: Devices,
    endpoints: Endpoints,
}

impl Calls {
    /// Looks names up by these.
    pub(super) fn new(endpoints: Endpoints) -> Self {
        Self {
            endpoints,
            ..Self::default()
        }
    }

    /// Goes through a recovery's steps on this machine.
    pub(super) fn recover(&self, task: Task) -> Ending {
        let ended = task.view.borrow().windows.ended;
        let here = Here {
            resume: task.resume,
            before: task.before,
            begun: Instant::now(),
            view: task.view,
            orders: task.orders,
            netlink: Netlink::connect().ok(),
            clock: self.clock.clone(),
            devices: self.devices.clone(),
            endpoints: self.endpoints.clone(),
            names: RefCell::default(),
            tunnels: RefCell::default(),
            asked: Cell::new(task.asked.then_some(ended)),
        };
        Box::pin(async move { recover(&here, &task.steps).await })
    }
}

/// This machine.
#[derive(Debug)]
struct Here {
    resume: Resume,
    before: View,
    begun: Instant,
    view: watch::Receiver<View>,
    orders: UnboundedSender<Order>,
    netlink: Option<Netlink>,
    clock: SingleFlight,
    devices: Devices,
    endpoints: Endpoints,
    /// `None` until they are read.
    names: RefCell<Option<Rc<EndpointNames>>>,
    tunnels: RefCell<Tunnels>,
    /// How many calls to Windows had ended when it was asked last.
    asked: Cell<Option<u64>>,
}

impl World for Here {
    async fn check(&self, step: RecoveryStep) -> Check {
        match step {
            RecoveryStep::Time => self.time().await,
            RecoveryStep::Link => self.link(),
            RecoveryStep::Route => self.route().await,
            RecoveryStep::Dns => self.dns().await,
            RecoveryStep::Wireguard => self.wireguard().await,
            RecoveryStep::Interop => self.interop().await,
            RecoveryStep::Forwards => self.forwards(),
        }
    }

    async fn repair(&self, step: RecoveryStep) {
        match step {
            // Whoever disciplines the clock sets it: Hyper-V's driver, or a daemon.
            RecoveryStep::Time => {}
            // What keeps name resolution looks again too.
            RecoveryStep::Link | RecoveryStep::Route | RecoveryStep::Dns => {
                self.order(Order::Retry);
            }
            RecoveryStep::Wireguard => {
                let devices = self.read_devices().await;
                self.follow_names(&devices).await;
                self.tunnels.borrow_mut().provoke(&devices);
            }
            RecoveryStep::Interop => self.ask_windows(),
            RecoveryStep::Forwards => {
                self.order(Order::Retry);
                if !self.view.borrow().windows.settled {
                    self.order(Order::AskWindows);
                }
            }
        }
    }

    async fn changed(&self) {
        let mut view = self.view.clone();
        view.mark_unchanged();
        if view.changed().await.is_err() {
            // The loop ends, and this with it.
            std::future::pending().await
        }
    }
}

fn well(note: impl Into<String>) -> Check {
    Check::Well {
        note: note.into(),
        is_news: false,
    }
}

impl Here {
    fn order(&self, order: Order) {
        // Without a loop there is nothing to do either.
        self.orders.send(order).unwrap_or_default();
    }

    async fn time(&self) -> Check {
        let read = || observe::drift_of(&Ptp::below(Path::new("/"))).ok();
        let drift = async { run_blocking(self.clock.begin()?, CLOCK_DEADLINE, read).await };
        let drift = drift.await.ok().flatten();
        let was_set = self.resume.sign == ResumeSign::Clock;
        match drift {
            Some(ms) if ms.unsigned_abs() >= RIGHT_MS => {
                let by = span(ms.unsigned_abs() / 1_000);
                let way = if ms < 0 { "behind" } else { "ahead of" };
                Check::Broken(format!("the clock is {by} {way} Windows'"))
            }
            None if !was_set => Check::Skip,
            _ => Check::Well {
                note: match was_set {
                    true => {
                        let by = span(self.resume.away.as_secs());
                        format!("the clock was {by} behind and is right")
                    }
                    false => "the clock is right again".to_owned(),
                },
                is_news: was_set,
            },
        }
    }

    fn link(&self) -> Check {
        let view = self.view.borrow();
        if view.scene.mode == Some(Mode::None) || !self.before.is_connected() {
            return Check::Skip;
        }
        match &view.scene.place {
            None => Check::Broken("no interface has an address and a default route".to_owned()),
            Some(place) if !place.connected => {
                Check::Broken(format!("{} has no carrier", place.interface))
            }
            Some(place) => {
                let (interface, address) = (&place.interface, place.address);
                Check::Well {
                    note: format!("{interface} has its address {address} again"),
                    is_news: self.resume.sign == ResumeSign::Link,
                }
            }
        }
    }

    async fn route(&self) -> Check {
        let place = self.view.borrow().scene.place.clone();
        let mut towards = Vec::new();
        if let Some(gateway) = place.and_then(|place| place.gateway)
            // That is on the route's own link.
            && !matches!(gateway, IpAddr::V6(gateway) if gateway.is_unicast_link_local())
        {
            towards.push((gateway, 0, format!("the gateway {gateway}")));
        }
        let devices = self.read_devices().await;
        let names = self.names().await;
        towards.extend(self.tunnels.borrow().endpoints(&devices, &names));
        let Some(netlink) = &self.netlink else {
            return Check::Skip;
        };
        if towards.is_empty() {
            return Check::Skip;
        }
        for (to, mark, name) in towards {
            match netlink.link_towards(to, mark).await {
                Ok(Some(_)) => {}
                Ok(None) => return Check::Broken(format!("there is no route to {name}")),
                Err(error) => return Check::Broken(error.to_string()),
            }
        }
        well("the routes are there again")
    }

    async fn dns(&self) -> Check {
        if !self.before.scene.has_dns {
            return Check::Skip;
        }
        let answer = observe::check_dns(DNS_DEADLINE).await.answer;
        match answer.works() {
            None => Check::Skip,
            Some(false) => Check::Broken(answer.to_string()),
            Some(true) => {
                let after = self.begun.elapsed().as_secs_f64();
                well(format!("DNS answered after {after:.1} s"))
            }
        }
    }

    async fn wireguard(&self) -> Check {
        let devices = self.read_devices().await;
        let links = self.view.borrow().scene.devices.clone();
        let check = {
            let tunnels = self.tunnels.borrow();
            match tunnels.unread(&devices, links.iter().map(|link| &link.name)) {
                Some(name) => Check::Broken(format!("{name} could not be read")),
                None => tunnels.check(&devices),
            }
        };
        // Those that were silent before may have moved, too.
        if check == Check::Skip {
            self.follow_names(&devices).await;
        }
        check
    }

    async fn names(&self) -> Rc<EndpointNames> {
        if let Some(names) = &*self.names.borrow() {
            return Rc::clone(names);
        }
        let links = self.view.borrow().scene.devices.clone();
        let names = Rc::new(self.endpoints.names(&links).await.unwrap_or_default());
        *self.names.borrow_mut() = Some(Rc::clone(&names));
        names
    }

    /// Has peers that moved looked for where their names lead.
    async fn follow_names(&self, devices: &Reading) {
        let (names, links) = (self.names().await, self.view.borrow().scene.devices.clone());
        if let Some(netlink) = &self.netlink {
            let search = Search {
                links: &links,
                devices,
                names: &names,
                only: None,
                next: &BTreeSet::new(),
            };
            let found = self.endpoints.follow(netlink, search).await;
            self.tunnels.borrow_mut().note(found);
        }
    }

    async fn read_devices(&self) -> Reading {
        let names = self.view.borrow().scene.devices.clone();
        let devices = match names.is_empty() {
            true => Default::default(),
            false => self.devices.read_plain(&names).await,
        };
        self.tunnels
            .borrow_mut()
            .expect_peers(&devices, self.resume.awake_unix);
        devices
    }

    /// Asks Windows, and waits for its answer.
    async fn interop(&self) -> Check {
        let mut view = self.view.clone();
        if !view.borrow().scene.asks_windows || self.before.windows.failure.is_some() {
            return Check::Skip;
        }
        if self.asked.get().is_none() {
            self.ask_windows();
        }
        loop {
            let windows = view.borrow_and_update().windows.clone();
            if self
                .asked
                .get()
                .is_some_and(|before| windows.ended > before)
            {
                return match windows.failure {
                    Some(why) => Check::Broken(why),
                    None => well("Windows programs start again"),
                };
            }
            if view.changed().await.is_err() {
                return Check::Skip;
            }
        }
    }

    fn ask_windows(&self) {
        self.asked.set(Some(self.view.borrow().windows.ended));
        self.order(Order::AskWindows);
    }

    fn forwards(&self) -> Check {
        let (before, now) = (&self.before, &*self.view.borrow());
        // One that was just being set up too.
        let mut expected = before.forwards_in(&[ForwardState::Up, ForwardState::Pending]);
        // A forward that is configured no more is not missed.
        expected.retain(|name| now.forwards.iter().any(|one| one.name == *name));
        if expected.is_empty() {
            return Check::Skip;
        }
        let up = now.forwards_in(&[ForwardState::Up]);
        let mut down = expected.clone();
        down.retain(|name| !up.contains(name));
        if !down.is_empty() {
            return Check::Broken(format!("{} is not up", named(&down)));
        }
        let mut was_lost = false;
        for (name, now, before) in [
            ("the relay", &now.relay, &before.relay),
            ("the relay to loopback", &now.loopback, &before.loopback),
        ] {
            let is_new = now.lost > before.lost;
            if now.wanted && !now.applied {
                return Check::Broken(format!("{name} does not serve yet"));
            }
            if now.wanted && !is_new && now.alive == before.alive {
                return Check::Broken(format!("{name} does not answer"));
            }
            was_lost |= is_new;
        }
        if before.windows.settled && !now.windows.settled {
            return Check::Broken("Windows has not confirmed its rules".to_owned());
        }
        let verb = if expected.len() == 1 { "leads" } else { "lead" };
        Check::Well {
            note: format!("{} {verb} here again", named(&expected)),
            is_news: was_lost || now.windows.changed > before.windows.changed,
        }
    }
}

#[cfg(test)]
mod tests;
