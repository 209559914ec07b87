//! What the frames of the link mean, without I/O: packets are the engine's, and control
//! messages are answered before packets that wait.

use std::time::Instant;

use super::engine::{Engine, Network};
use super::outgoing::Outgoing;
use crate::link::second::{Place, Token};
use crate::link::{self, Frame, FromSwitch, LinkError, PREFIX, ToSwitch, VERSION};

/// Why the switch ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The other end has closed the link.
    Closed,
    /// The other end speaks this version.
    Version(u32),
    /// What came is no frame or no message.
    Invalid(LinkError),
    /// The first message was no hello.
    NoHello,
}

/// Where frames come from and go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Standard input and output: messages, and packets until these have moved.
    Standard,
    /// A connection to the guest, which has packets alone.
    Second,
}

/// How far the second way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    No,
    /// It is being connected.
    Begun,
    /// The guest may move.
    Ready,
    /// Packets are there, in both directions.
    Moved,
}

/// What is to be done for the second way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Connect there, and call [`Session::connected`].
    Connect(Place, Token),
    /// Read from the connection and write to it.
    Take,
    /// Close it.
    Close,
}

/// A link with its engine.
pub(crate) struct Session<N: Network> {
    pub(crate) engine: Engine<N>,
    outgoing: Outgoing,
    /// Packets for the second way.
    packets: Outgoing,
    second: Second,
    step: Option<Step>,
    ipv6: bool,
    greeted: bool,
}

impl<N: Network> Session<N> {
    /// `ipv6` goes into the hello to the guest.
    pub(crate) fn new(engine: Engine<N>, ipv6: bool) -> Self {
        Self {
            engine,
            outgoing: Outgoing::default(),
            packets: Outgoing::default(),
            second: Second::No,
            step: None,
            ipv6,
            greeted: false,
        }
    }

    /// Takes whole frames that came by that way.
    ///
    /// # Errors
    ///
    /// Why the link ends.
    pub(crate) fn chunk(&mut self, chunk: &[u8], way: Way, now: Instant) -> Result<(), End> {
        let mut at = 0;
        for frame in link::split(chunk) {
            let start = at + PREFIX;
            match (frame, way) {
                (Frame::Packet(_), Way::Standard) if self.second == Second::Moved => {
                    return Err(misplaced("a packet behind the end of packets"));
                }
                (Frame::Packet(body), _) => {
                    at = start + body.len();
                    self.engine.packet(chunk, start..at, now);
                }
                (Frame::Control(body), Way::Standard) => {
                    at = start + body.len();
                    self.control(body, now)?;
                }
                (Frame::Control(_), Way::Second) => {
                    return Err(misplaced("a control message among packets alone"));
                }
            }
        }
        self.engine.flush(chunk, now);
        Ok(())
    }

    fn control(&mut self, body: &[u8], now: Instant) -> Result<(), End> {
        let answer = match link::message(body).map_err(End::Invalid)? {
            ToSwitch::Hello { version, .. } if version != VERSION => {
                let why = format!("the switch speaks version {VERSION} of the link, not {version}");
                self.outgoing.put_control(&FromSwitch::Refused { why });
                return Err(End::Version(version));
            }
            ToSwitch::Hello { nameservers, .. } => {
                self.greeted = true;
                self.engine.set_nameservers(nameservers);
                FromSwitch::Hello {
                    version: VERSION,
                    program: env!("CARGO_PKG_VERSION").to_owned(),
                    ipv6: self.ipv6,
                }
            }
            _ if !self.greeted => return Err(End::NoHello),
            ToSwitch::Ping { id } => FromSwitch::Pong { id },
            ToSwitch::GetCounters => FromSwitch::Counters(self.engine.counters()),
            ToSwitch::SetForwards {
                generation,
                forwards,
            } => {
                if forwards.len() > link::MAX_FORWARDS {
                    return Err(misplaced("too many forwards"));
                }
                self.engine.set_forwards(generation, forwards, now);
                return Ok(());
            }
            message @ (ToSwitch::Move { .. } | ToSwitch::Moved | ToSwitch::Stay) => {
                return self.go_on(message);
            }
        };
        self.outgoing.put_control(&answer);
        Ok(())
    }

    /// Takes a message on the second way.
    fn go_on(&mut self, message: ToSwitch) -> Result<(), End> {
        let (second, step) = match (message, self.second) {
            (ToSwitch::Move { to, token }, Second::No) => (Second::Begun, Step::Connect(to, token)),
            (ToSwitch::Moved, Second::Ready) => {
                let waiting = self.engine.output();
                self.outgoing.put_last(waiting, &FromSwitch::Moved);
                (Second::Moved, Step::Take)
            }
            (ToSwitch::Stay, Second::Begun | Second::Ready) => (Second::No, Step::Close),
            // The connection had failed.
            (ToSwitch::Stay, Second::No) => return Ok(()),
            _ => return Err(misplaced("a message on a move out of turn")),
        };
        self.second = second;
        self.step = Some(step);
        Ok(())
    }

    /// What is to be done for the second way.
    pub(crate) fn step(&mut self) -> Option<Step> {
        self.step.take()
    }

    /// What came of [`Step::Connect`], unless the guest gave it up.
    pub(crate) fn connected(&mut self, result: Result<(), String>) {
        if self.second != Second::Begun {
            return;
        }
        self.second = match result {
            Ok(()) => Second::Ready,
            Err(why) => {
                self.outgoing.put_control(&FromSwitch::Stays { why });
                Second::No
            }
        };
    }

    /// What to write there now; it is empty if there is nothing.
    pub(crate) fn outgoing(&mut self, way: Way) -> &mut Outgoing {
        if way == Way::Standard
            && let Some(applied) = self.engine.applied()
        {
            self.outgoing.put_control(&applied);
        }
        let outgoing = match way {
            Way::Standard => &mut self.outgoing,
            Way::Second => &mut self.packets,
        };
        let has_packets = (way == Way::Second) == (self.second == Second::Moved);
        if has_packets {
            outgoing.refill(self.engine.output());
        } else {
            outgoing.refill(&mut Vec::new());
        }
        outgoing
    }
}

fn misplaced(what: &'static str) -> End {
    End::Invalid(LinkError::Misplaced(what))
}

#[cfg(test)]
mod tests;
