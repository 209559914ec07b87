//! What was sent to the guest and not acknowledged, and what of it is lost.
//!
//! The link keeps the order. So what arrives proves that all that was sent before it, and
//! did not arrive, is lost: RACK (RFC 8985) without a reordering window. That holds for
//! retransmissions as well.

use std::collections::VecDeque;

use super::sequence::{Span, before, latest};

/// Most entries; further bytes are added to the last one.
const ENTRIES: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Sent {
    span: Span,
    again: bool,
}

/// Spans of sequence numbers, in the order of sending.
#[derive(Debug, Default)]
pub(super) struct Flight {
    sent: VecDeque<Sent>,
    /// To be sent again: apart, sorted, in no entry of `sent`.
    lost: Vec<Span>,
    /// Entries that were sent again: without any, `sent` is sorted.
    again: usize,
    bytes: usize,
}

impl Flight {
    /// Bytes that were sent and neither arrived nor are known as lost.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// These were sent, for the first time or `again`.
    pub(super) fn sent(&mut self, span: Span, again: bool) {
        self.bytes += span.len();
        if self.sent.len() >= ENTRIES
            && let Some(last) = self.sent.back_mut()
            && last.span.end == span.start
        {
            last.span.end = span.end;
            return;
        }
        self.again += usize::from(again);
        self.sent.push_back(Sent { span, again });
    }

    /// The guest has all before `una`, and the spans `sacked`.
    pub(super) fn acked(&mut self, una: u32, sacked: &[Span]) {
        if self.again == 0 && sacked.is_empty() {
            while let Some(first) = self.sent.front()
                && !before(una, first.span.end)
            {
                self.bytes -= first.span.len();
                self.sent.pop_front();
            }
        } else {
            self.scan(una, sacked);
        }
        // One at most is acknowledged in part: the first, unless some were sent again.
        let searched = if self.again == 0 { 1 } else { self.sent.len() };
        let mut candidates = self.sent.iter_mut().take(searched);
        let part = candidates.find(|one| before(one.span.start, una) && before(una, one.span.end));
        if let Some(one) = part {
            self.bytes -= Span {
                end: una,
                ..one.span
            }
            .len();
            one.span.start = una;
        }
        if !self.lost.is_empty() {
            self.remove_lost(Span {
                start: una.wrapping_sub(1 << 30),
                end: una,
            });
            for span in sacked {
                self.remove_lost(*span);
            }
        }
    }

    /// Removes what arrived, and all that was sent before: that is lost.
    fn scan(&mut self, una: u32, sacked: &[Span]) {
        let arrived =
            |span: Span| !before(una, span.end) || sacked.iter().any(|sacked| sacked.covers(span));
        // Of one that the guest's kernel has cut, the last segment may have arrived alone.
        let last_arrived = |span: Span| {
            let has_last =
                |block: &Span| before(block.start, span.end) && !before(block.end, span.end);
            !before(una, span.end) || sacked.iter().any(has_last)
        };
        let newest = self.sent.iter().rposition(|one| last_arrived(one.span));
        let Some(newest) = newest else {
            return;
        };
        for _ in 0..=newest {
            let Some(one) = self.sent.pop_front() else {
                return;
            };
            self.bytes -= one.span.len();
            self.again -= usize::from(one.again);
            if !arrived(one.span) {
                let start = latest(one.span.start, una);
                self.add_lost(Span { start, ..one.span });
            }
        }
    }

    /// Three duplicate ACKs from a guest without SACK: the first is lost.
    pub(super) fn lose_first(&mut self) {
        if let Some(one) = self.sent.pop_front() {
            self.bytes -= one.span.len();
            self.again -= usize::from(one.again);
            self.add_lost(one.span);
        }
    }

    /// Nothing was heard in time: all of the span counts as lost, also what the guest said
    /// that it has, which it may discard (RFC 2018, section 8).
    pub(super) fn lose_all(&mut self, span: Span) {
        *self = Self::default();
        if span.start != span.end {
            self.lost.push(span);
        }
    }

    /// The first of the lost, at most `most` bytes.
    pub(super) fn first_lost(&self, most: usize) -> Option<Span> {
        let first = *self.lost.first()?;
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let length = first.end.wrapping_sub(first.start).min(most);
        let end = first.start.wrapping_add(length);
        (length > 0).then_some(Span { end, ..first })
    }

    /// The beginning of [`Flight::first_lost`] is sent.
    pub(super) fn resent(&mut self, span: Span) {
        self.remove_lost(span);
        self.sent(span, true);
    }

    fn add_lost(&mut self, span: Span) {
        let at = self.lost.partition_point(|one| before(one.end, span.start));
        let mut merged = span;
        let mut until = at;
        while let Some(one) = self.lost.get(until)
            && !before(merged.end, one.start)
        {
            if before(one.start, merged.start) {
                merged.start = one.start;
            }
            merged.end = latest(merged.end, one.end);
            until += 1;
        }
        self.lost.splice(at..until, [merged]);
    }

    fn remove_lost(&mut self, gone: Span) {
        let pieces = |one: &Span| {
            let front = Span {
                start: one.start,
                end: gone.start,
            };
            let back = Span {
                start: gone.end,
                end: one.end,
            };
            let apart = !before(gone.start, one.end) || !before(one.start, gone.end);
            [
                apart.then_some(*one),
                (!apart && before(front.start, front.end)).then_some(front),
                (!apart && before(back.start, back.end)).then_some(back),
            ]
        };
        self.lost = self.lost.iter().flat_map(pieces).flatten().collect();
    }
}

#[cfg(test)]
mod tests;
