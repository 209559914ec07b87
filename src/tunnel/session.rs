//! One switch, from its hello to its end.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tokio::select;
use wslmesh_relay::link::{FromSwitch, LinkError, ToSwitch};

use super::{
    TunnelError,
    beat::{Beat, Due, Traffic},
    device::Device,
    forwards::Forwards,
    moving::{Moving, Turn},
    publish::{Publisher, Up},
    pump::{Fault, Messages, Pump},
    second::Plan,
    servers::Servers,
    start::{self, Greeting, Streams, Switch, Way, system},
    ways::Ways,
};
use crate::{backoff::until, model::TunnelWay, netlink::Watch};

/// Between a change of the network and the look at it, which more changes may follow.
const SETTLE: Duration = Duration::from_millis(100);
/// How old the counters may get while packets pass.
const COUNTERS: Duration = Duration::from_secs(5);
/// How long a switch may owe an answer (beat.rs).
const DEAD: Duration = Duration::from_millis(1500);

/// A switch that said hello.
#[derive(Debug)]
pub(super) struct Session {
    switch: Switch,
    /// Until they are the pump's.
    streams: Option<Streams>,
    pump: Option<Pump>,
    greeting: Greeting,
    /// How far packets are on their way to the second way.
    moving: Moving,
    beat: Beat,
    /// The number of the last question.
    id: u64,
    /// What had been sent and received when it was last asked.
    seen: Traffic,
    /// The same when it was last asked for its counters, and when that was.
    counted: Option<(Traffic, Instant)>,
}

/// Why a session ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) error: TunnelError,
    /// Whether the device cannot be used any more.
    pub(super) device_lost: bool,
}

impl From<TunnelError> for Ended {
    fn from(error: TunnelError) -> Self {
        let device_lost = matches!(
            error,
            TunnelError::Fault(Fault::Device(_)) | TunnelError::Netlink(_)
        );
        Self { error, device_lost }
    }
}

impl Session {
    /// Starts a switch and waits for its hello. Blocks.
    pub(super) fn start(way: &Way, nameservers: Vec<IpAddr>) -> Result<Self, TunnelError> {
        let (switch, mut streams) = start::start(way)?;
        match start::greet(&mut streams, nameservers) {
            Err(error) => Err(switch.why(error)),
            Ok(greeting) => Ok(Self {
                switch,
                streams: Some(streams),
                pump: None,
                greeting,
                moving: Moving::default(),
                beat: Beat::default(),
                id: 0,
                seen: Traffic::default(),
                counted: None,
            }),
        }
    }

    /// Ends it, and says why it ended by itself where it did. Blocks.
    pub(super) fn end(self, error: TunnelError) -> TunnelError {
        let Self { switch, pump, .. } = self;
        let why = switch.why(error);
        // The pipes break, by which the threads end.
        drop(switch);
        if let Some(pump) = pump {
            pump.join();
        }
        why
    }

    /// Lets packets pass until something fails.
    pub(super) async fn serve(
        &mut self,
        device: &Device,
        ways: &mut Ways,
        plan: &mut Plan,
        publisher: &mut Publisher,
        forwards: &Forwards,
    ) -> Ended {
        self.moving = Moving::begin(plan.clone());
        match self.passes(device, ways, publisher, forwards).await {
            Err(error) => {
                if let Some(why) = self.moving.blamed(&error) {
                    *plan = Plan::Stay(why);
                }
                error.into()
            }
            Ok(never) => match never {},
        }
    }

    async fn passes(
        &mut self,
        device: &Device,
        ways: &mut Ways,
        publisher: &mut Publisher,
        forwards: &Forwards,
    ) -> Result<std::convert::Infallible, TunnelError> {
        let Streams { from, to, frames } = self
            .streams
            .take()
            .ok_or(TunnelError::Fault(Fault::Closed))?;
        let pump = Pump::start(&device.file, from, to, frames);
        let (mut pump, mut messages) = pump.map_err(system("start the tunnel's threads"))?;
        let result = self.watch(&mut pump, &mut messages, device, ways, publisher, forwards);
        let result = result.await;
        self.pump = Some(pump);
        result
    }

