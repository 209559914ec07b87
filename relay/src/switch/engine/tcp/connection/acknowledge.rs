//! What the guest has got.

use super::super::segment::{FIN, Segment};
use super::super::sequence::{Span, before, distance};
use super::{Connection, Env, State};
use crate::switch::engine::Stream;

/// How far behind a valid ACK may be: RFC 5961, section 5.2, without asking the guest for
/// its largest window.
const LARGEST_WINDOW: usize = 1 << 30;

/// Timeouts in a row that are remembered of a guest that answers with a closed window: the
/// next is after 16 s.
const PERSIST: u8 = 6;

impl<S: Stream> Connection<S> {
    /// Takes an ACK. Whether it is valid.
    pub(super) fn acknowledge(
        &mut self,
        segment: &Segment<'_>,
        ack: u32,
        env: &mut Env<'_>,
    ) -> bool {
        if before(self.unsent, ack)
            || before(ack, self.una) && distance(ack, self.una) > LARGEST_WINDOW
        {
            env.counters.invalid += 1;
            self.challenge(env);
            return false;
        }
        if before(ack, self.una) {
            return true;
        }
        let window = usize::from(segment.window) << self.offer.scale.unwrap_or(0);
        if self.state == State::SynReceived {
            if ack == self.una {
                return false;
            }
            self.state = State::Established;
            self.una = ack;
            self.window = window;
            self.retransmit = None;
            self.rtt.acked(ack, env.now);
            return true;
        }
        let (sacked, count) = if self.offer.sack && segment.has_options() {
            segment.sacked()
        } else {
            Default::default()
        };
        let mut sacked = sacked;
        let valid = sacked.get_mut(..count).unwrap_or_default();
        // Those before the ACK report duplicates (RFC 2883).
        valid.sort_unstable_by_key(|one| {
            before(one.start, ack) || before(self.unsent, one.end) || !before(one.start, one.end)
        });
        let good = valid.partition_point(|one| {
            !before(one.start, ack) && !before(self.unsent, one.end) && before(one.start, one.end)
        });
        let sacked = sacked.get(..good).unwrap_or_default();
        let news = distance(self.una, ack);
        if news > 0 {
            self.fin_acked |= news > self.tx.len();
            self.tx.consume(news);
            self.una = ack;
            self.duplicates = 0;
            self.rtt.acked(ack, env.now);
            if let Some(limit) = &mut self.limit {
                *limit += 2 * news;
            }
        } else if !self.offer.sack
            && segment.data.is_empty()
            && !segment.has(FIN)
            && window == self.window
            && self.flight.bytes() > 0
        {
            self.duplicates = self.duplicates.saturating_add(1);
            if self.duplicates == 3 {
                self.flight.lose_first();
            }
        }
        self.flight.acked(ack, sacked);
        if !self.flight.has_lost() {
            self.limit = None;
        }
        if window == 0 {
            // It is alive, and is asked no more often for that.
            self.rtt.tries = self.rtt.tries.min(PERSIST);
        } else if self.window == 0 {
            self.rtt.tries = 0;
        }
        self.window = window;
        if self.una == self.unsent {
            self.retransmit = None;
        } else if news > 0 {
            self.retransmit = Some(env.now + self.rtt.timeout());
        }
        true
    }

    /// The way to the guest has a smaller MTU than its interface.
    pub(in super::super) fn shrink(&mut self, sequence: u32, mtu: u16) {
        let headers = if self.key.guest.is_ipv4() { 40 } else { 60 };
        let mss = mtu.saturating_sub(headers).max(1);
        let known = !before(sequence, self.una) && before(sequence, self.unsent);
        if known && mss < self.offer.mss && self.state == State::Established {
            self.offer.mss = mss;
            self.flight.lose_all(Span {
                start: self.una,
                end: self.unsent,
            });
        }
    }
}
