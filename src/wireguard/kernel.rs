//! WireGuard in the kernel: read through wireguard-control, set by our own
//! message.
//!
//! wireguard-control's update first sends RTM_NEWLINK with CREATE, so on a name
//! that was just removed it makes a new, empty device; and it cannot send
//! WGPEER_F_UPDATE_ONLY, so a peer that is removed between reading and setting
//! comes back as a ghost without addresses. The message here addresses the
//! device by index and carries that flag: neither can happen.
//!
//! Reading has two traps. A big peer is spread over several messages, and the
//! continuations come as peers of their own without a keepalive: the first entry
//! of a key counts. And the library's types print private keys with `{:?}`:
//! nothing of theirs leaves this file.

use std::{
    collections::BTreeMap,
    fmt, io, net,
    time::{Duration, SystemTime},
};

use ipnet::IpNet;
use netlink_packet_generic::{
    GenlFamily, GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_packet_wireguard::{
    WireguardAttribute, WireguardCmd, WireguardMessage, WireguardPeer, WireguardPeerAttribute,
    WireguardPeerFlags,
};
use rtnetlink::{
    packet_core::{Emitable, NLM_F_ACK, NetlinkDeserializable, NetlinkMessage, NetlinkPayload},
    sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC},
};
use rustix::{
    io::Errno,
    net::sockopt::{Timeout, set_socket_timeout},
};
use wireguard_control::{Backend, Device as Read, PeerInfo};

use crate::{
    model::{Device, InterfaceName, Peer, PublicKey},
    netlink::{attribute, encoded},
};

/// Peers in one message: at most 90 bytes each, far below the 64 KiB that a netlink
/// attribute can hold.
const AT_ONCE: usize = 256;

/// Longest wait for the kernel's acknowledgement.
const DEADLINE: Duration = Duration::from_secs(2);

pub(super) fn read(name: &InterfaceName) -> io::Result<Device> {
    let parsed = name.as_str().parse().map_err(|_| Errno::NODEV)?;
    let read = Read::get(&parsed, Backend::Kernel)?;
    Ok(Device {
        listen_port: read.listen_port.filter(|port| *port != 0),
        mark: read.fwmark.unwrap_or(0),
        peers: merged(&read.peers),
    })
}

/// The peers by their keys: the first entry of a peer has all of it but addresses.
fn merged(entries: &[PeerInfo]) -> BTreeMap<PublicKey, Peer> {
    let mut peers: BTreeMap<_, Peer> = BTreeMap::new();
    for PeerInfo { config, stats } in entries {
        let handshake = stats
            .last_handshake_time
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let key = PublicKey::new(config.public_key.0);
        let peer = peers.entry(key).or_insert(Peer {
            keepalive: config.persistent_keepalive_interval.unwrap_or(0),
            endpoint: config.endpoint,
            handshake: handshake.map(|since| since.as_secs()),
            allowed: Vec::new(),
            received: stats.rx_bytes,
            sent: stats.tx_bytes,
        });
        let allowed = config.allowed_ips.iter();
        let allowed = allowed.filter_map(|net| IpNet::new(net.address, net.cidr).ok());
        peer.allowed.extend(allowed);
    }
    peers
}

/// Gives peers of the device of this index a keepalive.
pub(super) fn set_keepalive(index: u32, peers: &[PublicKey], seconds: u16) -> io::Result<()> {
    let keepalive = WireguardPeerAttribute::PersistentKeepalive(seconds);
    let peers = peers.iter().map(|key| (*key, keepalive.clone()));
    set(index, &Vec::from_iter(peers))
}

/// Gives peers of the device of this index endpoints.
pub(super) fn set_endpoints(index: u32, peers: &[(PublicKey, net::SocketAddr)]) -> io::Result<()> {
    let endpoint = |(key, to): &(PublicKey, _)| (*key, WireguardPeerAttribute::Endpoint(*to));
    set(index, &Vec::from_iter(peers.iter().map(endpoint)))
}

fn set(index: u32, peers: &[(PublicKey, WireguardPeerAttribute)]) -> io::Result<()> {
    let socket = connect()?;
    let family = family(&socket)?;
    for some in peers.chunks(AT_ONCE) {
        let mut message = GenlMessage::from_payload(update(index, some));
        message.set_resolved_family_id(family);
        match request(&socket, message, NLM_F_ACK)? {
            NetlinkPayload::Error(error) if error.code.is_none() => {}
            answer => return Err(unexpected(answer, "the update")),
        }
    }
    Ok(())
}

fn update(index: u32, peers: &[(PublicKey, WireguardPeerAttribute)]) -> WireguardMessage {
    let peer = |(key, to): &(PublicKey, WireguardPeerAttribute)| {
        WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(*key.bytes()),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly),
            to.clone(),
        ])
    };
    WireguardMessage {
        cmd: WireguardCmd::SetDevice,
        attributes: vec![
            WireguardAttribute::IfIndex(index),
            WireguardAttribute::Peers(peers.iter().map(peer).collect()),
        ],
    }
}

fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(DEADLINE))?;
    Ok(socket)
}

/// The number that this kernel gave to the family "wireguard".
fn family(socket: &Socket) -> io::Result<u16> {
    let ask = GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName("wireguard".to_owned())],
    };
    match request(socket, GenlMessage::from_payload(ask), 0)? {
        NetlinkPayload::InnerMessage(answer) => {
            let id = attribute!(answer.payload.nlas, GenlCtrlAttrs::FamilyId).copied();
            id.ok_or_else(|| io::Error::other("the kernel names no family id for WireGuard"))
        }
        answer => Err(unexpected(answer, "the question for WireGuard's family")),
    }
}

/// Sends one message and waits for its answer.
fn request<T: GenlFamily + Emitable + fmt::Debug>(
    socket: &Socket,
    mut message: GenlMessage<T>,
    flags: u16,
) -> io::Result<NetlinkPayload<GenlMessage<T>>>
where
    GenlMessage<T>: NetlinkDeserializable,
{
    message.finalize();
    socket.send(&encoded(message.into(), flags), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    NetlinkMessage::deserialize(&answer)
        .map(|message| message.payload)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// The kernel's refusal, or an answer to something else.
fn unexpected<R>(answer: NetlinkPayload<R>, to: &str) -> io::Error {
    match answer {
        NetlinkPayload::Error(error) => error.to_io(),
        _ => io::Error::other(format!("the kernel answered out of turn to {to}")),
    }
}

#[cfg(test)]
mod tests;
