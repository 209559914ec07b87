//! The opening of a connection towards the guest, for a client whose own one is there.

use super::super::segment::{self, Header, Key, Offer, RST, SYN, Segment};
use super::super::sequence::advance;
use super::{Connection, Env, Owed, SCALE, State};
use crate::protocol::Listen;
use crate::switch::engine::Stream;

impl<S: Stream> Connection<S> {
    /// Asks the guest for a connection. `isn` is our first sequence number; our side of the
    /// key is its `server`.
    pub(in super::super) fn ask(
        (key, listen): (Key, Listen),
        socket: S,
        isn: u32,
        env: &mut Env<'_>,
    ) -> Self {
        let offer = Offer::ours(key.guest.ip(), env.mtu);
        let mut connection = Self {
            state: State::SynSent,
            inward: Some(listen),
            unsent: isn.wrapping_add(1),
            ..Self::begin(key, offer, socket, isn, env.now)
        };
        connection.scale = SCALE;
        connection.rtt.sent(connection.unsent, env.now);
        connection.send_syn(env);
        connection
    }

    /// Takes the guest's answer. Whether the connection goes on. RFC 9293, section 3.10.7.3.
    pub(super) fn segment_answer(&mut self, segment: &Segment<'_>, env: &mut Env<'_>) -> bool {
        let ours = segment.ack == Some(self.unsent);
        if segment.has(RST) {
            if ours {
                self.refused(env);
            }
            return !ours;
        }
        match segment.ack {
            Some(_) if ours && segment.has(SYN) => {}
            // Of an earlier connection that the guest still has: it ends there, and our
            // SYN comes again.
            Some(ack) if !ours => {
                let header = Header {
                    sequence: ack,
                    ack: 0,
                    flags: RST,
                    window: 0,
                };
                if !segment::put(env.out, &self.key, header, &[], (&[], &[]), 1) {
                    env.counters.dropped += 1;
                }
                return true;
            }
            Some(_) | None => {
                env.counters.invalid += 1;
                return true;
            }
        }
        self.offer = Offer::of(segment, env.mtu);
        self.scale = if self.offer.scale.is_some() { SCALE } else { 0 };
        self.next = segment.sequence.wrapping_add(1);
        self.acked = self.next;
        // What our SYN promised.
        self.edge = advance(self.next, u16::MAX.into());
        self.una = self.unsent;
        self.window = segment.window.into();
        self.rtt.acked(self.una, env.now);
        self.retransmit = None;
        self.heard = env.now;
        self.state = State::Established;
        self.owed = Owed::Now;
        true
    }

    /// The guest takes no connection there: neither gets the client one.
    pub(in super::super) fn refused(&mut self, env: &mut Env<'_>) {
        env.counters.tcp_failed += 1;
        self.socket.abort();
    }

    /// Whether the guest's refusal of a segment with that number is about our SYN.
    pub(in super::super) fn asked_with(&self, sequence: u32) -> bool {
        self.state == State::SynSent && self.una == sequence
    }
}
