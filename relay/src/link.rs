//! The link between the guest's side of the tunnel and the switch: frames on a stream of
//! bytes, in both directions. The two ends are of one package or of two versions of it.
//!
//! A frame is a length (`u32`, big endian) and a body. With the top bit clear the body is a
//! packet: a virtio-net header of [`HEADER`] bytes with little-endian fields (Linux,
//! `uapi/linux/virtio_net.h`, as a tun with `IFF_VNET_HDR` has it) and an IP packet. With the
//! top bit set it is a control message: one JSON object, [`ToSwitch`] or [`FromSwitch`].
//!
//! Packets may exceed the MTU: the header of those says into which segments they are cut.

pub mod second;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::{error, fmt, mem};

use serde::{Deserialize, Serialize};

use crate::protocol::{Listen, Listener, MAX_LINE};
use second::{Place, Token};

/// The version of the link, which both ends say first. Within one version, unknown fields of
/// a message are ignored and an unknown message is an error.
pub const VERSION: u32 = 1;

/// The tunnel's MTU, in bytes.
pub const MTU: u16 = 1500;

/// The guest's addresses, with prefixes of [`PREFIX_V4`] and [`PREFIX_V6`] bits.
pub const GUEST_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 2);
/// As [`GUEST_V4`].
pub const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x736c, 0x6d73, 0, 0, 0, 0, 2);
/// The gateway, which is the switch itself.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 1);
/// As [`GATEWAY_V4`].
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x736c, 0x6d73, 0, 0, 0, 0, 1);
/// The switch's machine: its 127.0.0.1.
pub const HOST_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 254);
/// The switch's machine: its `::1`.
pub const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x736c, 0x6d73, 0, 0, 0, 0, 0xfe);
/// Bits of the prefix of [`GUEST_V4`].
pub const PREFIX_V4: u8 = 24;
/// Bits of the prefix of [`GUEST_V6`].
pub const PREFIX_V6: u8 = 64;

/// Bytes of the length before a body.
pub const PREFIX: usize = 4;
/// Bytes of the virtio-net header before a packet.
pub const HEADER: usize = 10;
/// Longest IP packet, in bytes.
pub const MAX_PACKET: usize = 65_535;

/// The bit of the length that says control message.
const CONTROL: u32 = 1 << 31;

/// What is read at once.
const CHUNK: usize = 256 * 1024;
/// Room for a chunk behind an unfinished packet.
const ROOM: usize = CHUNK + PREFIX + HEADER + MAX_PACKET;

/// What the guest's side sends. The first is [`ToSwitch::Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "message",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum ToSwitch {
    /// The guest's side speaks this version.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The program's own version, as the package has it.
        program: String,
        /// Addresses whose port 53 the switch's machine answers by its own resolver, beside
        /// the gateway: the nameservers that the guest routes here.
        #[serde(default)]
        nameservers: Vec<IpAddr>,
    },
    /// Send [`FromSwitch::Pong`] at once, before packets that wait.
    Ping {
        /// Returned.
        id: u64,
    },
    /// Send [`FromSwitch::Counters`].
    GetCounters,
    /// Listen for these and for no others. Those that listen already go on, with their
    /// connections.
    SetForwards {
        /// Returned in [`FromSwitch::Applied`].
        generation: u64,
        /// At most [`MAX_FORWARDS`]; more end the link.
        forwards: Vec<Forward>,
    },
    /// Connect there and show the token. [`FromSwitch::Stays`] answers where that fails.
    Move {
        /// Where the guest's side listens.
        to: Place,
        /// For this connection alone.
        token: Token,
    },
    /// The guest's side took the connection: no packet follows here, but there. The switch
    /// moves as well.
    Moved,
    /// The guest's side gave the connection up.
    Stay,
}

/// What the switch sends. The first is the answer to [`ToSwitch::Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "message",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum FromSwitch {
    /// The switch speaks the same version and carries packets from here on.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The program's own version, as the package has it.
        program: String,
        /// Whether the switch's machine has a route into the internet of IPv6.
        #[serde(default)]
        ipv6: bool,
    },
    /// The switch exits.
    Refused {
        /// One line of text.
        why: String,
    },
    /// The answer to [`ToSwitch::Ping`].
    Pong {
        /// The question's.
        id: u64,
    },
    /// The answer to [`ToSwitch::GetCounters`].
    Counters(Counters),
    /// The answer to [`ToSwitch::SetForwards`], and again when one listens that did not.
    Applied {
        /// The order's.
        generation: u64,
        /// Each of the order's forwards: that it listens, or why not.
        listeners: Vec<Listener>,
    },
    /// The answer to [`ToSwitch::Moved`]: no packet follows here, but there.
    Moved,
    /// There is no connection as [`ToSwitch::Move`] wants it.
    Stays {
        /// One line of text.
        why: String,
    },
}

