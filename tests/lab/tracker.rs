//! The port tracker of WSL in mirrored and consomme mode.
//!
//! WSL's mini_init has the kernel stop every bind() of the distributions (seccomp user
//! notification, seccomp_unotify(2)) until Windows has said whether they may have the
//! port; only then the kernel decides. What Windows gave is released once no socket of
//! the guest has it (microsoft/WSL: src/linux/init/GnsPortTracker.cpp). Sockets that the
//! kernel opens for itself, as WireGuard's, never come by here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::contract::Protocol;
use crate::control::{Change, Reply, Request};
use crate::launch::Unavailable;
use crate::world::{World, until};

/// How often WSL looks for ports that were closed.
const REFRESH: Duration = Duration::from_millis(500);
/// How long a port that was never seen open is kept.
const GRACE: Duration = Duration::from_secs(60);
/// Windows ignores it.
const DNS: u16 = 53;

/// A port of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Port {
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    /// Its family counts, too.
    pub(crate) address: IpAddr,
}

/// The tracker as a trial sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ports {
    /// What Windows passes on to the guest.
    pub(crate) registered: BTreeSet<Port>,
    /// Every question, and whether Windows agreed.
    pub(crate) asked: Vec<(Port, bool)>,
    /// How often it has looked for ports that were closed.
    pub(crate) rounds: usize,
}

impl Ports {
    /// The addresses at which Windows passes a UDP port on.
    pub(crate) fn udp(&self, port: u16) -> Vec<IpAddr> {
        let is_one = |one: &&Port| (one.protocol, one.port) == (Protocol::Udp, port);
        let registered = self.registered.iter().filter(is_one);
        registered.map(|one| one.address).collect()
    }

    /// How often a UDP port was asked for.
    pub(crate) fn asked_udp(&self, port: u16) -> usize {
        let is_one = |(one, _): &&(Port, bool)| (one.protocol, one.port) == (Protocol::Udp, port);
        self.asked.iter().filter(is_one).count()
    }
}

#[derive(Debug, Default)]
struct State {
    /// When one that was not seen open yet is given up.
    registered: BTreeMap<Port, Option<Instant>>,
    asked: Vec<(Port, bool)>,
    /// What programs of Windows have.
    windows: BTreeSet<(Protocol, u16)>,
    rounds: usize,
}

/// The tracker of a world.
#[derive(Debug, Clone)]
pub(crate) struct Tracker(Arc<Mutex<State>>);

impl Tracker {
    /// Tracks the ports of this process and all that it starts from now on. There must be
    /// no other thread yet. `exact` is consomme's way: an address of its own is kept for
    /// each socket, where mirrored mode keeps a port while any socket has it.
    ///
    /// # Errors
    /// The kernel does not hand bind() over.
    pub(crate) fn start(exact: bool) -> Result<Self> {
        let listener = listen().map_err(|error| {
            Unavailable(format!(
                "this kernel does not stop bind() for a port tracker (seccomp user notification): {error}"
            ))
        })?;
        let space = fs::read_link("/proc/self/ns/net")?;
        let tracker = Self(Arc::default());
        let (answers, refreshes) = (tracker.clone(), tracker.clone());
        std::thread::spawn(move || answers.answer(&listener, &space));
        std::thread::spawn(move || refreshes.refresh(exact));
        Ok(tracker)
    }

    /// What it knows.
    pub(crate) fn ports(&self) -> Ports {
        let state = self.state();
        Ports {
            registered: state.registered.keys().copied().collect(),
            asked: state.asked.clone(),
            rounds: state.rounds,
        }
    }

    /// A program of Windows opens or closes a port.
    pub(crate) fn windows_has(&self, protocol: Protocol, port: u16, has: bool) {
        let windows = &mut self.state().windows;
        if has {
            windows.insert((protocol, port));
        } else {
            windows.remove(&(protocol, port));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, listener: &OwnedFd, space: &std::path::Path) {
        loop {
            let call = match receive(listener) {
                Ok(call) => call,
                // Its process has ended meanwhile.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT)) => {
                    continue;
                }
                Err(error) => return eprintln!("the port tracker ends: {error}"),
            };
            // What is not understood is the kernel's to refuse.
            let port = asked_for(&call, space).ok().flatten();
            // What was read may be another process's where the caller has ended.
            let agreed = !is_valid(listener, call.id) || port.is_none_or(|port| self.agrees(port));
            // A caller that was killed needs no answer.
            drop(reply(listener, call.id, agreed));
        }
    }

