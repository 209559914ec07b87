//! The kernel's network tables over rtnetlink.
//!
//! Watching and asking use separate connections: netlink-proto gives an event
//! that the agent's own request caused to that request, and a shared
//! connection would never show it (rust-netlink/netlink-proto#24).

use std::{
    future::ready,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::{Pin, pin},
    time::Duration,
};

use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt};
use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{InfoKind, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage},
    route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use rtnetlink::{
    Handle, LinkUnspec, MulticastGroup, RouteMessageBuilder,
    packet_core::{NetlinkMessage, NetlinkPayload},
    sys::{AsyncSocket, SocketAddr},
};
use rustix::io::Errno;

use crate::model::Address;

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

/// A dump whose end is lost in an overrun never ends in netlink-proto.
const DEADLINE: Duration = Duration::from_secs(5);

/// Receive buffer of the watching connection in bytes; the kernel gives at most
/// net.core.rmem_max. An overrun costs one dump more, so this only has to make it
/// rare.
const WATCH_BUFFER: usize = 1 << 20;

/// Why a request to the kernel failed, or watching it.
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
    /// The watching socket was closed.
    #[error("the rtnetlink event stream ended")]
    Ended,
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

    /// All links, without their statistics.
    ///
    /// # Errors
    /// The kernel's refusal, or no answer in time.
    pub async fn links(&self) -> Result<Vec<LinkMessage>, NetlinkError> {
        let mask = vec![LinkExtentMask::SkipStats];
        let all = self
            .0
            .link()
            .get()
            .set_filter_mask(AddressFamily::Unspec, mask);
        within("list the links", all.execute().try_collect()).await
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

    /// All addresses.
    ///
    /// # Errors
    /// The kernel's refusal, or no answer in time.
    pub async fn addresses(&self) -> Result<Vec<Address>, NetlinkError> {
        let all = self.0.address().get().execute();
        let all = all.try_filter_map(|message| ready(Ok(address_of(&message))));
        within("list the addresses", all.try_collect()).await
    }

    /// All IPv4 unicast routes without a destination: the default routes, of
    /// every table.
    ///
    /// # Errors
    /// The kernel's refusal, or no answer in time.
    pub async fn default_routes(&self) -> Result<Vec<RouteMessage>, NetlinkError> {
        let is_default = |route: &RouteMessage| {
            let header = &route.header;
            ready(header.destination_prefix_length == 0 && header.kind == RouteType::Unicast)
        };
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let all = self.0.route().get(all).execute().try_filter(is_default);
        within("list the routes", all.try_collect()).await
    }

    /// The link by which the kernel sends a packet to this address, as its rules and
    /// all its tables have it (RTM_GETROUTE); `None` where it has no way, as behind a
    /// route of type unreachable, prohibit or blackhole, or without IPv6.
    ///
    /// # Errors
    /// No answer in time, or the library's failure.
    pub async fn link_towards(&self, to: IpAddr, mark: u32) -> Result<Option<u32>, NetlinkError> {
        let mut request = match to {
            IpAddr::V4(to) => RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(to, 32)
                .build(),
            IpAddr::V6(to) => RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(to, 128)
                .build(),
        };
        // The builder's are those of a route to be added.
        request.header.table = 0;
        request.header.protocol = RouteProtocol::Unspec;
        request.header.scope = RouteScope::Universe;
        request.header.kind = RouteType::Unspec;
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

/// An event or what else comes over the connection for events.
type Event = NetlinkMessage<RouteNetlinkMessage>;

/// The connection for events. One only means that everything should be read again. So
/// an overrun, where the kernel dropped events, needs nothing special. The content
/// only tells what no pass decides on.
pub struct Watch {
    events: Pin<Box<dyn Stream<Item = (Event, SocketAddr)> + Send>>,
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
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv6Rule,
        ];
        let (mut connection, _, messages) = rtnetlink::new_multicast_connection(&groups)?;
        let socket = connection.socket_mut().socket_mut();
        socket.set_rx_buf_sz(WATCH_BUFFER)?;
        tokio::spawn(connection);
        Ok(Self {
            events: Box::pin(messages),
            announced: Vec::new(),
            ipv6_ways: false,
        })
    }

    /// Waits for at least one event that counts and takes all that are waiting.
    ///
    /// # Errors
    /// [`NetlinkError::Ended`] when the socket was closed.
    pub async fn changed(&mut self) -> Result<(), NetlinkError> {
        let mut counts = false;
        while !counts {
            let first = self.events.next().await.ok_or(NetlinkError::Ended)?;
            let mut next = Some(first);
            while let Some((event, _)) = next {
                counts |= self.counts(&event);
                next = self.events.next().now_or_never().flatten();
            }
        }
        Ok(())
    }

    /// Whether a pass may decide otherwise after this event.
    fn counts(&mut self, event: &Event) -> bool {
        use RouteNetlinkMessage::{DelRoute, DelRule, NewAddress, NewRoute, NewRule};
        if let NetlinkPayload::InnerMessage(event) = &event.payload {
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
    // IPv6's temporary flag has the same bit as IPv4's secondary.
    let flags = attribute!(message.attributes, AddressAttribute::Flags);
    let secondary = ip.is_ipv4()
        && (message.header.flags.contains(AddressHeaderFlags::Secondary)
            || flags.is_some_and(|flags| flags.contains(AddressFlags::Secondary)));
    Some(Address {
        link: message.header.index,
        net,
        global: message.header.scope == AddressScope::Universe,
        secondary,
    })
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
