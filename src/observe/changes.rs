//! Whether sockets can have begun or ended to listen since the last look.
//!
//! A list of ten thousand sockets costs the kernel a millisecond, even if it answers with
//! none of them. But it counts the sockets that have a port and, of TCP, all that exist
//! (proc_pid_net(5): sockstat, `inuse` and `alloc`), and announces each that is freed
//! (sock_diag(7): `SKNLGRP_INET_TCP_DESTROY` and its like). As long as these say nothing, the
//! list is the same, with one exception: a socket of TCP leaves `inuse` when it is shut down
//! and is announced only when its last descriptor is closed. If between two looks another
//! one begins to listen that was made before, both counts are as before; the list that is
//! due in any case has it.
//!
//! Connections come and go all the time and listen to nothing. So those that are established
//! are taken off the counts of TCP (`CurrEstab` of snmp), and the end of a socket of TCP that
//! had a peer is no reason for a list.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

use rtnetlink::{
    packet_core::{NlaBuffer, NlasIterator},
    sys::{Socket as Netlink, protocols::NETLINK_SOCK_DIAG},
};
use rustix::time::{ClockId, clock_gettime};

use super::discovery::{Owner, Question, listeners};
use crate::model::{Listener, Protocol};

/// Longest time without a list: what changes a listener without one that comes or goes, such
/// as SO_BINDTODEVICE or a UDP socket that gives up its peer, is found by then; so is one
/// that begins to listen while another is shut down and not closed.
const LIST: Duration = Duration::from_secs(5);
/// Most ends of sockets between two looks: each announcement costs the kernel some
/// microseconds, so that on a busy machine lists are the cheaper way.
const ENDS: usize = 64;
/// As long as the counts are the same, so many times what the last list took of a CPU pass
/// before sockets that ended cause another one: where they end all the time, that is less than
/// 0.05 % of a CPU. With fewer than some thousand sockets it is each look.
const SPARE: u32 = 2_000;
/// On a busy machine, until announcements are tried again.
const BUSY: Duration = Duration::from_secs(60);

/// Notices that sockets come and go, and lists them. The default one notices nothing, so anything may have
/// changed.
#[derive(Default)]
pub struct SocketWatch {
    protocols: Vec<Protocol>,
    /// What has the kernel's counts.
    tables: Vec<File>,
    /// The counts of the last look.
    counts: Vec<i64>,
    /// Announcements of sockets that end; `None` where there are none.
    ends: Option<Netlink>,
    /// When a list is due in any case.
    due: Option<Instant>,
    /// Whether sockets have ended since the last one.
    owed: bool,
    /// When that was found necessary, and what it took.
    listed: Option<Instant>,
    took: Duration,
    /// When announcements are tried again.
    again: Option<Instant>,
}

impl SocketWatch {
    /// Notices the sockets of these protocols from now on.
    #[must_use]
    pub fn new(question: &Question) -> Self {
        let protocols = Vec::from_iter(question.protocols());
        // The second one exists where the kernel has IPv6.
        let mut tables = vec!["sockstat", "sockstat6"];
        tables.extend(protocols.contains(&Protocol::Tcp).then_some("snmp"));
        tables.retain(|_| !protocols.is_empty());
        let open = |name| File::open(format!("/proc/self/net/{name}")).ok();
        let mut watch = Self {
            tables: tables.into_iter().filter_map(open).collect(),
            protocols,
            ..Self::default()
        };
        watch.subscribe();
        watch
    }

    /// Whether a list made now can differ from one made when this was last asked.
    pub fn may_have_changed(&mut self, at: Instant) -> bool {
        let ended = self.ends.as_ref().and_then(ended);
        let was_busy = self.ends.is_some() && ended.is_none();
        if self.again.is_some_and(|again| again <= at) {
            // From here on: what ended before is in no announcement.
            self.again = None;
            self.subscribe();
        }
        if was_busy {
            (self.ends, self.again) = (None, Some(at + BUSY));
        }
        let counts = self.counts().unwrap_or_default();
        self.decide(ended, counts, at)
    }

