//! Whether those who depend on the address are to be told of it.

use std::net::Ipv4Addr;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Everybody knows.
    Nothing,
    /// The first address of this boot: nobody has read another one.
    First,
    /// The address became another.
    Change {
        /// The address that was told last.
        old: Ipv4Addr,
        /// Whether a round for this very change was begun and not ended: who was
        /// told in it is not told again.
        resumes: bool,
    },
}

/// Decides for an address. `told` is the one that everybody was told last or
/// found at boot, `unfinished` that of a round that did not come to its end.
#[must_use]
pub fn due(told: Option<Ipv4Addr>, unfinished: Option<Ipv4Addr>, now: Ipv4Addr) -> Due {
    match (told, unfinished) {
        (None, _) => Due::First,
        (Some(old), Some(begun)) if begun == now => Due::Change { old, resumes: true },
        // Some know that one, even if the address is the old one again.
        (Some(_), Some(begun)) => Due::Change {
            old: begun,
            resumes: false,
        },
        (Some(old), None) if old != now => Due::Change {
            old,
            resumes: false,
        },
        (Some(_), None) => Due::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_told() {
        let address = |last| Ipv4Addr::new(172, 28, 16, last);
        let change = |old, resumes| Due::Change {
            old: address(old),
            resumes,
        };
        let table = [
            (None, None, 1, Due::First),
            (None, Some(2), 1, Due::First),
            (Some(1), None, 1, Due::Nothing),
            (Some(1), None, 2, change(1, false)),
            (Some(1), Some(2), 2, change(1, true)),
            (Some(1), Some(2), 3, change(2, false)),
            (Some(1), Some(2), 1, change(2, false)),
        ];
        for (told, unfinished, now, expected) in table {
            assert_eq!(
                due(told.map(address), unfinished.map(address), address(now)),
                expected,
                "{told:?} {unfinished:?} {now}"
            );
        }
    }
}