    /// Whether the guest may have a port.
    fn agrees(&self, port: Port) -> bool {
        let ignored = match port.address {
            IpAddr::V4(address) => address.is_loopback() && address != Ipv4Addr::LOCALHOST,
            IpAddr::V6(_) => false,
        };
        if ignored || port.port == DNS || port.port == 0 {
            return true;
        }
        let mut state = self.state();
        let known = state.registered.contains_key(&port);
        let agreed = known || !state.windows.contains(&(port.protocol, port.port));
        state.asked.push((port, agreed));
        if agreed {
            state.registered.insert(port, Some(Instant::now() + GRACE));
        }
        agreed
    }

    fn refresh(&self, exact: bool) {
        loop {
            std::thread::sleep(REFRESH);
            let Ok(open) = open_ports() else { continue };
            let is_open = |port: &Port| {
                let mut open = open.iter();
                open.any(|one| match exact {
                    true => one == port,
                    false => (one.protocol, one.port) == (port.protocol, port.port),
                })
            };
            let mut state = self.state();
            state.rounds += 1;
            state.registered.retain(|port, until| {
                if is_open(port) {
                    *until = None;
                    return true;
                }
                until.is_some_and(|until| until > Instant::now())
            });
        }
    }
}

/// The ports of this network namespace's sockets, the kernel's own included.
fn open_ports() -> io::Result<BTreeSet<Port>> {
    let mut found = BTreeSet::new();
    for (protocol, file) in [
        (Protocol::Tcp, "tcp"),
        (Protocol::Tcp, "tcp6"),
        (Protocol::Udp, "udp"),
        (Protocol::Udp, "udp6"),
    ] {
        let table = fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        let table = match table {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            table => table?,
        };
        let ports = table.lines().skip(1).filter_map(|line| {
            let (address, port) = line.split_whitespace().nth(1)?.split_once(':')?;
            Some(Port {
                protocol,
                port: u16::from_str_radix(port, 16).ok()?,
                address: hex_address(address)?,
            })
        });
        found.extend(ports);
    }
    Ok(found)
}

/// An address as /proc/net has it: each 32 bits in this machine's order of bytes.
fn hex_address(text: &str) -> Option<IpAddr> {
    let word = |from: usize| u32::from_str_radix(text.get(from..from + 8)?, 16).ok();
    if text.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?.to_ne_bytes()).into());
    }
    let mut bytes = [0; 16];
    for (place, four) in bytes.chunks_exact_mut(4).enumerate() {
        four.copy_from_slice(&word(place * 8)?.to_ne_bytes());
    }
    Some(Ipv6Addr::from(bytes).into())
}

/// The port that a bind() asks for, if it is one of IP in this network namespace.
fn asked_for(call: &libc::seccomp_notif, space: &std::path::Path) -> Result<Option<Port>> {
    let process = format!("/proc/{}", call.pid);
    if fs::read_link(format!("{process}/ns/net"))? != space {
        return Ok(None);
    }
    let [socket, at, length, ..] = call.data.args;
    let mut bytes = vec![0; usize::try_from(length)?.min(28)];
    File::open(format!("{process}/mem"))?.read_exact_at(&mut bytes, at)?;
    let [a, b, high, low, rest @ ..] = bytes.as_slice() else {
        return Ok(None);
    };
    let address: IpAddr = match i32::from(u16::from_ne_bytes([*a, *b])) {
        libc::AF_INET => rest
            .first_chunk::<4>()
            .copied()
            .context("too short")?
            .into(),
        libc::AF_INET6 => {
            let address = rest.get(4..20).context("too short")?;
            <[u8; 16]>::try_from(address)?.into()
        }
        _ => return Ok(None),
    };
    let mut name = [0; 16];
    let path = format!("{process}/fd/{socket}");
    let size = rustix::fs::getxattr(path, "system.sockprotoname", &mut name)?;
    let protocol = match name.get(..size).unwrap_or_default() {
        b"TCP\0" | b"TCPv6\0" => Protocol::Tcp,
        b"UDP\0" | b"UDPv6\0" => Protocol::Udp,
        _ => return Ok(None),
    };
    let port = u16::from_be_bytes([*high, *low]);
    Ok(Some(Port {
        protocol,
        port,
        address,
    }))
}

