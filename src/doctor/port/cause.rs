//! The kinds of what keeps a port from answering, and their order.

/// Why a port does not answer, the first that matters first: from the service outwards,
/// after what no repair on the way would help against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    WindowsKeeps,
    Loop,
    NothingListens,
    LoopbackOnly,
    FilteredHere,
    RelayTaken,
    HeaderUnknown,
    WindowsProcess,
    ExcludedRange,
    ForeignRule,
    OtherDistribution,
    /// As the agent found.
    Health,
    NoAgent,
    NoForward,
    OutsidePolicy,
    FirewallBlocks,
    FirewallLacks,
    NotReached,
    WindowsSilent,
    NetworkSilent,
    WindowsUnknown,
    HeaderExpected,
    DynamicRange,
}

impl Cause {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::WindowsKeeps => "windows-keeps",
            Self::Loop => "loop",
            Self::NothingListens => "nothing-listens",
            Self::LoopbackOnly => "loopback-only",
            Self::FilteredHere => "filtered-here",
            Self::RelayTaken => "relay-taken",
            Self::HeaderUnknown => "header-unknown",
            Self::WindowsProcess => "windows-process",
            Self::ExcludedRange => "excluded-range",
            Self::ForeignRule => "foreign-rule",
            Self::OtherDistribution => "other-distribution",
            Self::Health => "",
            Self::NoAgent => "no-agent",
            Self::NoForward => "no-forward",
            Self::OutsidePolicy => "outside-policy",
            Self::FirewallBlocks => "firewall-blocks",
            Self::FirewallLacks => "firewall-lacks",
            Self::NotReached => "not-reached",
            Self::WindowsSilent => "windows-silent",
            Self::NetworkSilent => "network-silent",
            Self::WindowsUnknown => "windows-unknown",
            Self::HeaderExpected => "header-expected",
            Self::DynamicRange => "dynamic-range",
        }
    }

    /// Whether it is about who has the port on Windows.
    pub(super) fn holds_windows(self) -> bool {
        matches!(self, Self::Loop | Self::WindowsProcess | Self::ForeignRule)
    }
}

/// Codes of the agent's findings that say what one of ours says.
pub(super) const SAME: [(&str, Cause); 7] = [
    ("forward-kept", Cause::WindowsKeeps),
    ("forward-loop", Cause::Loop),
    ("forward-conflict", Cause::ForeignRule),
    ("forward-taken", Cause::WindowsProcess),
    ("forward-excluded", Cause::ExcludedRange),
    ("forward-outside-policy", Cause::OutsidePolicy),
    ("firewall-blocked", Cause::FirewallBlocks),
];
