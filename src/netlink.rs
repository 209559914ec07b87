//! The kernel's network tables over rtnetlink.
//!
//! rtnetlink has a connection for changes and for questions with one answer.
//! Whole tables and events have sockets of their own: netlink-proto decodes all
//! that its socket has, up to 20 kB for a link, before anyone takes the first of it;
//! and it gives an event that the agent's own request caused to that request
//! (rust-netlink/netlink-proto#24).

mod neighbour;

use std::{io, net::IpAddr, pin::pin, time::Duration};

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage},
};
use rtnetlink::{
    Handle, LinkUnspec, MulticastGroup,
    packet_core::{
        NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage,
        NetlinkPayload, NetlinkSerializable,
    },
    sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};
use rustix::{
    io::Errno,
    net::{AddressFamily as Family, SocketType, netdevice, socket},
};

pub use self::neighbour::{Neighbour, NeighbourWatch, neighbour_failed};
use crate::model::{Address, AddressState};

/// The value of the first attribute of a kind in a message.
macro_rules! attribute {
    ($attributes:expr, $kind:path) => {
        $attributes.iter().find_map(|attribute| match attribute {
            $kind(value) => Some(value),
            _ => None,
        })
    };
}
pub(crate) use attribute;

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often a table is read until it does not change meanwhile; the next event brings
/// another pass anyway.
pub(crate) const ATTEMPTS: usize = 4;

/// Receive buffer of the watching socket in bytes; the kernel gives at most
/// net.core.rmem_max. An overrun costs one pass more, so this only has to make it rare.
const WATCH_BUFFER: usize = 1 << 20;

/// Why a request to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel gives no socket.
    #[error(
        "cannot open an rtnetlink socket: {0}; the agent needs AF_NETLINK (RestrictAddressFamilies=)"
    )]
    Open(#[from] io::Error),
    /// The kernel refused, with its error number.
    #[error("the kernel refused to {what}: {error}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Its reason.
        error: io::Error,
    },
    /// The library failed.
    #[error("cannot {what}: {message}")]
    Failed {
        /// What was asked.
        what: &'static str,
        /// The library's words.
        message: String,
    },
    /// No answer.
    #[error("the kernel did not finish to {what} within {} s", DEADLINE.as_secs())]
    Timeout {
        /// What was asked.
        what: &'static str,
    },
}

