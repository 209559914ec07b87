//! The guest's side of the tunnel: a network for this distribution by way of a program on
//! Windows, the switch, which connects out with ordinary sockets. It needs neither Windows'
//! NAT nor an adapter nor an administrator.
//!
//! Everything here ends with this process: the kernel removes the device and with it the
//! addresses and routes, whatever ends the process.

mod api;
mod beat;
mod device;
mod error;
mod forwards;
mod moving;
mod orders;
mod proxy;
mod publish;
mod pump;
mod second;
mod servers;
mod session;
mod start;
mod tap;
mod ways;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep, sleep_until},
};
use wslmesh_relay::tun::Kind;

use self::{
    device::Device,
    forwards::Forwards,
    publish::Publisher,
    second::Plan,
    servers::Servers,
    session::{Ended, Session},
    start::{Way, system},
    ways::Ways,
};
pub use self::{
    error::TunnelError,
    proxy::{Proxy, run as run_proxy},
    pump::Fault,
    tap::{Tap, run as run_tap},
};
use crate::{
    blocking::{SingleFlight, run_blocking},
    interop,
    model::{Nameserver, TUNNEL_LINK},
    netlink::{self, Netlink},
    observe::{RESOLV_CONF, resolver},
    paths::Paths,
};

/// How long the device outlives its switch: connections to servers are lost with that, but no
/// program sees its network go.
const KEPT: Duration = Duration::from_secs(2);
/// Between two starts in a row while the device is kept.
const PAUSE: Duration = Duration::from_millis(100);
/// Between attempts without a device: the first, and the longest.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);
/// A tunnel that was not up within this time since the start gives up.
const GIVE_UP: Duration = Duration::from_secs(15);
/// Longest wait for a start that hangs, as at a drive that does not answer.
const START: Duration = Duration::from_secs(20);
/// systemd-resolved's own list of servers, for those whose resolv.conf names its stub.
const UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";

/// How to run it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A Unix socket behind which a switch listens, instead of a program on Windows.
    pub connect: Option<PathBuf>,
    /// A Unix socket by which packets go once that switch has connected to it.
    pub second_way: Option<PathBuf>,
}

/// Runs the tunnel until SIGTERM or SIGINT.
///
/// # Errors
/// There can be no device, or it was never up within 15 s. Later failures are retried for
/// ever.
pub async fn run(options: Options, paths: Paths) -> Result<(), TunnelError> {
    let mut stop = Stop::new()?;
    // Before any thread is started. Where the kernel cannot, the unit does what it can.
    interop::confine(&paths.lib).unwrap_or_default();
    // Before anything is changed that is another tunnel's.
    Device::possible(TUNNEL_LINK)?;
    let netlink = Netlink::connect()?;
    // Of a process that was killed.
    ways::withdraw(&netlink).await?;
    let forwards = Forwards::new();
    let agent = orders::listen(&paths.runtime);
    let api = api::listen(&paths.runtime);
    let mut tunnel = Tunnel {
        forwards: forwards.clone(),
        plan: match (options.second_way, &options.connect) {
            (Some(path), _) => Plan::Unix(path),
            (None, Some(_)) => Plan::Stay("the switch is behind a Unix socket".to_owned()),
            (None, None) => Plan::Vsock,
        },
        way: match options.connect {
            Some(socket) => Way::Socket(socket),
            None => Way::Windows {
                lib: paths.lib.clone(),
                installed: false,
            },
        },
        netlink,
        publisher: Publisher::new(paths.runtime),
        device: None,
        lost: None,
        starts: SingleFlight::default(),
    };
    let result = select! {
        result = tunnel.keep_up() => result,
        () = orders::serve(agent, forwards.clone()) => Ok(()),
        () = api::serve(api, forwards) => Ok(()),
        () = stop.requested() => Ok(()),
    };
    tunnel.publisher.stopping();
    ways::withdraw(&tunnel.netlink).await.unwrap_or_default();
    result
}

/// Signals that end this process.
struct Stop(Signal, Signal);

impl Stop {
    fn new() -> Result<Self, TunnelError> {
        let catch = |kind| signal(kind).map_err(system("catch signals"));
        Ok(Self(
            catch(SignalKind::terminate())?,
            catch(SignalKind::interrupt())?,
        ))
    }

    async fn requested(&mut self) {
        select! { _ = self.0.recv() => {}, _ = self.1.recv() => {} }
    }
}

