//! What a lossy way between the switch and the guest costs.

use super::super::sequence::distance;
use super::*;

const TOTAL: usize = 8 << 20;
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// A guest that receives, as kernels do: it reports what is beyond a gap, the latest first.
struct Receiver {
    next: u32,
    /// Sorted by when they grew last.
    beyond: Vec<(u32, u32)>,
}

impl Receiver {
    fn take(&mut self, start: u32, end: u32) {
        let (mut start, mut end) = (start.wrapping_sub(self.next), end.wrapping_sub(self.next));
        if start > 1 << 31 {
            return;
        }
        let mut rest = Vec::new();
        for (from, to) in &self.beyond {
            let (one, other) = (from.wrapping_sub(self.next), to.wrapping_sub(self.next));
            if one <= end && start <= other {
                (start, end) = (start.min(one), end.max(other));
            } else {
                rest.push((*from, *to));
            }
        }
        let base = self.next;
        if start == 0 {
            self.next = base.wrapping_add(end);
        } else {
            rest.insert(0, (base.wrapping_add(start), base.wrapping_add(end)));
        }
        self.beyond = rest;
    }

    fn options(&self) -> Vec<u8> {
        let blocks = self.beyond.iter().take(4).map(|(start, end)| Span {
            start: *start,
            end: *end,
        });
        let mut options = Vec::new();
        sack_option(&blocks.collect::<Vec<_>>(), &mut options);
        options
    }
}

/// How long the guest takes to get all, if that many of a million segments are lost. Also
/// how much was sent.
fn transfer(loss: u32) -> (Duration, usize) {
    let mut peer = Peer::new();
    let mut random = 12_345_u32;
    let mut receiver = Receiver {
        next: peer.ack,
        beyond: Vec::new(),
    };
    let (first, start) = (peer.ack, peer.driver.now);
    let mut sent = 0;
    // The server has more to send: what the end costs is another matter.
    while distance(first, receiver.next) < TOTAL {
        while peer.socket.borrow().input.len() < 1 << 20 {
            peer.serve(&[7; 1 << 16]);
        }
        let mut acks = Vec::new();
        for frame in peer.got() {
            sent += frame.data.len();
            let mut at = frame.sequence;
            for segment in frame.data.chunks(1460) {
                let next = at.wrapping_add(u32::try_from(segment.len()).unwrap());
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if random >> 8 >= loss * 16 {
                    receiver.take(at, next);
                }
                at = next;
            }
            acks.push((receiver.next, receiver.options()));
        }
        peer.pass(ROUND_TRIP);
        for (ack, options) in acks {
            peer.send_with((peer.next, ack), ACK, &options, &[]);
        }
        peer.wake();
        let time = peer.driver.now - start;
        assert!(time < 100 * SECOND, "it does not end");
    }
    (peer.driver.now - start, sent)
}

#[test]
fn one_percent_costs_less_than_half() {
    let (whole, _) = transfer(0);
    for (loss, most) in [(1000, 2), (10_000, 2), (100_000, 10)] {
        let (time, sent) = transfer(loss);
        println!("{loss} of a million: {time:?}, without loss {whole:?}, {sent} bytes");
        assert!(
            time < most * whole,
            "{loss}: {time:?}, without loss {whole:?}"
        );
        // Little more than what was lost. Four blocks do not say all of many gaps.
        let lost = TOTAL / 1_000_000 * usize::try_from(loss).unwrap();
        assert!(sent < TOTAL + (1 << 20) + 8 * lost, "{loss}: {sent} bytes");
    }
}
