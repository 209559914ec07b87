//! What the frames of the link mean, without I/O: packets are the engine's, and control
//! messages are answered before packets that wait.

use std::time::Instant;

use super::engine::{Engine, Network};
use super::outgoing::Outgoing;
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

/// A link with its engine.
pub(crate) struct Session<N: Network> {
    pub(crate) engine: Engine<N>,
    pub(crate) outgoing: Outgoing,
    ipv6: bool,
    greeted: bool,
}

impl<N: Network> Session<N> {
    /// `ipv6` is what the guest is told.
    pub(crate) fn new(engine: Engine<N>, ipv6: bool) -> Self {
        Self {
            engine,
            outgoing: Outgoing::default(),
            ipv6,
            greeted: false,
        }
    }

    /// Takes whole frames.
    ///
    /// # Errors
    ///
    /// Why the link ends.
    pub(crate) fn chunk(&mut self, chunk: &[u8], now: Instant) -> Result<(), End> {
        let mut at = 0;
        for frame in link::split(chunk) {
            let start = at + PREFIX;
            match frame {
                Frame::Packet(body) => {
                    at = start + body.len();
                    self.engine.packet(chunk, start..at, now);
                }
                Frame::Control(body) => {
                    at = start + body.len();
                    self.control(body)?;
                }
            }
        }
        self.engine.flush(chunk, now);
        Ok(())
    }

    fn control(&mut self, body: &[u8]) -> Result<(), End> {
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
        };
        self.outgoing.put_control(&answer);
        Ok(())
    }

    /// What to write now; it is empty if there is nothing.
    pub(crate) fn outgoing(&mut self) -> &mut Outgoing {
        self.outgoing.refill(self.engine.output());
        &mut self.outgoing
    }
}

#[cfg(test)]
mod tests;