/// The tunnel across its switches.
struct Tunnel {
    way: Way,
    /// By what packets are to go.
    plan: Plan,
    netlink: Netlink,
    publisher: Publisher,
    forwards: Forwards,
    /// The device and its routes, while there are some.
    device: Option<(Device, Ways)>,
    /// When the last switch was lost.
    lost: Option<Instant>,
    starts: SingleFlight,
}

impl Tunnel {
    async fn keep_up(&mut self) -> Result<(), TunnelError> {
        let begin = Instant::now();
        let mut delay = FIRST;
        loop {
            let error = match self.session().await {
                Ok(mut session) => {
                    let served = Instant::now();
                    let (device, ways) = match &mut self.device {
                        Some((device, ways)) => (device, ways),
                        // It was made for the session.
                        None => continue,
                    };
                    let (plan, publisher) = (&mut self.plan, &mut self.publisher);
                    let served_by = session.serve(device, ways, plan, publisher, &self.forwards);
                    let Ended { error, device_lost } = served_by.await;
                    self.forwards.lost();
                    let error = self.end(session, error).await;
                    self.lost = Some(Instant::now());
                    if device_lost {
                        self.close();
                    }
                    if served.elapsed() > KEPT {
                        delay = FIRST;
                    }
                    error
                }
                Err(error) => error,
            };
            self.publisher.failed(&error);
            if error.is_final() {
                return Err(error);
            }
            if let (Way::Windows { installed, .. }, TunnelError::Forbidden(_)) =
                (&mut self.way, &error)
            {
                // A policy may allow what is in a folder of administrators.
                *installed = !*installed;
            }
            if self.device.is_some() && self.lost.is_some_and(|lost| lost.elapsed() < KEPT) {
                sleep(PAUSE).await;
                continue;
            }
            self.close();
            if !self.publisher.was_up() && begin.elapsed() + delay > GIVE_UP {
                return Err(error);
            }
            sleep(delay).await;
            delay = (delay * 2).min(LONGEST);
        }
    }

    /// Closes the device: the kernel takes the routes away.
    fn close(&mut self) {
        if self.device.take().is_some() {
            self.publisher.closed();
        }
    }

    /// Starts a switch and makes what it needs. The device of before is closed once it has
    /// been without a switch for 2 s.
    async fn session(&mut self) -> Result<Session, TunnelError> {
        let servers = self.servers().await?;
        let permit = self.starts.begin()?;
        let (way, named) = (self.way.clone(), servers.all().collect());
        let start = run_blocking(permit, START, move || Session::start(&way, named));
        let mut start = std::pin::pin!(start);
        let kept_until = self.lost.filter(|_| self.device.is_some());
        let started = match kept_until {
            Some(lost) => select! {
                started = &mut start => started,
                () = sleep_until((lost + KEPT).into()) => {
                    self.close();
                    start.await
                }
            },
            None => start.await,
        };
        let session = started??;
        if self.device.is_none() {
            let device = Device::open(TUNNEL_LINK, Kind::Tun)?;
            let ways = Ways::up(self.netlink.clone(), device.index).await?;
            self.device = Some((device, ways));
        }
        Ok(session)
    }

    /// Ends a switch, and says why it ended.
    async fn end(&mut self, session: Session, error: TunnelError) -> TunnelError {
        let Ok(permit) = self.starts.begin() else {
            return error;
        };
        let (sender, mut why) = tokio::sync::oneshot::channel();
        let end = move || {
            let error = session.end(error);
            drop(sender.send(error));
        };
        let ended = run_blocking(permit, START, end).await;
        match (ended, why.try_recv()) {
            (_, Ok(error)) => error,
            (Err(error), _) => error.into(),
            (Ok(()), Err(_)) => TunnelError::Ended("nothing is known of it".to_owned()),
        }
    }

    async fn servers(&self) -> Result<Servers, TunnelError> {
        let index = self.device.as_ref().map_or(0, |(device, _)| device.index);
        servers(index).await
    }
}

/// The name servers of this machine now; `index` is the tunnel's link.
async fn servers(index: u32) -> Result<Servers, TunnelError> {
    let addresses = netlink::addresses().await?;
    let local: Vec<_> = addresses.iter().map(|address| address.net.addr()).collect();
    let gateways = ways::gateways(index).await?;
    let named = [RESOLV_CONF, UPSTREAM].map(|path| resolver(path.as_ref()));
    let [own, upstream] = &named;
    let stub = own.has(|address| address.is_loopback());
    let upstream = upstream.servers().iter().filter(|_| stub);
    let named: Vec<Nameserver> = own.servers().iter().chain(upstream).cloned().collect();
    Ok(Servers::of(&named, &local, &gateways))
}