impl NetlinkError {
    /// The kernel's reason where it refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&io::Error> {
        match self {
            Self::Refused { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether the kernel refused because there is no such link.
    #[must_use]
    pub fn is_no_device(&self) -> bool {
        let errno = self.refusal().and_then(Errno::from_io_error);
        errno == Some(Errno::NODEV)
    }
}

/// The connection for questions and changes.
#[derive(Debug, Clone)]
pub struct Netlink(Handle);

impl Netlink {
    /// Opens a connection that the current tokio runtime drives.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn connect() -> Result<Self, NetlinkError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// The link of this index, if it exists.
    ///
    /// # Errors
    /// The kernel's refusal, or no answer in time.
    pub async fn link(&self, index: u32) -> Result<Option<LinkMessage>, NetlinkError> {
        let mut found = pin!(self.0.link().get().match_index(index).execute());
        match within("read a link", found.try_next()).await {
            Err(error) if error.is_no_device() => Ok(None),
            found => found,
        }
    }

    /// The link by which the kernel sends a packet to this address, as its rules and
    /// all its tables have it (RTM_GETROUTE); `None` where it has no way, as behind a
    /// route of type unreachable, prohibit or blackhole, or without IPv6.
    ///
    /// # Errors
    /// No answer in time, or the library's failure.
    pub async fn link_towards(&self, to: IpAddr, mark: u32) -> Result<Option<u32>, NetlinkError> {
        let (family, length, to) = match to {
            IpAddr::V4(to) => (AddressFamily::Inet, 32, RouteAddress::Inet(to)),
            IpAddr::V6(to) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(to)),
        };
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        request.header.destination_prefix_length = length;
        request.attributes.push(RouteAttribute::Destination(to));
        if mark != 0 {
            request.attributes.push(RouteAttribute::Mark(mark));
        }
        let mut answers = Box::pin(self.0.route().get(request).execute());
        let answer = within("look up a route", async { answers.try_next().await }).await;
        match answer {
            Ok(route) => {
                Ok(route
                    .and_then(|route| attribute!(route.attributes, RouteAttribute::Oif).copied()))
            }
            Err(NetlinkError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a change. `flags` beside those of every request: NLM_F_CREATE and the like.
    ///
    /// # Errors
    /// The kernel's refusal, or no answer in time.
    pub async fn change(
        &self,
        what: &'static str,
        change: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        let mut request = NetlinkMessage::from(change);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut handle = self.0.clone();
        let made = async {
            let mut answers = pin!(handle.request(request)?);
            while let Some(answer) = answers.next().await {
                if let NetlinkPayload::Error(error) = answer.payload
                    && error.code.is_some()
                {
                    return Err(rtnetlink::Error::NetlinkError(error));
                }
            }
            Ok(())
        };
        within(what, made).await
    }

    /// Sets a link's MTU. It cannot create a link.
    ///
    /// # Errors
    /// The kernel's refusal (EINVAL beyond the device's bounds, EPERM), or no answer in time.
    pub async fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), NetlinkError> {
        let change = LinkUnspec::new_with_index(index).mtu(mtu).build();
        within("set an MTU", self.0.link().set(change).execute()).await
    }
}

async fn within<T>(
    what: &'static str,
    request: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, NetlinkError> {
    let answer = tokio::time::timeout(DEADLINE, request).await;
    answer
        .map_err(|_| NetlinkError::Timeout { what })?
        .map_err(|error| match error {
            rtnetlink::Error::NetlinkError(refusal) => NetlinkError::Refused {
                what,
                error: refusal.to_io(),
            },
            error => NetlinkError::Failed {
                what,
                message: error.to_string(),
            },
        })
}

/// What `keep` makes of each entry of a table. The table is read again if it changed
/// in the meantime.
///
/// # Errors
/// The kernel's refusal, or no answer in time.
pub async fn dump<T, I: IntoIterator<Item = T>>(
    what: &'static str,
    table: RouteNetlinkMessage,
    keep: impl Fn(RouteNetlinkMessage) -> I,
) -> Result<Vec<T>, NetlinkError> {
    let request = encoded(table.into(), NLM_F_DUMP);
    let read = async {
        let mut left = ATTEMPTS;
        loop {
            let mut found = Vec::new();
            let consistent = read_table(&request, |entry| found.extend(keep(entry))).await?;
            left -= 1;
            if consistent || left == 0 {
                return Ok(found);
            }
        }
    };
    let read = tokio::time::timeout(DEADLINE, read).await;
    read.map_err(|_| NetlinkError::Timeout { what })?
        .map_err(|error| NetlinkError::Refused { what, error })
}

/// Reads a table, one entry after the other. Returns whether nothing changed meanwhile.
async fn read_table(request: &[u8], mut take: impl FnMut(RouteNetlinkMessage)) -> io::Result<bool> {
    let socket = TokioSocket::new(NETLINK_ROUTE)?;
    // The messages of other processes are refused then.
    socket.socket_ref().connect(&SocketAddr::new(0, 0))?;
    socket.send(request).await?;
    let mut consistent = true;
    loop {
        let (datagram, _) = socket.recv_from_full().await?;
        if decode(&datagram, &mut consistent, &mut take)? {
            return Ok(consistent);
        }
    }
}

/// Takes the entries of a datagram, and whether the kernel says that the table changed
/// (NLM_F_DUMP_INTR in its Documentation/userspace-api/netlink/intro.rst). Returns
/// whether this is the end.
fn decode(
    mut rest: &[u8],
    consistent: &mut bool,
    take: &mut impl FnMut(RouteNetlinkMessage),
) -> io::Result<bool> {
    while let Ok(next) = NetlinkBuffer::new_checked(rest) {
        *consistent &= next.flags() & NLM_F_DUMP_INTR == 0;
        let message = NetlinkMessage::deserialize(rest);
        match message.map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(entry)) => take(entry),
            Ok(NetlinkPayload::Error(refusal)) => return Err(refusal.to_io()),
            Ok(NetlinkPayload::Done(done)) if done.code != 0 => {
                return Err(io::Error::from_raw_os_error(-done.code));
            }
            Ok(NetlinkPayload::Done(_)) => return Ok(true),
            // The agent needs none of those that the library does not know.
            Ok(_) | Err(_) => {}
        }
        let length = (next.length() as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(false)
}

/// Why the kernel refused, in its answer to a request with NLM_F_ACK.
fn refusal(answer: &[u8]) -> Option<io::Error> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer);
    match message.map(|message| message.payload) {
        Ok(NetlinkPayload::Error(answer)) => answer.code.map(|_| answer.to_io()),
        _ => None,
    }
}

/// All addresses.
///
/// # Errors
/// The kernel's refusal, or no answer in time.
pub async fn addresses() -> Result<Vec<Address>, NetlinkError> {
    let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let keep = |entry| match entry {
        RouteNetlinkMessage::NewAddress(message) => address_of(&message),
        _ => None,
    };
    dump("list the addresses", all, keep).await
}

/// A request as the kernel reads it.
pub(crate) fn encoded<T: NetlinkSerializable>(
    mut request: NetlinkMessage<T>,
    flags: u16,
) -> Vec<u8> {
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}

/// The socket for events. One only means that everything should be read again. So
/// an overrun, where the kernel dropped events, needs nothing special. The content
/// only tells what no pass decides on.
pub struct Watch {
    socket: TokioSocket,
    /// Addresses that were announced since an event of another kind.
    announced: Vec<Address>,
    /// Whether IPv6 routes and rules count.
    pub ipv6_ways: bool,
}

impl Watch {
    /// Subscribes to changes of links, addresses, routes and the rules that choose
    /// among tables of routes.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn subscribe() -> Result<Self, NetlinkError> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind_auto()?;
        for group in [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv6Rule,
        ] {
            socket.socket_mut().add_membership(group as u32)?;
        }
        socket.socket_mut().set_rx_buf_sz(WATCH_BUFFER)?;
        Ok(Self {
            socket,
            announced: Vec::new(),
            ipv6_ways: false,
        })
    }

    /// Waits for at least one event that counts and takes all that are waiting.
    ///
    /// # Errors
    /// The system's reason, where the socket fails.
    pub async fn changed(&mut self) -> io::Result<()> {
        let mut counts = false;
        while !counts {
            let mut next = Some(self.socket.recv_from_full().await);
            while let Some(received) = next {
                match received {
                    Ok((events, _)) => {
                        let mut look = |event| counts |= self.counts(&event);
                        decode(&events, &mut true, &mut look)?;
                    }
                    // What was dropped may have counted.
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                        counts = true;
                    }
                    Err(error) => return Err(error),
                }
                next = self.socket.recv_from_full().now_or_never();
            }
        }
        Ok(())
    }

