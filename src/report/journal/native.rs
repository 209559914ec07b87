//! The journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one
//! datagram for a line, `NAME=value` for each field.
//!
//! Not the crate for it (tracing-journald): that can neither add a computed field
//! (MESSAGE_ID) nor limit how long it waits, so a stopped journald would stop the agent
//! once the socket's queue is full.

use std::{
    fs::File,
    io::{self, Write},
    mem::MaybeUninit,
    os::{fd::AsFd, unix::net::UnixDatagram},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::line::Line;
use rustix::{
    cmsg_space,
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    net::{
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr, sendto,
    },
};

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// A socket to journald. Each line is sent to the path, so a restarted journald gets the
/// next one.
#[derive(Debug)]
pub(super) struct Native {
    socket: UnixDatagram,
    journald: SocketAddrUnix,
    /// journald did not read the last line in time: lines do not wait until it reads.
    busy: AtomicBool,
}

impl Native {
    /// `timeout` is how long a line waits for a journald that lags behind: the kernel
    /// queues ten datagrams by default.
    ///
    /// # Errors
    /// The socket cannot be created, or nothing listens at the path.
    pub(super) fn open(path: &Path, timeout: Duration) -> io::Result<Self> {
        let native = Self {
            socket: UnixDatagram::unbound()?,
            journald: SocketAddrUnix::new(path)?,
            busy: AtomicBool::new(false),
        };
        native.socket.set_write_timeout(Some(timeout))?;
        // journald ignores an empty datagram; a busy one is running all the same.
        match native.datagram(&[]) {
            Ok(()) | Err(Errno::AGAIN) => Ok(native),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a line.
    ///
    /// # Errors
    /// journald is not running, or too busy; the line is lost.
    pub(super) fn send(&self, line: &Line) -> io::Result<()> {
        let text = encoded(line);
        match self.datagram(&text) {
            Err(Errno::MSGSIZE | Errno::NOBUFS) => self.send_memfd(&text),
            other => Ok(other?),
        }
    }

    fn datagram(&self, text: &[u8]) -> Result<(), Errno> {
        self.send_with(|flags| sendto(&self.socket, text, flags, &self.journald))
    }

    /// Does not wait if the previous send timed out.
    fn send_with(&self, send: impl FnOnce(SendFlags) -> Result<usize, Errno>) -> Result<(), Errno> {
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::DONTWAIT, self.busy.load(Ordering::Relaxed));
        let sent = send(flags).map(drop);
        self.busy
            .store(sent == Err(Errno::AGAIN), Ordering::Relaxed);
        sent
    }

    /// Sends what is too long for a datagram as a memfd, sealed as journald requires.
    fn send_memfd(&self, text: &[u8]) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create("wslmesh-journal", flags)?);
        file.write_all(text)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        fcntl_add_seals(&file, seals)?;
        let files = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&files));
        let to = &self.journald;
        Ok(self.send_with(|flags| sendmsg_addr(&self.socket, to, &[], &mut control, flags))?)
    }
}

fn encoded(line: &Line) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    let mut put = |name: &str, value: &str| {
        let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
        text.extend(name.as_bytes());
        // The length precedes a value with line breaks.
        match value.contains('\n') {
            true => text.extend([b"\n", &length.to_le_bytes()[..]].concat()),
            false => text.push(b'='),
        }
        text.extend(value.as_bytes());
        text.push(b'\n');
    };
    put("MESSAGE", &line.message);
    put("MESSAGE_ID", &line.message_id());
    put("PRIORITY", line.priority().0);
    put("SYSLOG_IDENTIFIER", "wslmesh");
    if let Some((file, number)) = line.code {
        put("CODE_FILE", file);
        put("CODE_LINE", &number.to_string());
    }
    for (name, value) in &line.fields {
        put(&field_name(name), value);
    }
    text
}

/// A field's name in the journal, which allows only A-Z, 0-9 and _.
pub(in crate::report) fn field_name(field: &str) -> String {
    let name = field.to_ascii_uppercase();
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("WSLMESH_{name}")
}
