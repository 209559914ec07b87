//! The sockets of WSL's init, by which Windows is called.
//!
//! The channel behind a socket may be dead although the socket accepts: init makes
//! it once, when the distribution or a session starts (microsoft/WSL:
//! src/linux/init/config.cpp, ConfigInitializeInstance), and never again. Only a
//! call shows that, after 10 s (binfmt.cpp, ACCEPT_TIMEOUT).

use std::{
    env, fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};

use super::SOCKETS;

/// How long a socket that started nothing comes after the others.
const ASIDE: Duration = Duration::from_secs(300);

/// How long the kernel may wait for room in a socket's queue: init serves one client
/// at a time, and others are queued.
const ROOM: Duration = Duration::from_secs(2);

/// Calls that were not started: by which socket, and when. Of the process: each call
/// looks for its way anew.
static FAILED: Mutex<Vec<(PathBuf, Instant)>> = Mutex::new(Vec::new());

fn failed() -> MutexGuard<'static, Vec<(PathBuf, Instant)>> {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    failed.retain(|(_, when)| when.elapsed() < ASIDE);
    failed
}

/// Puts a socket behind the others for some minutes.
pub(super) fn set_aside(socket: &Path) {
    failed().push((socket.to_owned(), Instant::now()));
}

/// A call was started by this socket.
pub(super) fn works(socket: &Path) {
    failed().retain(|(path, _)| path != socket);
}

/// How many calls were not started by it within some minutes, and none was since.
pub(super) fn failures(socket: &Path) -> usize {
    failed().iter().filter(|(path, _)| path == socket).count()
}

/// Init's own socket, which exists before any service, and as long as the distribution
/// runs.
pub(super) fn own() -> PathBuf {
    Path::new(SOCKETS).join("1_interop")
}

/// The sockets that may be used, best first: that of the terminal, from which Windows may
/// put a question in front of its user, as WSL's own client finds it (util.cpp,
/// UtilConnectToInteropServer); init's own, which is all that a service has; those of other
/// sessions; and last those that failed.
pub(super) fn candidates() -> Vec<PathBuf> {
    let named = env::var_os("WSL_INTEROP").map(PathBuf::from);
    let parents = parents().map(|id| Path::new(SOCKETS).join(format!("{id}_interop")));
    let sessions = fs::read_dir(SOCKETS).into_iter().flatten();
    let sessions = sessions.filter_map(|entry| Some(entry.ok()?.path()));
    let mut sessions: Vec<PathBuf> = sessions
        .filter(|path| path.to_string_lossy().ends_with("_interop"))
        .collect();
    sessions.sort();
    // Any user may write to the folder of the sockets, a symlink too, but WSL's init
    // makes its own as root.
    let of_root = |path: &PathBuf| {
        let found = fs::symlink_metadata(path);
        found.is_ok_and(|found| found.uid() == 0 && found.file_type().is_socket())
    };
    let all = named.into_iter().chain(parents).chain([own()]);
    let all = all.chain(sessions);
    ranked(all.filter(of_root), |path| failures(path) > 0)
}

/// The processes above this one, from the nearest on; at most as many as a terminal has.
fn parents() -> impl Iterator<Item = u32> {
    let parent = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name before it may hold anything (proc_pid_stat(5)).
        let (_, rest) = stat.rsplit_once(')')?;
        let id = rest.split_whitespace().nth(1)?.parse().ok()?;
        (id > 0).then_some(id)
    };
    std::iter::successors(Some(std::process::id()), parent)
        .skip(1)
        .take(64)
}

/// Each once, those set aside last.
fn ranked(sockets: impl Iterator<Item = PathBuf>, aside: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut ranked: Vec<PathBuf> = Vec::new();
    for socket in sockets {
        if !ranked.contains(&socket) {
            ranked.push(socket);
        }
    }
    ranked.sort_by_key(|socket| aside(socket));
    ranked
}

/// Whether it accepts a connection.
///
/// # Errors
/// It does not, or has no room within 2 s (EAGAIN).
pub(super) fn accepts(path: &Path) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // It limits the wait for room in the queue as well (unix(7): connect is a send).
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(ROOM))?;
    Ok(connect(&socket, &SocketAddrUnix::new(path)?)?)
}

#[cfg(test)]
mod tests;
