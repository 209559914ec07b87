//! What passes between `/init` and the simulated Windows over the interop
//! socket: frames, the first one JSON. WSL's own protocol is private and
//! changes between versions; only its visible behaviour is imitated.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// What a client says first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hello {
    /// Start a Windows program.
    Start {
        /// The program's path, as Windows has it.
        exe: String,
        /// Its name as the caller gave it, then the arguments.
        argv: Vec<String>,
        /// The caller's working directory, the same; a share's path for one in Linux.
        cwd: String,
    },
    /// `wslinfo --networking-mode`.
    NetworkingMode,
    /// `wslpath` of a file on the Linux disk: what Windows calls this distribution.
    Name,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To Windows: a [`Hello`] as JSON.
    Hello,
    /// To Windows: bytes of standard input; an empty frame is its end.
    Input,
    /// To Linux: the program runs (or: the answer to a question).
    Started,
    /// To Linux: bytes of standard output.
    Output,
    /// To Linux: bytes of standard error.
    Error,
    /// To Linux: the exit code, four bytes, big endian.
    Exit,
}

const KINDS: [(u8, Kind); 6] = [
    (0, Kind::Hello),
    (1, Kind::Input),
    (2, Kind::Started),
    (3, Kind::Output),
    (4, Kind::Error),
    (5, Kind::Exit),
];

/// Sends one frame.
pub(crate) fn send(to: &mut impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let tag = KINDS
        .iter()
        .find(|(_, k)| *k == kind)
        .map_or(0, |(tag, _)| *tag);
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(bytes.len() + 5);
    frame.push(tag);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(bytes);
    to.write_all(&frame)
}

/// Receives one frame; `UnexpectedEof` when the other side has closed.
pub(crate) fn receive(from: &mut impl Read) -> io::Result<(Kind, Vec<u8>)> {
    let mut head = [0_u8; 5];
    from.read_exact(&mut head)?;
    let [tag, length @ ..] = head;
    let kind = KINDS.iter().find(|(t, _)| *t == tag).map(|(_, kind)| *kind);
    let kind =
        kind.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown kind of frame"))?;
    let mut bytes = vec![0; usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?];
    from.read_exact(&mut bytes)?;
    Ok((kind, bytes))
}