    async fn watch(
        &mut self,
        pump: &mut Pump,
        messages: &mut Messages,
        device: &Device,
        ways: &mut Ways,
        publisher: &mut Publisher,
        forwards: &Forwards,
    ) -> Result<std::convert::Infallible, TunnelError> {
        // Before the look, so that no change after it is lost.
        let mut network = Watch::subscribe()?;
        let mut servers = super::servers(device.index).await?;
        ways.sync(&servers, self.greeting.ipv6).await?;
        publisher.up(self.up(&servers, ways));
        publisher.way(TunnelWay::StandardStreams, None);
        let mut look: Option<Instant> = None;
        let mut orders = forwards.orders();
        loop {
            let idle = self.beat == Beat::Idle;
            select! {
                message = messages.next() => self.handle(message?, pump, publisher, forwards)?,
                (generation, forwards) = orders.next(ways.has_ipv6()) => {
                    pump.send(&ToSwitch::SetForwards { generation, forwards });
                    // It has to answer this as well.
                    self.ask(pump);
                }
                turn = self.moving.turn() => self.turn(turn, pump, publisher)?,
                () = pump.sent_after(self.seen), if idle => self.ask(pump),
                () = until(self.beat.due()) => {
                    match self.beat.expire(Instant::now(), pump.traffic()) {
                        Due::Nothing => {}
                        Due::Ask => self.ask(pump),
                        Due::Quiet => self.count(pump),
                        Due::Dead => return Err(TunnelError::Hung(DEAD)),
                    }
                }
                changed = network.changed(), if look.is_none() => {
                    changed.map_err(system("watch the network"))?;
                    look = Some(Instant::now() + SETTLE);
                }
                () = until(look) => {
                    look = None;
                    let now = super::servers(device.index).await?;
                    ways.sync(&now, self.greeting.ipv6).await?;
                    if now != servers {
                        servers = now;
                        publisher.up(self.up(&servers, ways));
                    }
                }
            }
        }
    }

    fn up(&self, servers: &Servers, ways: &Ways) -> Up {
        Up {
            program: self.greeting.program.clone(),
            ipv6: self.greeting.ipv6,
            link_ipv6: ways.has_ipv6(),
            servers: servers.clone(),
        }
    }

    /// Asks for a sign of life, and for the counters where those known are old.
    fn ask(&mut self, pump: &Pump) {
        let (now, traffic) = (Instant::now(), pump.traffic());
        self.id += 1;
        pump.send(&ToSwitch::Ping { id: self.id });
        let old = |(_, at): (Traffic, Instant)| now.duration_since(at) >= COUNTERS;
        if self.counted.is_none_or(old) {
            pump.send(&ToSwitch::GetCounters);
            self.counted = Some((traffic, now));
        }
        self.seen = traffic;
        self.beat.asked(now, traffic);
    }

    /// The last count before it is quiet, where there was none since the last packet.
    fn count(&mut self, pump: &Pump) {
        let last = |(then, _): (Traffic, Instant)| then.sent == self.seen.sent;
        if !self.counted.is_some_and(last) {
            self.counted = None;
            self.ask(pump);
        }
    }

    /// The move goes on.
    fn turn(
        &mut self,
        turn: Turn,
        pump: &mut Pump,
        publisher: &mut Publisher,
    ) -> Result<(), TunnelError> {
        match turn {
            Turn::Ask(message) => pump.send(&message),
            Turn::Leave(second) => {
                let left = pump.leave(second);
                left.map_err(system("use the second way"))?;
            }
            Turn::Stay(why, message) => {
                if let Some(message) = message {
                    pump.send(&message);
                }
                publisher.way(TunnelWay::StandardStreams, Some(why));
            }
        }
        Ok(())
    }

    fn handle(
        &mut self,
        message: FromSwitch,
        pump: &mut Pump,
        publisher: &mut Publisher,
        forwards: &Forwards,
    ) -> Result<(), TunnelError> {
        match message {
            FromSwitch::Pong { id } if id == self.id => {
                self.beat.answered();
            }
            FromSwitch::Moved => {
                let way = self
                    .moving
                    .arrived()
                    .ok_or(Fault::Link(LinkError::Misplaced(
                        "a move that was not asked for",
                    )))?;
                pump.arrive().map_err(system("use the second way"))?;
                publisher.way(way, None);
            }
            FromSwitch::Stays { why } => {
                if let Some(turn) = self.moving.refused(&why) {
                    self.turn(turn, pump, publisher)?;
                }
            }
            FromSwitch::Counters(counters) => {
                forwards.counted(counters);
                publisher.counted(counters);
            }
            FromSwitch::Applied {
                generation,
                listeners,
            } => forwards.answered(generation, listeners),
            FromSwitch::Refused { why } => {
                return Err(TunnelError::Refused(crate::model::plain(&why)));
            }
            // Of a question that was given up, or of a later version.
            _ => {}
        }
        Ok(())
    }
}