/// This machine in the kernel's words (AUDIT_ARCH_*, include/uapi/linux/audit.h).
const ARCHITECTURE: u32 = if cfg!(target_arch = "aarch64") {
    0xC000_00B7
} else {
    0xC000_003E
};

/// Has the kernel stop each bind() of this thread and of all that it starts; WSL sets
/// the same flag, without which signals interrupt binds.
fn listen() -> io::Result<OwnedFd> {
    let code = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    };
    let load = |offset: usize| {
        let offset = u32::try_from(offset).unwrap_or_default();
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
    };
    let equal = |k, jf| code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, 0, jf);
    let end = |k| code(libc::BPF_RET | libc::BPF_K, k, 0, 0);
    let bind = u32::try_from(libc::SYS_bind).unwrap_or_default();
    let mut filter = [
        load(std::mem::offset_of!(libc::seccomp_data, arch)),
        equal(ARCHITECTURE, 3),
        load(std::mem::offset_of!(libc::seccomp_data, nr)),
        equal(bind, 1),
        end(libc::SECCOMP_RET_USER_NOTIF),
        end(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap_or_default(),
        filter: filter.as_mut_ptr(),
    };
    let flags =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    #[expect(unsafe_code, reason = "neither std nor rustix has seccomp(2)")]
    // SAFETY: the program and its filter outlive the call, which copies them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match i32::try_from(answer) {
        Ok(fd @ 0..) => {
            #[expect(unsafe_code, reason = "a descriptor as the kernel gives it")]
            // SAFETY: the kernel has just opened it for this process alone.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            Ok(fd)
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// The next bind(), stopped.
fn receive(listener: &OwnedFd) -> io::Result<libc::seccomp_notif> {
    let mut call = libc::seccomp_notif {
        id: 0,
        pid: 0,
        flags: 0,
        data: libc::seccomp_data {
            nr: 0,
            arch: 0,
            instruction_pointer: 0,
            args: [0; 6],
        },
    };
    ask(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &mut call)?;
    Ok(call)
}

/// Whether the caller still waits.
fn is_valid(listener: &OwnedFd, mut id: u64) -> bool {
    ask(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut id).is_ok()
}

/// Lets the kernel decide, or refuses as Windows does.
fn reply(listener: &OwnedFd, id: u64, agreed: bool) -> io::Result<()> {
    let goes_on = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or_default();
    let mut reply = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: if agreed { 0 } else { -libc::EADDRINUSE },
        flags: if agreed { goes_on } else { 0 },
    };
    ask(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &mut reply)
}

fn ask<T>(listener: &OwnedFd, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    debug_assert!(size_of::<T>() >= size_of::<u64>());
    #[expect(unsafe_code, reason = "neither std nor rustix has these requests")]
    // SAFETY: each request above is made with the type that it reads and writes.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl World {
    /// The port tracker. The error is [`Unavailable`] where the world has none.
    pub(crate) fn ports(&self) -> Result<Ports> {
        match self.ask(&Request::Ports)? {
            Reply::Ports(ports) => Ok(ports),
            Reply::NoTracker(why) => Err(Unavailable(why).into()),
            other => bail!("the world gave another answer: {other:?}"),
        }
    }

    /// A program of Windows opens or closes a UDP port.
    pub(crate) fn windows_has(&self, port: u16, has: bool) -> Result<()> {
        self.ask(&Request::Change(Change::Port(Protocol::Udp, port, has)))
            .map(drop)
    }

    /// Waits until the tracker has looked twice at what is open now.
    pub(crate) fn two_rounds(&self) -> Result<Ports> {
        let before = self.ports()?.rounds;
        self.ports_become("a round", |ports| ports.rounds > before + 2)
    }

    /// Waits until the tracker is so.
    pub(crate) fn ports_become(
        &self,
        what: &str,
        wanted: impl Fn(&Ports) -> bool,
    ) -> Result<Ports> {
        let mut last = self.ports()?;
        until(what, crate::agent::LIMIT, || {
            last = self.ports()?;
            Ok(wanted(&last).then(|| last.clone()))
        })
        .with_context(|| format!("{:?}", self.ports()))
    }
}
