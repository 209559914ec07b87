//! The server's data, to the guest.

use std::io::{ErrorKind, Result};

use super::super::segment::{self, ACK, FIN, Header, PSH, SYN};
use super::super::sequence::{Span, advance, before, distance};
use super::{Connection, Env, LARGEST, MEMORY, Owed, State};
use crate::switch::engine::Stream;

/// Most bytes that a connection reads before it is another one's turn.
const TURN: usize = 192 * 1024;

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::switch::engine::tcp) enum Turn {
    /// Wait for an event.
    Rest,
    /// There is more to do.
    More,
    /// Both directions have ended.
    Ended,
}

impl<S: Stream> Connection<S> {
    /// The socket is ready for something.
    ///
    /// # Errors
    ///
    /// The server cannot be reached.
    pub(in super::super) fn ready(
        &mut self,
        readable: bool,
        writable: bool,
        env: &mut Env<'_>,
    ) -> Result<()> {
        self.readable |= readable;
        self.writable |= writable;
        if self.state == State::Connecting && self.socket.is_connected()? {
            self.state = State::SynReceived;
            self.opened = env.now;
            self.unsent = self.una.wrapping_add(1);
            self.rtt.sent(self.unsent, env.now);
            self.send_syn(env);
        }
        Ok(())
    }

    /// Sends our SYN, which answers the guest's where it sent one.
    pub(super) fn send_syn(&mut self, env: &mut Env<'_>) {
        let asks = self.state == State::SynSent;
        let options = segment::syn_options(&self.key, self.offer, self.scale, env.mtu);
        let header = Header {
            sequence: self.una,
            ack: self.next,
            flags: if asks { SYN } else { SYN | ACK },
            window: u16::MAX,
        };
        // Its window is never scaled.
        if segment::put(env.out, &self.key, header, &options, (&[], &[]), 1) {
            self.promised(advance(self.next, u16::MAX.into()));
        }
        self.retransmit = Some(env.now + self.rtt.timeout());
    }

    /// Reads from the server and sends to the guest.
    ///
    /// # Errors
    ///
    /// The connection to the server is lost.
    pub(in super::super) fn advance(&mut self, env: &mut Env<'_>) -> Result<Turn> {
        if self.state != State::Established {
            return Ok(Turn::Rest);
        }
        let mut count = 0;
        loop {
            let error = self.fill(&mut count, env);
            let sent = self.send(env);
            error?;
            if !sent || count >= TURN || !self.readable || self.ended {
                break;
            }
        }
        if self.fin_acked && self.finished {
            return Ok(Turn::Ended);
        }
        let more = self.readable && !self.ended && count >= TURN && self.tx.len() < LARGEST;
        let waits = env.out.is_full() && (self.owed == Owed::Now || self.has_unsent());
        Ok(if more || waits {
            Turn::More
        } else {
            Turn::Rest
        })
    }

    fn has_unsent(&self) -> bool {
        self.flight.has_lost()
            || distance(self.una, self.unsent) < self.tx.len().min(self.window)
            || self.readable && self.tx.is_empty()
            || self.ended && !self.fin_sent
    }

