//! The statements about Windows that `wslmesh host check` looks at.

/// Number and statement of each, in their order. docs/windows.md says more of them.
pub const CHECKS: [(&str, &str); 26] = [
    (
        "T1",
        "WSL records the guest's address in this user's registry, inside its network",
    ),
    ("T2", "WSL records its network and gateway for the machine"),
    (
        "T3",
        "the port proxy's rules are registry values named address/port",
    ),
    ("T4", "netsh -f goes on after a line that fails"),
    ("T5", "the dynamic port ranges can be asked for"),
    ("T6", "WSL can be started without a console window"),
    ("T7", "the firewall answers through its COM interface"),
    ("T8", "the firewall of guests has its cmdlets and knows WSL"),
    ("T9", "this user may read and start the task"),
    (
        "T10",
        "the token tells an administrator from a standard account",
    ),
    (
        "T11",
        "PowerShell starts, and a task starts, within seconds",
    ),
    (
        "T12",
        ".NET lists network interfaces with MTU, addresses and gateway",
    ),
    ("T13", "no policy keeps the scripts from running"),
    ("T14", "wslrelay listens on loopback only"),
    ("T15", "a port that is taken gives error 10048"),
    ("T16", "the relay runs from where it is put"),
    ("T17", "this runs in the session of a desktop"),
    (
        "T18",
        "a scratch forward is made, Windows listens on its port, and both go again",
    ),
    ("T19", "ordinary firewall rules hold for guests, too"),
    (
        "T20",
        "PowerShell looks for modules in Windows' own folder alone",
    ),
    ("T21", "the task does not run as the user who starts it"),
    ("T22", "no Block rule is left for the relay"),
    (
        "T23",
        "many scratch forwards are made, and removed, within a minute",
    ),
    ("T24", "no task that starts WSL is stopped after a time"),
    (
        "T25",
        "virtual disks are on drives of this machine with space",
    ),
    ("T26", "how to see Microsoft Defender's exclusions"),
];

/// The place of a check in [`CHECKS`], and what it states; those of none are behind all.
#[must_use]
pub fn place(id: &str) -> (usize, &'static str) {
    let found = CHECKS.iter().enumerate().find(|(_, check)| check.0 == id);
    found.map_or((CHECKS.len(), ""), |(place, (_, title))| (place, title))
}
