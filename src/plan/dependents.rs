//! Whether dependents are to be notified of the address.

use std::net::IpAddr;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// All know it.
    Nothing,
    /// The first address of this boot: none has read another one.
    First,
    /// Some know another address.
    Change {
        /// The address that all were notified of last, except for those notified in
        /// a run that was interrupted.
        old: IpAddr,
    },
}

/// Decides for an address. `notified` is the one that all were notified of last or
/// found at boot; `others` are those of some since, in runs that were interrupted.
#[must_use]
pub fn due(notified: Option<IpAddr>, others: impl IntoIterator<Item = IpAddr>, now: IpAddr) -> Due {
    match notified {
        None => Due::First,
        Some(old) if old != now || others.into_iter().any(|other| other != now) => {
            Due::Change { old }
        }
        Some(_) => Due::Nothing,
    }
}

#[cfg(test)]
mod tests;