/// Most forwards of a list.
pub const MAX_FORWARDS: usize = 512;

/// What the switch's machine listens for, and where it leads in the guest. Protocol, address
/// and port are unique in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Forward {
    /// Where it listens.
    #[serde(flatten)]
    pub listen: Listen,
    /// The guest's address in the tunnel. None: the one of the client's family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<IpAddr>,
    /// The port in the guest.
    pub guest_port: NonZeroU16,
}

/// The counters of a switch since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Counters {
    /// TCP connections now, those that are not established included.
    pub tcp_active: u32,
    /// TCP connections since the start.
    pub tcp_opened: u64,
    /// Of those, the ones that reached no server.
    pub tcp_failed: u64,
    /// TCP connections that were refused at a limit.
    pub tcp_refused: u64,
    /// Segments that were sent again to the guest.
    pub tcp_retransmitted: u64,
    /// UDP flows now.
    pub udp_active: u32,
    /// UDP flows since the start.
    pub udp_opened: u64,
    /// Names that were asked for.
    pub dns_queries: u64,
    /// Packets from the guest.
    pub packets_in: u64,
    /// Packets to the guest.
    pub packets_out: u64,
    /// Bytes of packets from the guest.
    pub bytes_in: u64,
    /// Bytes of packets to the guest.
    pub bytes_out: u64,
    /// Packets from the guest that were malformed, had a bad checksum or came from no
    /// address of the guest.
    pub invalid: u64,
    /// Valid packets from the guest that were dropped: an unknown protocol, a limit, or
    /// a socket that takes no more.
    pub dropped: u64,
}

/// A frame without its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A virtio-net header and an IP packet; at least [`HEADER`] bytes.
    Packet(&'a [u8]),
    /// A control message, to be read by [`message`].
    Control(&'a [u8]),
}

/// Why the link cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkError {
    /// A packet of so many bytes, the virtio-net header included, is too long or too short.
    Packet(u32),
    /// A control message of so many bytes is too long.
    Control(u32),
    /// A control message is none that this version knows; the reason.
    Message(String),
    /// A frame or a message that has no place where it came; which one.
    Misplaced(&'static str),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(length) => write!(f, "a frame with a packet of {length} bytes"),
            Self::Control(length) => write!(f, "a control message of {length} bytes"),
            Self::Message(reason) => write!(f, "an unknown control message: {reason}"),
            Self::Misplaced(what) => f.write_str(what),
        }
    }
}

impl error::Error for LinkError {}

/// Bytes from the other end, of which it yields whole frames. It allocates for the longest
/// frame that was announced and never shrinks: [`ROOM`], or `MAX_LINE` and a few.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: Vec<u8>,
    /// Where the bytes that were not yielded begin and end.
    start: usize,
    end: usize,
}

impl Frames {
    /// Where further bytes go; never empty. [`Frames::filled`] tells how many came.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let known = length(self.rest()).map_or(0, |(_, body)| body.min(MAX_LINE));
        let needed = (PREFIX + known).max(ROOM);
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes were written to [`Frames::space`].
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The next whole frame.
    ///
    /// # Errors
    ///
    /// A length beyond the limits; the frames before it were yielded.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, LinkError> {
        let (start, end) = (self.start, self.end);
        let rest = self.buffer.get(start..end).unwrap_or_default();
        let frame = split_first(rest)?;
        Ok(frame.map(|(frame, size)| {
            self.start += size;
            frame
        }))
    }

    /// The bytes of all whole frames, to be read by [`split`]. `spare` is a buffer to go on
    /// with. `None` without a whole frame.
    ///
    /// # Errors
    ///
    /// As [`Frames::next_frame`].
    pub fn take(&mut self, spare: Vec<u8>) -> Result<Option<Vec<u8>>, LinkError> {
        let rest = self.rest();
        let size = whole(rest)?;
        if size == 0 {
            return Ok(None);
        }
        let mut next = spare;
        if next.len() < ROOM {
            next.resize(ROOM, 0);
        }
        let tail = rest.get(size..).unwrap_or_default();
        let kept = tail.len();
        if next.len() < kept {
            next.resize(kept, 0);
        }
        if let Some(room) = next.get_mut(..kept) {
            room.copy_from_slice(tail);
        }
        let mut taken = mem::replace(&mut self.buffer, next);
        taken.truncate(self.start + size);
        taken.drain(..self.start);
        (self.start, self.end) = (0, kept);
        Ok(Some(taken))
    }

    /// The bytes of all whole frames, to be read by [`split`], and to be removed by
    /// [`Frames::consume`].
    ///
    /// # Errors
    ///
    /// As [`Frames::next_frame`].
    pub fn whole(&self) -> Result<&[u8], LinkError> {
        let rest = self.rest();
        Ok(rest.get(..whole(rest)?).unwrap_or_default())
    }

    /// Removes so many bytes.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }
}

