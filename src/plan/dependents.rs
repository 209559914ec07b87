//! Whether those who depend on the address are to be told of it.

use std::net::Ipv4Addr;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Everybody knows.
    Nothing,
    /// The first address of this boot: nobody has read another one.
    First,
    /// Somebody knows another address.
    Change {
        /// The address that everybody was told last, those aside who were told
        /// one in a round that did not come to its end.
        old: Ipv4Addr,
    },
}

/// Decides for an address. `told` is the one that everybody was told last or
/// found at boot; `others` are those that some were told since, in rounds that
/// did not come to their end.
#[must_use]
pub fn due(
    told: Option<Ipv4Addr>,
    others: impl IntoIterator<Item = Ipv4Addr>,
    now: Ipv4Addr,
) -> Due {
    match told {
        None => Due::First,
        Some(old) if old != now || others.into_iter().any(|other| other != now) => {
            Due::Change { old }
        }
        Some(_) => Due::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_told() {
        let address = |last| Ipv4Addr::new(172, 28, 16, last);
        let change = |old| Due::Change { old: address(old) };
        let table: [(_, &[u8], _, _); 9] = [
            (None, &[], 1, Due::First),
            (None, &[2], 1, Due::First),
            (Some(1), &[], 1, Due::Nothing),
            (Some(1), &[], 2, change(1)),
            // A round that was begun for 2, and not ended.
            (Some(1), &[2], 2, change(1)),
            (Some(1), &[2], 3, change(1)),
            (Some(1), &[2], 1, change(1)),
            // One more, for 3.
            (Some(1), &[2, 3], 3, change(1)),
            (Some(1), &[1, 1], 1, Due::Nothing),
        ];
        for (told, others, now, expected) in table {
            let others = others.iter().copied().map(address);
            assert_eq!(
                due(told.map(address), others, address(now)),
                expected,
                "{told:?} {now}"
            );
        }
    }
}
