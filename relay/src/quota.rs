//! How the forwards share a limit.

/// What each forward may always have: an equal share of half of the limit.
pub(crate) fn reserve(limit: u32, forwards: u32) -> u32 {
    limit / 2 / forwards.max(1)
}

/// Whether a forward that has `own` may have one more, when `used` are in use in all.
/// It takes nothing of what is reserved for the others; `others` is what each has.
pub(crate) fn has_room(
    limit: u32,
    used: u32,
    own: u32,
    others: impl Iterator<Item = u32> + Clone,
) -> bool {
    let free = limit.saturating_sub(used);
    // The reserves are no more than half, so most forwards need no sum.
    if free > limit / 2 {
        return true;
    }
    let forwards = others.clone().fold(1_u32, |sum, _| sum.saturating_add(1));
    let reserve = reserve(limit, forwards);
    let kept = if own < reserve {
        0
    } else {
        others.fold(0_u32, |sum, other| {
            sum.saturating_add(reserve.saturating_sub(other))
        })
    };
    free > kept
}

#[cfg(test)]
mod tests;