/// Whether a length says control message, and the length of the body.
fn length(bytes: &[u8]) -> Option<(bool, usize)> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?);
    let body = usize::try_from(length & !CONTROL).ok()?;
    Some((length & CONTROL != 0, body))
}

/// The first frame, and its size with the length.
fn split_first(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, LinkError> {
    let Some((control, body)) = length(bytes) else {
        return Ok(None);
    };
    let reported = u32::try_from(body).unwrap_or(u32::MAX);
    if control && body > MAX_LINE {
        return Err(LinkError::Control(reported));
    }
    if !control && !(HEADER..=HEADER + MAX_PACKET).contains(&body) {
        return Err(LinkError::Packet(reported));
    }
    let size = PREFIX + body;
    let frame = bytes.get(PREFIX..size).map(|body| {
        let frame = if control {
            Frame::Control(body)
        } else {
            Frame::Packet(body)
        };
        (frame, size)
    });
    Ok(frame)
}

/// How many bytes at the beginning are whole frames; an error if the first is invalid.
fn whole(bytes: &[u8]) -> Result<usize, LinkError> {
    let mut size = 0;
    loop {
        match split_first(bytes.get(size..).unwrap_or_default()) {
            Ok(Some((_, one))) => size += one,
            Err(error) if size == 0 => return Err(error),
            Ok(None) | Err(_) => return Ok(size),
        }
    }
}

/// The frames in bytes of whole ones, as [`Frames::whole`] returns them.
pub fn split(mut bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    std::iter::from_fn(move || {
        let (frame, size) = split_first(bytes).ok()??;
        bytes = bytes.get(size..)?;
        Some(frame)
    })
}

/// The message in a control frame.
///
/// # Errors
///
/// It is none that this version knows.
pub fn message<'a, M: Deserialize<'a>>(body: &'a [u8]) -> Result<M, LinkError> {
    serde_json::from_slice(body).map_err(|error| LinkError::Message(error.to_string()))
}

/// Appends a frame with a control message. One that is too long for a frame is left out.
pub fn put_message(out: &mut Vec<u8>, message: &impl Serialize) {
    let Ok(body) = serde_json::to_vec(message) else {
        return;
    };
    if let Ok(length) = u32::try_from(body.len())
        && body.len() <= MAX_LINE
    {
        out.extend_from_slice(&(length | CONTROL).to_be_bytes());
        out.extend_from_slice(&body);
    }
}

/// Appends a frame with a virtio-net header and an IP packet, together [`HEADER`] to
/// [`HEADER`] + [`MAX_PACKET`] bytes. Nothing is appended for others.
pub fn put_packet(out: &mut Vec<u8>, packet: &[u8]) {
    let at = begin_packet(out);
    out.extend_from_slice(packet);
    end_packet(out, at);
}

/// Appends the length of a frame with a packet, to be completed by [`end_packet`] with the
/// returned place. For those who read or build the packet in the buffer itself.
#[must_use]
pub fn begin_packet(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    at
}

/// Completes the frame that [`begin_packet`] began there. Without a valid length it is
/// removed.
pub fn end_packet(out: &mut Vec<u8>, at: usize) {
    let body = out.len().saturating_sub(at + PREFIX);
    let valid = (HEADER..=HEADER + MAX_PACKET).contains(&body);
    match (u32::try_from(body), out.get_mut(at..at + PREFIX)) {
        (Ok(length), Some(place)) if valid => place.copy_from_slice(&length.to_be_bytes()),
        _ => out.truncate(at),
    }
}

#[cfg(test)]
mod tests;
