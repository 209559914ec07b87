//! Whom a forward accepts, by where the client is.

use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::Instant;

use crate::os;
use crate::protocol::Admit;

/// How old the list of this machine's addresses may be. A flood of made-up senders
/// causes one look-up in that time.
const MAX_AGE: Duration = Duration::from_secs(5);

/// An address of this machine, and the length of its subnet's prefix.
pub(crate) type Interface = (Ipv4Addr, u8);

impl Admit {
    /// Whether it takes a client with this address, on a machine with these.
    fn takes(self, from: Ipv4Addr, own: &[Interface]) -> bool {
        let is_own = || from.is_loopback() || own.iter().any(|(address, _)| *address == from);
        let is_near = |&(address, prefix): &Interface| {
            // Without a subnet, or with everyone in it, there is the address alone.
            let host_bits = 32_u32.checked_sub(prefix.into()).filter(|bits| *bits < 32);
            let mask = host_bits.map_or(u32::MAX, |bits| u32::MAX << bits);
            (address.to_bits() ^ from.to_bits()) & mask == 0
        };
        match self {
            Self::Any => true,
            Self::Host => is_own(),
            Self::Local => is_own() || own.iter().any(is_near),
        }
    }
}

/// The addresses of this machine, looked up when a client makes that necessary.
#[derive(Default)]
pub(crate) struct Neighbourhood {
    own: RefCell<Vec<Interface>>,
    last_look: Cell<Option<Instant>>,
}

impl Neighbourhood {
    /// Whether a client with this address may come in.
    pub(crate) fn admits(&self, admit: Admit, from: Ipv4Addr) -> bool {
        if admit.takes(from, &[]) {
            return true;
        }
        let now = Instant::now();
        if self
            .last_look
            .get()
            .is_none_or(|last| now >= last + MAX_AGE)
        {
            self.last_look.set(Some(now));
            // Without an answer they are as before.
            if let Ok(own) = os::interfaces() {
                self.own.replace(own);
            }
        }
        admit.takes(from, &self.own.borrow())
    }
}

#[cfg(test)]
mod tests;
