//! Whether Windows' NAT lets anything through: the gateway's answer to the kernel's own
//! solicitation, which Windows' firewall does not drop as it does ping, and the name servers
//! behind it. Both by the node's link alone, so that neither goes through the tunnel.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    path::Path,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::join;

use super::{
    dns::{answers_by, udp_towards},
    resolv::{RESOLV_CONF, resolver},
};
use crate::{
    model::{Address, GatewayAnswer, Nameserver, NatLook, Underlay, is_private},
    netlink::{self, Neighbour, NeighbourWatch, Netlink, NetlinkError},
};

/// How long the gateway and the name servers have: two solicitations of the kernel, which are
/// a second apart (net.ipv4.neigh.*.retrans_time_ms), and two queries.
const DEADLINE: Duration = Duration::from_secs(2);

/// Of the name servers that glibc takes.
const MOST: usize = 3;

/// Where packets go that are not answered (RFC 863).
const DISCARD: u16 = 9;

/// Where systemd-resolved writes down its servers (systemd-resolved.service(8)).
const UPLINK: &str = "/run/systemd/resolve/resolv.conf";

/// Looks at NAT, behind the node's link. `tunnel` is the index of the tunnel's link, by which
/// packets to the name servers go while it is up. A server that is in no private network is
/// queried only if `public` allows it.
pub async fn look_at_nat(
    netlink: &Netlink,
    underlay: Underlay,
    tunnel: Option<u32>,
    public: bool,
) -> NatLook {
    let servers = async {
        let mut servers = servers(netlink, &underlay, tunnel).await;
        servers.retain(|server| public || is_private(server.address));
        let ask = |server: Nameserver| {
            let link = &underlay.link;
            async move { (server.address, answers_by(&server, link, DEADLINE).await) }
        };
        join_all(servers.into_iter().map(ask)).await
    };
    let (gateway, servers) = join!(gateway(&underlay), servers);
    NatLook {
        gateway,
        servers,
        underlay,
    }
}

async fn gateway(underlay: &Underlay) -> GatewayAnswer {
    match solicit(underlay).await {
        Ok(Neighbour::Answers) => GatewayAnswer::Answers,
        Ok(Neighbour::Silent) => GatewayAnswer::Silent,
        Ok(Neighbour::Stale) => GatewayAnswer::Unknown("it was not asked".to_owned()),
        Ok(Neighbour::Fixed) => {
            GatewayAnswer::Unknown("its entry in the neighbour table is a fixed one".to_owned())
        }
        Err(error) => GatewayAnswer::Unknown(error.to_string()),
    }
}

async fn solicit(underlay: &Underlay) -> Result<Neighbour, NetlinkError> {
    let mut watch = NeighbourWatch::new(underlay.index, underlay.gateway)?;
    match watch.now().await? {
        Neighbour::Fixed => return Ok(Neighbour::Fixed),
        // An answer of before says nothing of now.
        Neighbour::Answers | Neighbour::Stale => match watch.solicit().await {
            Ok(()) => {}
            // Not root: what the kernel knows has to do.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let now = watch.now().await?;
                if now == Neighbour::Answers {
                    return Ok(now);
                }
                send(underlay).await?;
            }
            // The entry was lost meanwhile.
            Err(_) => send(underlay).await?,
        },
        // The kernel asks for what it needs for a packet.
        Neighbour::Silent => send(underlay).await?,
    }
    watch.ended(DEADLINE).await
}

/// Sends an empty datagram to the gateway.
async fn send(underlay: &Underlay) -> Result<(), NetlinkError> {
    let to = match underlay.gateway {
        IpAddr::V4(_) => SocketAddr::new(underlay.gateway, DISCARD),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, DISCARD, 0, underlay.index).into(),
    };
    let sent = async { udp_towards(to, Some(&underlay.link)).await?.send(&[]).await };
    sent.await.map(drop).map_err(|error| NetlinkError::Refused {
        what: "send a datagram to the gateway",
        error,
    })
}

/// The name servers that are reached through the gateway, or the gateway itself where there
/// is none: Windows resolves names there, unless it does so by its own tunnel.
async fn servers(netlink: &Netlink, underlay: &Underlay, tunnel: Option<u32>) -> Vec<Nameserver> {
    let addresses = netlink::addresses().await.unwrap_or_default();
    let is_here = |server: &Nameserver| {
        let mut here = addresses.iter().map(|one: &Address| one.net.addr());
        server.address.is_loopback() || here.any(|here| here == server.address)
    };
    let read = |path| resolver(Path::new(path)).servers().to_vec();
    let mut listed = read(RESOLV_CONF);
    if listed.iter().all(|one| one.address.is_loopback()) {
        listed = read(UPLINK);
    }
    let mut servers = Vec::new();
    for server in listed.into_iter().take(MOST) {
        let way = netlink.link_towards(server.address, 0).await;
        let way = way.ok().flatten();
        let is_behind = way == Some(underlay.index) || way.is_some() && way == tunnel;
        if is_behind && !is_here(&server) {
            servers.push(server);
        }
    }
    if servers.is_empty() {
        // A gateway of IPv6 has an address of the link alone.
        servers.push(Nameserver {
            address: underlay.gateway,
            zone: Some(underlay.link.clone()),
        });
    }
    servers
}