    /// The list of what listens.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn list(&mut self, question: &Question) -> io::Result<BTreeMap<Listener, Owner>> {
        let begun = on_cpu();
        let found = listeners(question);
        self.took = on_cpu().saturating_sub(begun);
        found
    }

    /// Whether anything can have changed: by how many sockets have ended, where that is
    /// known, the counts now, none where they are not known, and the time.
    fn decide(&mut self, ended: Option<usize>, counts: Vec<i64>, at: Instant) -> bool {
        let same = !counts.is_empty() && counts == self.counts;
        self.counts = counts;
        let is_due = self.due.is_none_or(|due| due <= at);
        self.owed |= ended != Some(0);
        let rested = (self.listed).is_none_or(|last| last + self.took.saturating_mul(SPARE) <= at);
        let changed = !same || is_due || self.owed && rested;
        if changed {
            (self.owed, self.listed, self.due) = (false, Some(at), Some(at + LIST));
        }
        changed
    }

    /// How many sockets there are, of each protocol; none where a table does not say.
    fn counts(&self) -> io::Result<Vec<i64>> {
        let mut all = String::new();
        for table in &self.tables {
            let mut text = [0; 4096];
            let length = table.read_at(&mut text, 0)?;
            all += &String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        }
        let counts = self.protocols.iter().map(|one| counts(&all, *one));
        let counts: Option<Vec<_>> = counts.collect();
        Ok(counts.unwrap_or_default().concat())
    }

    /// Without announcements looks make lists as [`SPARE`] has it.
    fn subscribe(&mut self) {
        self.ends = announcements(&self.protocols).ok();
    }
}

/// The time that this thread has had on a CPU.
fn on_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Of lines such as `TCP: inuse 5 orphan 0 tw 2 alloc 7 mem 1` and `UDP6: inuse 2` what a
/// socket that listens changes: `alloc` also where another one leaves `inuse`; it counts all
/// network namespaces. Established connections are taken off, and `tw` is none of it.
fn counts(text: &str, protocol: Protocol) -> Option<Vec<i64>> {
    let name = protocol.to_string().to_uppercase();
    let of = |line: &str, what: &str| {
        let mut words = line.split_whitespace().skip_while(|word| *word != what);
        words.nth(1)?.parse::<i64>().ok()
    };
    let line = |version: &str| {
        let head = format!("{name}{version}: inuse");
        text.lines().find(|line| line.starts_with(&head))
    };
    let first = line("")?;
    let in_use = of(first, "inuse")? + line("6").and_then(|line| of(line, "inuse")).unwrap_or(0);
    let allocated = match protocol {
        Protocol::Tcp => Some(of(first, "alloc")?),
        Protocol::Udp => None,
    };
    let established = allocated.and_then(|_| established(text)).unwrap_or(0);
    let counted = std::iter::once(in_use).chain(allocated);
    Some(counted.map(|count| count - established).collect())
}

/// Of two lines that begin with `Tcp:`, with names and numbers, the number of `CurrEstab`.
fn established(text: &str) -> Option<i64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let place = names.split(' ').position(|name| name == "CurrEstab")?;
    numbers.split(' ').nth(place)?.parse().ok()
}

/// Of include/uapi/linux/sock_diag.h: enum sknetlink_groups.
fn groups(protocol: Protocol) -> [u32; 2] {
    match protocol {
        Protocol::Tcp => [1, 3],
        Protocol::Udp => [2, 4],
    }
}

fn announcements(protocols: &[Protocol]) -> io::Result<Netlink> {
    let mut socket = Netlink::new(NETLINK_SOCK_DIAG)?;
    socket.set_non_blocking(true)?;
    socket.bind_auto()?;
    for group in protocols.iter().flat_map(|one| groups(*one)) {
        socket.add_membership(group)?;
    }
    Ok(socket)
}

/// How many sockets have ended that can have listened; `None` where more have ended than are
/// looked at, or that is not known.
fn ended(announcements: &Netlink) -> Option<usize> {
    let mut count = 0;
    let mut message = Vec::with_capacity(128);
    for _ in 0..ENDS {
        message.clear();
        match announcements.recv(&mut message, 0) {
            Ok(_) => count += usize::from(!was_connection(&message)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(count),
            Err(_) => return None,
        }
    }
    None
}

/// Whether an announcement is about a connection of TCP: a struct inet_diag_msg with a peer's
/// port, and its protocol as an attribute (include/uapi/linux/inet_diag.h). A socket of UDP
/// with a peer may be counted like one without.
fn was_connection(message: &[u8]) -> bool {
    const INET_DIAG_PROTOCOL: u16 = 10;
    const IPPROTO_TCP: u8 = 6;
    let has_peer = matches!(message.get(22..24), Some(port) if port != [0, 0]);
    let attributes = message.get(16 + 72..).unwrap_or_default();
    let mut attributes = NlasIterator::new(attributes).flatten();
    let is_tcp =
        |one: NlaBuffer<&[u8]>| one.kind() == INET_DIAG_PROTOCOL && one.value() == [IPPROTO_TCP];
    has_peer && attributes.any(is_tcp)
}

#[cfg(test)]
mod tests;