    /// Reads what fits.
    fn fill(&mut self, count: &mut usize, env: &mut Env<'_>) -> Result<()> {
        while self.readable && !self.ended && *count < TURN && !env.out.is_full() {
            if self.tx.is_full() {
                let first = self.tx.capacity() == 0;
                let fits = self.tx.capacity() < LARGEST && env.tx.used() < MEMORY;
                if !first && !fits {
                    break;
                }
                self.tx.grow(env.tx);
            }
            match self.socket.read(&mut self.tx.space()) {
                Ok(0) => self.ended = true,
                Ok(length) => {
                    self.tx.filled(length);
                    self.used = env.now;
                    *count += length;
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.readable = false,
                    ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Sends what is lost, what is new, and the ACK that is owed. Whether that was data.
    pub(super) fn send(&mut self, env: &mut Env<'_>) -> bool {
        let mut sent = false;
        while !env.out.is_full() {
            let Some((span, again)) = self.next_span() else {
                break;
            };
            if !self.send_span(span, env) {
                break;
            }
            sent = true;
            if again {
                self.flight.resent(span);
                self.rtt.sent_again();
                env.counters.tcp_retransmitted += 1;
            } else {
                self.fin_sent = distance(self.una, span.end) > self.tx.len();
                self.flight.sent(span, false);
                self.rtt.sent(span.end, env.now);
                self.unsent = span.end;
            }
        }
        self.acknowledge_guest(env);
        let waits = self.una != self.unsent || !self.tx.is_empty();
        if waits && self.retransmit.is_none() {
            self.retransmit = Some(env.now + self.rtt.timeout());
        }
        sent
    }

    /// What to send now, and whether it is for another time.
    fn next_span(&mut self) -> Option<(Span, bool)> {
        let flying = self.flight.bytes();
        let allowed = match self.limit {
            Some(limit) if flying > 0 => limit.saturating_sub(flying),
            Some(limit) => limit.max(usize::from(self.offer.mss)),
            None => usize::MAX,
        };
        let most = self.offer.largest().min(allowed);
        if let Some(span) = self.flight.first_lost(most) {
            let edge = advance(self.una, self.window.max(1));
            let end = if before(edge, span.end) {
                edge
            } else {
                span.end
            };
            return before(span.start, end).then_some((Span { end, ..span }, true));
        }
        if self.fin_sent {
            return None;
        }
        let offset = distance(self.una, self.unsent);
        let left = self.tx.len().saturating_sub(offset);
        let mut length = self.window.saturating_sub(offset).min(left).min(most);
        // Silly windows: RFC 9293, section 3.8.6.2.1.
        if length < left && length < usize::from(self.offer.mss) && offset > 0 {
            length = 0;
        }
        let fin = self.ended && length == left && allowed > 0;
        let end = advance(self.unsent, length + usize::from(fin));
        (end != self.unsent).then_some((
            Span {
                start: self.unsent,
                end,
            },
            false,
        ))
    }

    /// Puts these sequence numbers into the output.
    fn send_span(&mut self, span: Span, env: &mut Env<'_>) -> bool {
        let offset = distance(self.una, span.start);
        let length = span.len().min(self.tx.len().saturating_sub(offset));
        let fin = span.len() > length;
        let last = offset + length == self.tx.len();
        let mut flags = ACK;
        flags |= if length > 0 && last { PSH } else { 0 };
        flags |= if fin { FIN } else { 0 };
        let (edge, window) = self.promise(env);
        let header = Header {
            sequence: span.start,
            ack: self.next,
            flags,
            window,
        };
        let mut options = Vec::new();
        self.put_sack(&mut options);
        // The guest's kernel cuts it; options take room in each segment.
        let taken = u16::try_from(options.len()).unwrap_or(0);
        let mss = self.offer.mss.saturating_sub(taken).max(1);
        let data = self.tx.slices(offset, length);
        if !segment::put(env.out, &self.key, header, &options, data, mss) {
            return false;
        }
        self.used = env.now;
        self.promised(edge);
        true
    }

    /// Sends the ACK that no data took along, or leaves it to the deadline.
    fn acknowledge_guest(&mut self, env: &mut Env<'_>) {
        let (edge, _) = self.promise(env);
        let grown = distance(self.edge, edge);
        let mss = usize::from(self.offer.mss);
        let closed = distance(self.next, self.edge) < mss;
        // A window that opens is worth telling.
        let opens = grown >= LARGEST / 2 || closed && grown > 2 * mss;
        let news = distance(self.acked, self.next);
        match self.owed {
            Owed::Now => {}
            Owed::Soon | Owed::Delayed if opens || news >= 2 * mss => {}
            Owed::Nothing if opens => {}
            Owed::Soon => {
                self.owed = Owed::Delayed;
                return;
            }
            Owed::Nothing | Owed::Delayed => return,
        }
        if env.out.is_full() {
            self.owed = Owed::Now;
        } else {
            self.send_ack(env);
        }
    }
}
