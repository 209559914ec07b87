//! Whether a neighbour on a link answers: the kernel is asked to solicit it, and says what
//! came of that.

use std::{io, net::IpAddr, time::Duration};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
};
use rtnetlink::{
    MulticastGroup,
    packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REPLACE},
    sys::{AsyncSocket, AsyncSocketExt, Socket, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};
use tokio::time::{Instant, timeout_at};

use super::{NetlinkError, attribute, decode, dump, encoded};

/// What the kernel knows of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// It answered.
    Answers,
    /// It was solicited and has not answered, or nothing was sent to it yet.
    Silent,
    /// It was known once, and was not asked since.
    Stale,
    /// Its address is set by hand, so the kernel never asks it.
    Fixed,
}

impl Neighbour {
    fn of(state: NeighbourState) -> Self {
        match state {
            NeighbourState::Reachable => Self::Answers,
            NeighbourState::Stale | NeighbourState::Delay => Self::Stale,
            NeighbourState::Permanent | NeighbourState::Noarp => Self::Fixed,
            _ => Self::Silent,
        }
    }
}

/// The answers of one neighbour.
pub struct NeighbourWatch {
    socket: TokioSocket,
    link: u32,
    to: IpAddr,
}

impl NeighbourWatch {
    /// Follows the neighbour of this address on this link.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn new(link: u32, to: IpAddr) -> Result<Self, NetlinkError> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind_auto()?;
        let group = MulticastGroup::Neigh as u32;
        socket.socket_mut().add_membership(group)?;
        Ok(Self { socket, link, to })
    }

    /// What the kernel knows of it now.
    ///
    /// # Errors
    /// The kernel's refusal, or no answer in time.
    pub async fn now(&self) -> Result<Neighbour, NetlinkError> {
        let all = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        let keep = |entry| self.state(&entry);
        let found = dump("list the neighbours", all, keep).await?;
        let found = found.first().copied();
        Ok(Neighbour::of(found.unwrap_or_default()))
    }

    /// Has the kernel solicit a neighbour that it knows, whatever it knows of it; what it does
    /// not know it solicits for the next packet. This makes no entry.
    ///
    /// # Errors
    /// The kernel's refusal: ENOENT where there is no such entry, EINVAL where it has no
    /// address, EPERM without CAP_NET_ADMIN.
    pub async fn solicit(&self) -> io::Result<()> {
        let mut probe = NeighbourMessage::default();
        let (family, to) = match self.to {
            IpAddr::V4(to) => (AddressFamily::Inet, NeighbourAddress::Inet(to)),
            IpAddr::V6(to) => (AddressFamily::Inet6, NeighbourAddress::Inet6(to)),
        };
        (probe.header.family, probe.header.ifindex) = (family, self.link);
        probe.header.state = NeighbourState::Probe;
        probe.attributes.push(NeighbourAttribute::Destination(to));
        let request = RouteNetlinkMessage::NewNeighbour(probe);
        let request = encoded(request.into(), NLM_F_REPLACE | NLM_F_ACK);
        let socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_ref().connect(&SocketAddr::new(0, 0))?;
        socket.send(&request).await?;
        // The kernel answers in the call, so that this waits for nothing.
        let (answer, _) = socket.recv_from_full().await?;
        match super::refusal(&answer) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Waits until the solicitation has ended, until the deadline; then as [`Self::now`].
    ///
    /// # Errors
    /// The kernel's refusal, or no answer in time.
    pub async fn ended(&mut self, within: Duration) -> Result<Neighbour, NetlinkError> {
        let deadline = Instant::now() + within;
        while let Ok(received) = timeout_at(deadline, self.socket.recv_from_full()).await {
            // Events that were dropped are made up for by the table.
            let Ok((events, _)) = received else { break };
            let mut last = None;
            let mut take = |event| last = self.state(&event).or(last);
            if decode(&events, &mut true, &mut take).is_err() {
                break;
            }
            match last {
                Some(NeighbourState::Reachable) => return Ok(Neighbour::Answers),
                Some(NeighbourState::Failed) => return Ok(Neighbour::Silent),
                _ => {}
            }
        }
        self.now().await
    }

    fn state(&self, entry: &RouteNetlinkMessage) -> Option<NeighbourState> {
        state_of(entry, self.link, self.to)
    }
}

/// The state in an entry or an event, if it is this neighbour's.
fn state_of(entry: &RouteNetlinkMessage, link: u32, to: IpAddr) -> Option<NeighbourState> {
    let (RouteNetlinkMessage::NewNeighbour(entry) | RouteNetlinkMessage::DelNeighbour(entry)) =
        entry
    else {
        return None;
    };
    let address = attribute!(entry.attributes, NeighbourAttribute::Destination);
    let is_it = match (address?, to) {
        (NeighbourAddress::Inet(one), IpAddr::V4(to)) => *one == to,
        (NeighbourAddress::Inet6(one), IpAddr::V6(to)) => *one == to,
        _ => false,
    };
    (is_it && entry.header.ifindex == link).then_some(entry.header.state)
}

/// Whether a neighbour was solicited for some packet and did not answer, as the kernel has it
/// now. Waits for nothing; what cannot be read is no failure.
#[must_use]
pub fn neighbour_failed(link: u32, to: IpAddr) -> bool {
    let mut state = None;
    let read = || -> io::Result<()> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let all = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        socket.send(&encoded(all.into(), NLM_F_DUMP), 0)?;
        let mut take = |entry| state = state_of(&entry, link, to).or(state);
        // The kernel makes each part of the table in the call that takes it.
        while !decode(&socket.recv_from_full()?.0, &mut true, &mut take)? {}
        Ok(())
    };
    let read = { read }();
    read.is_ok()
        && matches!(
            state,
            Some(NeighbourState::Failed | NeighbourState::Incomplete)
        )
}
