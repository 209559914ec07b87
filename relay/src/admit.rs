//! Whom a forward accepts, by where the client is.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::os;
use crate::protocol::Admit;

/// How old the list of this machine's addresses may be. A flood of made-up senders
/// causes one look-up in that time.
const MAX_AGE: Duration = Duration::from_secs(5);

/// An address of this machine, and the length of its subnet's prefix.
pub(crate) type Interface = (IpAddr, u8);

impl Admit {
    /// Whether it takes a client with this address, on a machine with these.
    fn takes(self, from: IpAddr, own: &[Interface]) -> bool {
        let is_own = || from.is_loopback() || own.iter().any(|(address, _)| *address == from);
        let is_near = |&(address, prefix): &Interface| match (address, from) {
            (IpAddr::V4(address), IpAddr::V4(from)) => {
                let differ = address.to_bits() ^ from.to_bits();
                is_in_subnet(differ.into(), prefix, 32)
            }
            (IpAddr::V6(address), IpAddr::V6(from)) => {
                is_in_subnet(address.to_bits() ^ from.to_bits(), prefix, 128)
            }
            _ => false,
        };
        // No router passes it on (RFC 4291, 2.5.6).
        let is_link_local = || matches!(from, IpAddr::V6(from) if from.is_unicast_link_local());
        match self {
            Self::Any => true,
            Self::Host => is_own(),
            Self::Local => is_own() || is_link_local() || own.iter().any(is_near),
            Self::Behind(front) => from == front || is_own(),
        }
    }
}

/// Whether two addresses of `length` bits that differ in these are in a subnet of this prefix.
fn is_in_subnet(differ: u128, prefix: u8, length: u32) -> bool {
    // Without a subnet, or with everyone in it, there is the address alone.
    let host_bits = length.checked_sub(prefix.into());
    let host_bits = host_bits.filter(|bits| *bits < length);
    differ >> host_bits.unwrap_or_default() == 0
}

/// The addresses of this machine, looked up when a client makes that necessary.
#[derive(Default)]
pub(crate) struct Neighbourhood {
    own: RefCell<Vec<Interface>>,
    last_look: Cell<Option<Instant>>,
}

impl Neighbourhood {
    /// Whether a client with this address may come in.
    pub(crate) fn admits(&self, admit: Admit, from: IpAddr) -> bool {
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
