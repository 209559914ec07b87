//! The ways in which interop and Windows fail, as a test sets them.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::interop::{NO_SESSION, POWERSHELL, SESSION, SOCKET};
use crate::root;

/// One way to fail. It lasts until another is set or it is cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// The interop socket does not exist.
    InteropGone,
    /// The interop socket exists without a listener.
    InteropRefuses,
    /// PID 1's socket takes each question and answers none: programs end with `accept4
    /// failed 110`, wslinfo and wslpath wait without limit.
    InteropSilent,
    /// PID 1's channel to Windows is dead: what is to be started gets lost (`accept4 failed
    /// 110`), and questions to init itself are answered.
    ChannelDead,
    /// The same while a terminal is open, whose own channel works.
    ChannelDeadBesideSession,
    /// One start gets lost, as when init is busy; then the fault is over.
    LosesOne,
    /// powershell.exe takes this much longer, in ms, and then answers rightly.
    Slow(u64),
    /// powershell.exe answers and ends, and a program that it started holds its output
    /// for this much longer, in ms.
    Grandchild(u64),
    /// powershell.exe starts and never ends.
    Hang,
    /// powershell.exe runs no command, and scripts that are files.
    NoCommand,
    /// powershell.exe cannot start its engine and ends, of which Linux sees exit code 0.
    NoScript,
    /// wslpath waits without limit.
    PathsHang,
    /// powershell.exe ends with this code and these bytes on standard error.
    Exit {
        /// The exit code, all 32 bits.
        code: u32,
        /// In whatever code page the test wants.
        stderr: Vec<u8>,
    },
    /// These bytes instead of an answer, exit code 0.
    Rubbish(Vec<u8>),
    /// The script does what it has to, and interop ends before it can answer.
    DiesAfterwards,
    /// The sync is done, the answer breaks off in the middle.
    HalfAnswer,
    /// This many bytes of blanks, then the answer.
    Flood(usize),
    /// A right answer with a UTF-8 BOM, line ends of CRLF.
    Crlf,
    /// A right answer in UTF-16LE with a BOM.
    Utf16,
    /// A right answer that claims this version.
    OtherVersion(u64),
    /// The file powershell.exe does not exist.
    PowershellMissing,
    /// binfmt_misc has no entry for Windows programs.
    BinfmtGone,
}

const AWAY: &str = "/run/WSL/.away";
const ENTRY: &str = "/proc/sys/fs/binfmt_misc/WSLInterop";

impl Fault {
    /// Brings about what of the fault is a matter of files.
    pub(crate) fn begin(&self) -> Result<()> {
        match self {
            Self::InteropGone => fs::rename(SOCKET, AWAY).context("taking the socket away"),
            Self::InteropRefuses => {
                fs::rename(SOCKET, AWAY)?;
                // Dropped at once: the file stays and refuses connections.
                UnixListener::bind(SOCKET)
                    .map(drop)
                    .context("leaving a dead socket")
            }
            Self::PowershellMissing => {
                fs::remove_file(POWERSHELL).context("removing powershell.exe")
            }
            Self::BinfmtGone if Path::new(ENTRY).exists() => {
                fs::write(ENTRY, "-1").context("removing the entry")
            }
            Self::ChannelDeadBesideSession => {
                fs::rename(NO_SESSION, SESSION).context("opening a terminal")
            }
            Self::InteropSilent
            | Self::ChannelDead
            | Self::LosesOne
            | Self::Slow(_)
            | Self::Grandchild(_)
            | Self::Hang
            | Self::NoCommand
            | Self::NoScript
            | Self::PathsHang
            | Self::Exit { .. }
            | Self::Rubbish(_)
            | Self::DiesAfterwards
            | Self::HalfAnswer
            | Self::Flood(_)
            | Self::Crlf
            | Self::Utf16
            | Self::OtherVersion(_)
            | Self::BinfmtGone => Ok(()),
        }
    }

    /// Undoes [`begin`](Self::begin). `binfmt` says whether the world had an entry.
    pub(crate) fn end(&self, binfmt: bool) -> Result<()> {
        match self {
            Self::InteropGone | Self::InteropRefuses => {
                fs::rename(AWAY, SOCKET).context("bringing the socket back")
            }
            Self::PowershellMissing => root::powershell(Path::new(POWERSHELL)),
            Self::BinfmtGone if binfmt => root::register(),
            Self::ChannelDeadBesideSession => {
                fs::rename(SESSION, NO_SESSION).context("closing the terminal")
            }
            Self::InteropSilent
            | Self::ChannelDead
            | Self::LosesOne
            | Self::Slow(_)
            | Self::Grandchild(_)
            | Self::Hang
            | Self::NoCommand
            | Self::NoScript
            | Self::PathsHang
            | Self::Exit { .. }
            | Self::Rubbish(_)
            | Self::DiesAfterwards
            | Self::HalfAnswer
            | Self::Flood(_)
            | Self::Crlf
            | Self::Utf16
            | Self::OtherVersion(_)
            | Self::BinfmtGone => Ok(()),
        }
    }

    /// What standard output becomes instead of the right `answer`, an object in
    /// one line.
    pub(crate) fn mangle(&self, answer: &str) -> Vec<u8> {
        match self {
            Self::HalfAnswer => answer.bytes().take(answer.len() / 2).collect(),
            Self::Flood(size) => [" ".repeat(*size), answer.to_owned()].concat().into_bytes(),
            Self::Crlf => {
                format!("\u{feff}\r\n{}\r\n", answer.replace(",\"", ",\r\n \"")).into_bytes()
            }
            Self::Utf16 => {
                let text = format!("\u{feff}{answer}\r\n");
                text.encode_utf16().flat_map(u16::to_le_bytes).collect()
            }
            Self::InteropGone
            | Self::InteropRefuses
            | Self::InteropSilent
            | Self::ChannelDead
            | Self::ChannelDeadBesideSession
            | Self::LosesOne
            | Self::Slow(_)
            | Self::Grandchild(_)
            | Self::Hang
            | Self::NoCommand
            | Self::NoScript
            | Self::PathsHang
            | Self::Exit { .. }
            | Self::Rubbish(_)
            | Self::DiesAfterwards
            | Self::OtherVersion(_)
            | Self::PowershellMissing
            | Self::BinfmtGone => format!("{answer}\r\n").into_bytes(),
        }
    }
}
