//! Finds the path to a peer and sends the probes.

mod icmp;
mod wire;

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::join;

use self::wire::Sockets;
use super::observation;
use crate::{
    blocking::{BlockingError, Permit, run_blocking},
    config::{Settings, Source},
    doctor::path::{Measured, PathReport, Side, Target, TargetError, existing, measure, target},
    model::{Device, InterfaceName, Link, LinkKind, Observation},
    netlink::Netlink,
    paths::Paths,
    report::{Document, read_status},
};

/// Why a path was not measured.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// There is no such path.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The configuration or the network could not be read.
    #[error("{0}")]
    Unread(String),
    /// This user may send no echo requests.
    #[error(
        "cannot send ICMP echo requests: {0}; run it as root (sudo), or let net.ipv4.ping_group_range have this user's group"
    )]
    NotAllowed(io::Error),
    /// The kernel refused a probe.
    #[error("cannot send to {0}: {1}; see `ip route get {0}` and the packet filter")]
    Refused(IpAddr, io::Error),
    /// What carries the tunnel has no way.
    #[error(
        "the endpoint {0} of the peer {1}: see `ip route get`, and AllowedIPs and FwMark of the tunnel (`sudo wg show`)"
    )]
    NoWay(SocketAddr, String),
    /// The thread that sends failed.
    #[error("cannot measure: {0}")]
    Thread(#[from] BlockingError),
}

/// Measures the path that `asked` means: an address in a tunnel, an endpoint, or the
/// beginning of a peer's public key. Sends about 200 packets in up to 10 s, and changes
/// nothing.
///
/// # Errors
/// [`PathError`].
pub async fn measure_path(
    source: &Source,
    paths: &Paths,
    asked: &str,
) -> Result<PathReport, PathError> {
    let settings = Settings::load(source).map_err(|error| PathError::Unread(error.to_string()))?;
    let document = read_status(&paths.runtime).ok().flatten();
    let agent = document.filter(Document::is_alive);
    let seen = observation(Some(&settings), agent.as_ref(), &paths.runtime).await;
    let seen = seen.map_err(PathError::Unread)?;
    let (devices, hidden) = devices(&seen);
    let target = target(asked, &devices, &hidden)?;
    let exist = existing(&devices, &hidden);

    let netlink = Netlink::connect().map_err(|error| PathError::Unread(error.to_string()))?;
    let towards = async |to, mark| -> Result<Option<&Link>, PathError> {
        let index = netlink.link_towards(to, mark).await;
        let index = index.map_err(|error| PathError::Unread(error.to_string()))?;
        Ok(seen.links.iter().find(|link| Some(link.index) == index))
    };
    let tunnels = settings.tunnels(&seen.links, None);
    let link = towards(target.destination, 0).await?;
    let link = through(&target, link, &tunnels, exist)?;
    let tunnel = side(link);
    let mut below = None;
    if let Some(peer) = &target.peer {
        let at = peer.endpoint;
        let found = match at {
            // A link-local address is of one link.
            SocketAddr::V6(at) if at.scope_id() != 0 => {
                seen.links.iter().find(|link| link.index == at.scope_id())
            }
            at => towards(at.ip(), peer.mark).await?,
        };
        let below_it = match found {
            Some(below) if below == link => Err(format!("is reached by {} itself", link.name)),
            below => below.ok_or_else(|| "has no route".to_owned()),
        };
        let below_it = below_it.map_err(|why| PathError::NoWay(at, why))?;
        below = Some((side(below_it), at, peer.mark));
    }
    let adapter = seen.host.facts.lowest_mtu.clone();
    let inside = ask((target.destination, 0).into(), 0, tunnel.mtu);
    let outside = async {
        match &below {
            Some((side, endpoint, mark)) => ask(*endpoint, *mark, side.mtu).await,
            None => Ok(None),
        }
    };
    let (inside, outside) = join!(inside, outside);
    let (inside, outside) = (inside?, outside?);
    Ok(PathReport {
        tunnel: Side {
            measured: inside,
            ..tunnel
        },
        underlay: below.map(|(side, ..)| Side {
            measured: outside,
            ..side
        }),
        target,
        adapter,
    })
}

/// The devices that could be read, and the names of the others.
fn devices(seen: &Observation) -> (Vec<(&InterfaceName, &Device)>, Vec<String>) {
    let (mut devices, mut hidden) = (Vec::new(), Vec::new());
    for (name, reading) in &seen.wireguard {
        match reading.device() {
            Some(device) => devices.push((name, device)),
            None => hidden.push(name.to_string()),
        }
    }
    (devices, hidden)
}

fn side(link: &Link) -> Side {
    Side {
        interface: link.name.clone(),
        mtu: link.mtu,
        measured: None,
    }
}

/// The tunnel by which the target is reached.
fn through<'a>(
    target: &Target,
    link: Option<&'a Link>,
    tunnels: &[&Link],
    exist: String,
) -> Result<&'a Link, TargetError> {
    let by = link.map_or_else(
        || "has no route".to_owned(),
        |link| format!("by {}", link.name),
    );
    let address = target.destination;
    match (&target.peer, link) {
        (Some(peer), Some(link)) if link.name == peer.device => Ok(link),
        (Some(peer), _) => Err(TargetError::NotRouted {
            address,
            peer: format!("{} of {}", peer.key, peer.device),
            by,
        }),
        (None, Some(link))
            if tunnels.contains(&link)
                || link.kind == LinkKind::Tun
                || link.kind.is_wireguard() =>
        {
            Ok(link)
        }
        (None, _) => Err(TargetError::NotInTunnel { address, by, exist }),
    }
}

/// Measures one way in a thread of its own.
async fn ask(to: SocketAddr, mark: u32, most: u32) -> Result<Option<Measured>, PathError> {
    let measured = move || {
        let mut sockets = Sockets::open(to, mark)?;
        measure(&mut sockets, most)
    };
    run_blocking(Permit::default(), wire::MOST, measured).await?
}
