//! The journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one
//! datagram for a line, `NAME=value` for each field.
//!
//! Written here because the crate for it can neither add a field that it computes
//! (MESSAGE_ID) nor bound how long it waits: a journal that is stopped would stop
//! the agent with it, as soon as its socket's queue is full.

use std::{
    fs::File,
    io::{self, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::{
    cmsg_space,
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
        SocketFlags, SocketType, sendmsg_addr, sendto, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use tracing::Level;

use super::line::Line;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// A way to journald. It is addressed anew with each line, so a journald that was
/// restarted gets the next one.
#[derive(Debug)]
pub(super) struct Native {
    socket: OwnedFd,
    journald: SocketAddrUnix,
    /// It did not read lately: it is not waited for until it does.
    busy: AtomicBool,
}

impl Native {
    /// `patience` is how long a burst of lines waits for a journald that lags behind:
    /// the kernel holds ten of them by default.
    ///
    /// # Errors
    /// No socket can be made, or nobody listens at the path.
    pub(super) fn open(path: &Path, patience: Duration) -> io::Result<Self> {
        let native = Self {
            socket: socket_with(
                AddressFamily::UNIX,
                SocketType::DGRAM,
                SocketFlags::CLOEXEC,
                None,
            )?,
            journald: SocketAddrUnix::new(path)?,
            busy: AtomicBool::new(false),
        };
        set_socket_timeout(&native.socket, Timeout::Send, Some(patience))?;
        // journald ignores an empty datagram; one that is busy is there all the same.
        match native.datagram(&[]) {
            Ok(()) | Err(Errno::AGAIN) => Ok(native),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands a line over.
    ///
    /// # Errors
    /// journald is gone, or takes no more now; the line is lost.
    pub(super) fn send(&self, line: &Line) -> io::Result<()> {
        let text = encoded(line);
        match self.datagram(&text) {
            Err(Errno::MSGSIZE | Errno::NOBUFS) => self.large(&text),
            other => Ok(other?),
        }
    }

    fn datagram(&self, text: &[u8]) -> Result<(), Errno> {
        self.tried(|flags| sendto(&self.socket, text, flags, &self.journald))
    }

    /// One that fails for want of room was waited for; the next one is not.
    fn tried(&self, send: impl FnOnce(SendFlags) -> Result<usize, Errno>) -> Result<(), Errno> {
        let flags = if self.busy.load(Ordering::Relaxed) {
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT
        } else {
            SendFlags::NOSIGNAL
        };
        let sent = send(flags).map(drop);
        self.busy
            .store(sent == Err(Errno::AGAIN), Ordering::Relaxed);
        sent
    }

    /// What is too long for a datagram goes as a file in memory, sealed so that
    /// journald may trust that it stays as it is.
    fn large(&self, text: &[u8]) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create("wslmesh-journal", flags)?);
        file.write_all(text)?;
        fcntl_add_seals(
            &file,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
        )?;
        let files = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&files));
        self.tried(|flags| sendmsg_addr(&self.socket, &self.journald, &[], &mut control, flags))?;
        Ok(())
    }
}

fn encoded(line: &Line) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    let mut put = |name: &str, value: &str| {
        text.extend_from_slice(name.as_bytes());
        // A value of several lines has its length before it.
        if value.contains('\n') {
            let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
            text.push(b'\n');
            text.extend_from_slice(&length.to_le_bytes());
        } else {
            text.push(b'=');
        }
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    };
    put("MESSAGE", &line.message);
    put("MESSAGE_ID", &line.message_id());
    put("PRIORITY", priority(line.level));
    put("SYSLOG_IDENTIFIER", "wslmesh");
    if let Some((file, number)) = line.code {
        put("CODE_FILE", file);
        put("CODE_LINE", &number.to_string());
    }
    for (name, value) in &line.fields {
        put(&name_of(name), value);
    }
    text
}

/// As in syslog(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// A field's name in the journal, which takes A-Z, 0-9 and _ alone.
pub(in crate::report) fn name_of(field: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    format!("WSLMESH_{}", field.chars().map(plain).collect::<String>())
}
