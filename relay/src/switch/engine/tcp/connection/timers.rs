//! Deadlines of a connection.

use std::time::{Duration, Instant};

use super::super::segment::ACK;
use super::super::sequence::Span;
use super::{Connection, Env, Owed, State};
use crate::switch::engine::Stream;

/// How long a server may take to answer. Linux gives up after 130 s, Windows after 21 s.
const CONNECT: Duration = Duration::from_secs(60);
/// Timeouts in a row before a guest that does not answer is given up: after 92 s.
const TRIES: u8 = 10;
/// The same of a guest that does not complete the connection that it asked for: 16 s.
const SYN_TRIES: u8 = 5;
/// A silent guest is asked whether it is there after that time, and after a shorter one if
/// it has ended its side: then it may have forgotten the connection (Linux does after 60 s).
const KEEPALIVE: Duration = Duration::from_secs(1800);
const KEEPALIVE_ENDED: Duration = Duration::from_secs(120);
/// Between questions, and how many.
const PROBE: Duration = Duration::from_secs(30);
const PROBES: u8 = 4;
/// Empty buffers are kept so long after the last use.
const TRIM: Duration = Duration::from_secs(1);

impl<S: Stream> Connection<S> {
    /// When [`Connection::expire`] has something to do.
    pub(in super::super) fn deadline(&self) -> Instant {
        if self.state == State::Connecting {
            return self.opened + CONNECT;
        }
        let mut deadline = self.keepalive();
        if let Some(retransmit) = self.retransmit {
            deadline = deadline.min(retransmit);
        }
        if self.can_trim() {
            deadline = deadline.min(self.used + TRIM);
        }
        deadline
    }

    fn keepalive(&self) -> Instant {
        let idle = if self.received_all {
            KEEPALIVE_ENDED
        } else {
            KEEPALIVE
        };
        // After a sleep of the machine there is one at a time all the same.
        self.probed.map_or(self.heard + idle, |at| at + PROBE)
    }

    fn can_trim(&self) -> bool {
        let empty = |ring: &super::Ring| ring.is_empty() && ring.capacity() > 0;
        empty(&self.rx) || empty(&self.tx)
    }

    /// Does what is due. Whether the connection goes on.
    pub(in super::super) fn expire(&mut self, env: &mut Env<'_>) -> bool {
        let now = env.now;
        if self.state == State::Connecting {
            return now < self.opened + CONNECT;
        }
        if self.can_trim() && self.used + TRIM <= now {
            self.rx.release(env.rx);
            self.tx.release(env.tx);
        }
        if self.retransmit.is_some_and(|at| at <= now) && !self.retransmit(env) {
            return false;
        }
        if self.keepalive() <= now {
            if self.probes >= PROBES {
                self.reset(env);
                return false;
            }
            self.probes += 1;
            self.probed = Some(now);
            self.probe(env);
        }
        true
    }

    /// The guest has not answered in time.
    fn retransmit(&mut self, env: &mut Env<'_>) -> bool {
        let early = self.state != State::Established;
        if self.rtt.tries >= if early { SYN_TRIES } else { TRIES } {
            if self.state == State::SynSent {
                self.refused(env);
            } else {
                self.reset(env);
            }
            return false;
        }
        self.rtt.tries += 1;
        self.rtt.sent_again();
        self.retransmit = Some(env.now + self.rtt.timeout());
        if early {
            self.send_syn(env);
            return true;
        }
        if self.una != self.unsent {
            self.flight.lose_all(Span {
                start: self.una,
                end: self.unsent,
            });
            self.limit = Some(self.offer.mss.into());
        }
        if self.window == 0 {
            self.probe(env);
        } else {
            self.send(env);
        }
        true
    }

    /// Asks the guest for an ACK, with the number of a byte that it has.
    fn probe(&mut self, env: &mut Env<'_>) {
        self.put(self.una.wrapping_sub(1), ACK, &[], env);
    }

    /// The time of a delayed ACK has come.
    pub(in super::super) fn acknowledge_late(&mut self, env: &mut Env<'_>) {
        if self.owed == Owed::Delayed {
            self.send_ack(env);
        }
    }
}