    /// Whether a pass may decide otherwise after this event.
    fn counts(&mut self, event: &RouteNetlinkMessage) -> bool {
        use RouteNetlinkMessage::{DelRoute, DelRule, NewAddress, NewRoute, NewRule};
        match event {
            NewRoute(route) | DelRoute(route)
                if route.header.address_family == AddressFamily::Inet6 =>
            {
                return self.ipv6_ways;
            }
            NewRule(rule) | DelRule(rule) if rule.header.family == AddressFamily::Inet6 => {
                return self.ipv6_ways;
            }
            // A router's advertisement and a DHCP lease announce an address again
            // and again, with new lifetimes.
            NewAddress(message) => {
                let address = address_of(message);
                let known = address.as_ref().is_some_and(|a| self.announced.contains(a));
                self.announced.extend(address.filter(|_| !known));
                return !known;
            }
            _ => {}
        }
        self.announced.clear();
        true
    }
}

/// An address as a message states it.
fn address_of(message: &AddressMessage) -> Option<Address> {
    // On a point-to-point link Address is the other end and Local our own.
    let own = attribute!(message.attributes, AddressAttribute::Local);
    let ip = *own.or_else(|| attribute!(message.attributes, AddressAttribute::Address))?;
    let net = IpNet::new(ip, message.header.prefix_len).ok()?;
    // The attribute has all flags, the header the first eight of them.
    let flags = attribute!(message.attributes, AddressAttribute::Flags).copied();
    let flags =
        flags.unwrap_or_else(|| AddressFlags::from_bits_retain(message.header.flags.bits().into()));
    let cache = attribute!(message.attributes, AddressAttribute::CacheInfo);
    // A duplicate stays tentative for ever.
    let state = [
        (AddressFlags::Dadfailed, AddressState::Duplicate),
        (AddressFlags::Tentative, AddressState::Tentative),
        (AddressFlags::Deprecated, AddressState::Deprecated),
    ];
    let state = state.into_iter().find(|(flag, _)| flags.contains(*flag));
    let state = state.filter(|_| ip.is_ipv6()).map(|(_, state)| state);
    Some(Address {
        link: message.header.index,
        net,
        global: message.header.scope == AddressScope::Universe,
        // IPv6's flag for temporary addresses has the same bit.
        secondary: flags.contains(AddressFlags::Secondary),
        state: state.unwrap_or_default(),
        created: cache.map_or(0, |cache| cache.cstamp),
    })
}

/// The number of the interface of that name.
#[must_use]
pub fn index_of(name: &str) -> Option<u32> {
    // Any family does. The tunnel's unit may not have one of the internet's.
    let socket = socket(Family::UNIX, SocketType::DGRAM, None).ok()?;
    netdevice::name_to_index(socket, name).ok()
}

/// The MTU that a link message states.
#[must_use]
pub fn mtu_of(link: &LinkMessage) -> Option<u32> {
    attribute!(link.attributes, LinkAttribute::Mtu).copied()
}

/// The name that a link message states.
#[must_use]
pub fn name_of(link: &LinkMessage) -> Option<&str> {
    attribute!(link.attributes, LinkAttribute::IfName).map(String::as_str)
}

/// The kind of device that a link message states.
#[must_use]
pub fn kind_of(link: &LinkMessage) -> Option<&InfoKind> {
    let info = attribute!(link.attributes, LinkAttribute::LinkInfo)?;
    attribute!(info, LinkInfo::Kind)
}

#[cfg(test)]
mod tests;
