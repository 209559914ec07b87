//! Whether dependents are to be notified of a value: the address, or a tunnel's.

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due<'a> {
    /// All know it.
    Nothing,
    /// The first one of this boot: none has read another one.
    First,
    /// Some know another one.
    Change {
        /// The value that all were notified of last, except for those notified in
        /// a run that was interrupted.
        old: &'a str,
    },
}

/// Decides for a value, which is empty where there is none. `notified` is the one that all
/// were notified of last or found at boot; `others` are those of some since, in runs that
/// were interrupted. None is no first value: the tunnels come after the agent.
#[must_use]
pub fn due<'a>(
    notified: Option<&'a str>,
    others: impl IntoIterator<Item = &'a str>,
    now: &str,
) -> Due<'a> {
    match notified {
        None if now.is_empty() => Due::Nothing,
        None => Due::First,
        Some(old) if old != now || others.into_iter().any(|other| other != now) => {
            Due::Change { old }
        }
        Some(_) => Due::Nothing,
    }
}

#[cfg(test)]
mod tests;
