//! Asks Windows for a port that WireGuard in the kernel has.
//!
//! WSL stops each bind() and lets Windows decide before the kernel does (seccomp,
//! microsoft/WSL: src/linux/init/GnsPortTracker.cpp). The socket that asks here has a
//! port already, so that the kernel refuses the call with EINVAL, whatever the port
//! (bind(2)): nothing is taken from WireGuard, and an answer of Windows, which has
//! other numbers, is known from the kernel's. Untested on Windows.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, socket_with},
};

use super::{ApplyError, is_final};
use crate::{
    blocking::{KeyedFlights, run_blocking},
    fs::file,
    model::{Code, PortClaim},
    observe,
};

/// Longest wait for Windows' answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most sockets that are remembered; each opening of a port is one.
const MOST: usize = 256;

/// Each claim is made in a thread of its own.
static WRITING: Mutex<()> = Mutex::new(());

/// Claims a port and remembers that in `file`.
pub(super) async fn claim(
    ports: &KeyedFlights<u16>,
    file: PathBuf,
    claim: PortClaim,
) -> Result<bool, ApplyError> {
    let (what, port) = (format!("{} port {}", claim.name, claim.port), claim.port);
    let call = move || match observe::udp_cookie(claim.port) {
        Ok(found) if found == Some(claim.socket) => remembered(&file, &claim).map(|()| true),
        // Closed meanwhile; where that is not known the next pass says so.
        Ok(_) | Err(_) => Ok(false),
    };
    let done = async { run_blocking(ports.begin(&port)?, DEADLINE, call).await };
    done.await
        .map_err(|error| (Code::WireguardPortUnclaimed, error.to_string(), true))
        .and_then(|done| done)
        .map_err(|(code, why, retry)| ApplyError::Failed {
            what,
            why,
            retry,
            code,
        })
}

type Failed = (Code, String, bool);

/// Asks once it is remembered that Windows was asked: what cannot be remembered would be
/// claimed again and again, and WSL may not give claims back (microsoft/WSL#41162).
fn remembered(file: &Path, claim: &PortClaim) -> Result<(), Failed> {
    remember(file, |sockets| {
        sockets.insert(claim.socket);
        while sockets.len() > MOST {
            sockets.pop_first();
        }
    })?;
    let asked = ask(claim.port);
    if asked.is_err() {
        remember(file, |sockets| {
            sockets.retain(|socket| *socket != claim.socket)
        })?;
    }
    asked
}

fn remember(file: &Path, change: impl FnOnce(&mut BTreeSet<u64>)) -> Result<(), Failed> {
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sockets = observe::claimed(file);
    change(&mut sockets);
    let failed = |why: String| (Code::WireguardPortUnclaimed, why, true);
    let text = serde_json::to_vec(&sockets).map_err(|error| failed(error.to_string()))?;
    file::write(file, &text, 0o644).map_err(|error| failed(error.to_string()))
}

/// WireGuard has a socket of each family, and in consomme mode each is passed on for
/// itself.
fn ask(port: u16) -> Result<(), Failed> {
    for (any, own) in [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    ] {
        let any = SocketAddr::new(any, port);
        match ask_for(any, SocketAddr::new(own, 9)) {
            // A kernel without IPv6.
            Err(Errno::AFNOSUPPORT) if any.is_ipv6() => {}
            Err(errno @ (Errno::ADDRINUSE | Errno::NOBUFS)) => {
                let why = format!("Windows refused UDP {any}: {errno}");
                return Err((Code::WireguardPortRefused, why, false));
            }
            Err(errno) => {
                let why = format!("cannot ask Windows for UDP {any}: {errno}");
                return Err((Code::WireguardPortUnclaimed, why, !is_final(&errno.into())));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// One bind() that the kernel refuses. The errors are Windows', or of what came before.
fn ask_for(any: SocketAddr, own: SocketAddr) -> Result<(), Errno> {
    let family = match any {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // Takes a port without a bind() that WSL would see, also where there is no way to
    // the address, and sends nothing.
    let connected = connect(&socket, &own);
    let has_port = SocketAddr::try_from(getsockname(&socket)?).is_ok_and(|at| at.port() != 0);
    if !has_port {
        return Err(connected.err().unwrap_or(Errno::NOTCONN));
    }
    match bind(&socket, &any) {
        // The kernel's own refusals, which it comes to where Windows has agreed.
        Ok(()) | Err(Errno::INVAL | Errno::ACCESS) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests;
