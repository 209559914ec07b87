//! Sequence numbers, which wrap around: RFC 9293, section 3.4.

/// Whether `one` is before `other`.
pub(super) fn before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() < 0
}

/// The later one.
pub(super) fn latest(one: u32, other: u32) -> u32 {
    if before(one, other) { other } else { one }
}

/// How far `to` is behind `from`, which is not after it.
pub(super) fn distance(from: u32, to: u32) -> usize {
    to.wrapping_sub(from) as usize
}

/// The number so many bytes after.
pub(super) fn advance(from: u32, count: usize) -> u32 {
    // No window has more than 2^31 bytes.
    from.wrapping_add(u32::try_from(count).unwrap_or(0))
}

/// Bytes from a number to another one, which is excluded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn len(self) -> usize {
        distance(self.start, self.end)
    }

    /// Whether it has all of the other.
    pub(super) fn covers(self, other: Self) -> bool {
        !before(other.start, self.start) && !before(self.end, other.end)
    }
}
