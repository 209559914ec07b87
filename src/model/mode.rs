//! WSL's networking modes.

use std::fmt;

use serde::Serialize;

use super::{Protocol, display_as_serialized};

display_as_serialized!(Mode);

/// How WSL connects this virtual machine, as `wslinfo --networking-mode`
/// prints it (microsoft/WSL: src/linux/init/wslinfo.cpp). The mode is the
/// effective one and cannot change while the virtual machine lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Own subnet behind Windows (the default).
    Nat,
    /// The interfaces of Windows, mirrored.
    Mirrored,
    /// Windows' address through a user-mode stack (`virtioproxy` before 2.9).
    Consomme,
    /// Bridged to a Hyper-V switch (deprecated).
    Bridged,
    /// No network but `lo`.
    None,
    /// Not a WSL machine at all.
    NotWsl,
}

impl Mode {
    /// Reads what `wslinfo --networking-mode` printed; `None` for a word that
    /// no known version prints.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word.trim() {
            "nat" => Some(Self::Nat),
            "mirrored" => Some(Self::Mirrored),
            "consomme" | "virtioproxy" => Some(Self::Consomme),
            "bridged" => Some(Self::Bridged),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    /// Whether Windows keeps the port for itself and never passes it to a distribution
    /// (Microsoft's documentation of mirrored mode).
    #[must_use]
    pub fn keeps(self, protocol: Protocol, port: u16) -> bool {
        let kept: &[u16] = match (self, protocol) {
            (Self::Mirrored, Protocol::Udp) => &[68],
            (Self::Mirrored, Protocol::Tcp) => &[135, 1900, 2869, 3702, 5004, 5357, 5358],
            _ => &[],
        };
        kept.contains(&port)
    }

    /// Whether what listens in here on all addresses does so on Windows' addresses too.
    #[must_use]
    pub fn shares_ports(self) -> bool {
        matches!(self, Self::Mirrored | Self::Consomme)
    }

    /// Whether WSL removes and re-adds addresses on every change of the host,
    /// so that a longer settle time is needed (wsl-network events in mirrored
    /// and consomme come as delete and add).
    #[must_use]
    pub fn flaps(self) -> bool {
        matches!(self, Self::Mirrored | Self::Consomme)
    }
}

/// What is known of the mode. Asking takes a call to WSL's init that may hang,
/// so the agent starts without the answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ModeState {
    /// Asked, not answered yet.
    #[default]
    Pending,
    /// Answered.
    Known(Mode),
    /// Not to be had; the text says why.
    Unknown(String),
}

impl ModeState {
    /// The mode where it is known.
    #[must_use]
    pub fn known(&self) -> Option<Mode> {
        match self {
            Self::Known(mode) => Some(*mode),
            Self::Pending | Self::Unknown(_) => None,
        }
    }
}

impl fmt::Display for ModeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("pending"),
            Self::Known(mode) => mode.fmt(f),
            Self::Unknown(_) => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_versions() {
        let table = [
            ("nat\n", Some(Mode::Nat)),
            ("mirrored", Some(Mode::Mirrored)),
            ("virtioproxy", Some(Mode::Consomme)),
            ("consomme\r\n", Some(Mode::Consomme)),
            ("bridged", Some(Mode::Bridged)),
            ("none", Some(Mode::None)),
            ("wsl1", None),
            ("", None),
            ("NAT", None),
        ];
        for (word, mode) in table {
            assert_eq!(Mode::parse(word), mode, "{word:?}");
        }
    }
}
