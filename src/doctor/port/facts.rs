//! What is known of a port: plain data, filled in by `read` and by whoever asks Windows.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
};

use crate::{
    config::{Backend, Forward, Settings},
    model::{
        ForwardBackend, ForwardStatus, HealthEntry, Listening, Mode, ModeState, PortRange,
        Protocol, ProxyRule, Reach, Socket, WindowsConnect, WindowsEnd, WindowsPort,
    },
};

/// A port on its way from Windows to a service here.
#[derive(Debug, Clone)]
pub struct PortFacts {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Windows' port.
    pub listen_port: NonZeroU16,
    /// The port in this distribution.
    pub connect_port: NonZeroU16,
    /// The configured forward between them, of these ports alone.
    pub forward: Option<Forward>,
    /// What should serve it.
    pub served_by: ForwardBackend,
    /// What the agent says of Windows' port, whichever distribution's forward has it.
    pub status: Option<ForwardStatus>,
    /// Other distributions that share this one's network, as far as the agent knows them.
    pub others: Vec<String>,
    /// The networking mode.
    pub mode: ModeState,
    /// This distribution's address, or why it is not known.
    pub node: Result<IpAddr, String>,
    /// The sockets at the port here, or why they could not be read.
    pub holders: Result<Vec<Holder>, String>,
    /// Whether a rule may pass a port on to a container.
    pub passes_on: bool,
    /// What a connection from here to the address came to; `None` where none was made.
    pub here: Option<Reach>,
    /// Whether the agent runs.
    pub agent: bool,
    /// What the agent found about the forward.
    pub health: Vec<HealthEntry>,
    /// What Windows says, or why it is not known.
    pub windows: Result<WindowsPort, String>,
    /// What a test of the forward tried besides.
    pub tested: Tested,
}

/// What only `wslmesh forward test` tries. Nothing of it is known otherwise.
#[derive(Debug, Clone, Default)]
pub struct Tested {
    /// All ports on Windows of a forward with several, of which one is tested.
    pub of: Option<PortRange>,
    /// How long a connection from here took, in milliseconds.
    pub milliseconds: Option<u32>,
    /// What the service did with a connection to which nothing was sent.
    pub plain: Option<Kept>,
    /// What it did with one that began with the PROXY protocol's header.
    pub headed: Option<Kept>,
    /// Whether the relay passed on what Windows sent it, by its counters: a connection, or a
    /// datagram.
    pub counted: Option<bool>,
}

/// What a service did with a connection while it was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It kept the connection open.
    Open,
    /// It closed the connection.
    Closed,
    /// It answered by HTTP that the header is a bad request.
    BadRequest,
}

/// A socket at the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The socket.
    pub socket: Socket,
    /// The user who made it: a name, or a number where there is none.
    pub user: String,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose socket it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A process of this distribution.
    Process {
        /// Its name.
        name: String,
        /// Its number.
        id: u32,
        /// The system's service that it belongs to.
        unit: Option<String>,
    },
    /// The kernel's own, for this interface.
    Kernel(String),
    /// No process here has it: it is another distribution's.
    Elsewhere,
    /// This user may not see that.
    Hidden,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { name, id, .. } => write!(f, "{name} ({id})"),
            Self::Kernel(interface) => write!(f, "WireGuard in the kernel ({interface})"),
            Self::Elsewhere => f.write_str("a process of another distribution"),
            Self::Hidden => f.write_str("a process that only root sees"),
        }
    }
}

impl Holder {
    /// Whether it is the agent's relay. What another distribution has, or only root sees, may
    /// be, which listens at one address.
    pub(super) fn is_relay(&self) -> bool {
        match &self.owner {
            Owner::Process { name, .. } => name == "wslmesh-relay",
            Owner::Elsewhere | Owner::Hidden => !self.socket.address.is_unspecified(),
            Owner::Kernel(_) => false,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.owner)?;
        match &self.owner {
            Owner::Process { unit, .. } => {
                write!(f, ", user {}", self.user)?;
                unit.iter().try_for_each(|unit| write!(f, ", unit {unit}"))
            }
            Owner::Kernel(_) => Ok(()),
            Owner::Elsewhere | Owner::Hidden => write!(f, ", user {}", self.user),
        }
    }
}

/// Which ports and which forward a person means: the forward that listens there on
/// Windows, else the one that leads there.
#[must_use]
pub(in crate::doctor) fn way(
    settings: &Settings,
    protocol: Protocol,
    port: NonZeroU16,
) -> (NonZeroU16, NonZeroU16, Option<Forward>) {
    let singles = || {
        let forwards = settings
            .forwards
            .iter()
            .filter(|one| one.protocol == protocol);
        forwards.flat_map(Forward::singles)
    };
    let listens = singles().find(|one| one.listen_port.has(port));
    let found = listens.or_else(|| singles().find(|one| one.connect_port.has(port)));
    match found {
        Some(one) => (one.listen_port.first(), one.connect_port.first(), Some(one)),
        None => (port, port, None),
    }
}

/// What should serve a forward, where the agent does not say what does.
#[must_use]
pub(in crate::doctor) fn served_by(
    settings: &Settings,
    forward: Option<&Forward>,
    mode: &ModeState,
) -> ForwardBackend {
    match (forward, mode.known()) {
        (Some(forward), _) if settings.backend_of(forward) == Backend::Tunnel => {
            ForwardBackend::Tunnel
        }
        (Some(forward), None | Some(Mode::Nat)) => match settings.backend_of(forward) {
            Backend::Portproxy => ForwardBackend::Portproxy,
            Backend::Auto | Backend::Relay | Backend::Tunnel | Backend::None => {
                ForwardBackend::Relay
            }
        },
        _ => ForwardBackend::Guest,
    }
}

impl PortFacts {
    /// Where Windows listens, or should.
    #[must_use]
    pub fn listen_address(&self) -> IpAddr {
        let forward = self.forward.as_ref();
        forward.map_or(Ipv4Addr::UNSPECIFIED.into(), |one| one.listen_address)
    }

    /// Where Windows listens now: a relay that is not installed does on loopback alone.
    #[must_use]
    pub fn served_address(&self) -> IpAddr {
        let status = self.status.as_ref();
        status.map_or(self.listen_address(), |one| one.listen.listen_address)
    }

    /// Whether a rule of the port proxy leads to the service.
    pub(super) fn leads_here(&self, rule: &ProxyRule) -> bool {
        let to = rule.connect_address.as_deref();
        let to = to.and_then(|one| one.parse::<IpAddr>().ok());
        let node = self.node.as_ref().ok();
        to.is_some() && to.as_ref() == node && rule.connect_port == Some(self.connect_port.get())
    }

    /// The service's address.
    #[must_use]
    pub fn at(&self) -> Option<SocketAddr> {
        let loopback = self.loopback().map(IpAddr::from);
        let address = loopback.or(self.node.as_ref().ok().copied())?;
        Some(SocketAddr::new(address, self.connect_port.get()))
    }

    /// The loopback address at which the service listens, where it is asked to be reached.
    #[must_use]
    pub fn loopback(&self) -> Option<Ipv4Addr> {
        self.forward.as_ref()?.connect_address
    }

    /// Whether a socket takes what arrives at this distribution's address.
    pub(super) fn listening(&self) -> Option<Listening> {
        let sockets: Vec<Socket> = self.of_service()?.map(|one| one.socket).collect();
        let (protocol, port) = (self.protocol, self.connect_port.into());
        // Without an address a socket on all of them counts.
        let address = self.at().map(|at| at.ip());
        let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        Some(Listening::at(&sockets, address, protocol, port))
    }

    /// The sockets that may be the service's, as far as they are known. Where it is to listen on
    /// loopback the one at this distribution's own address is the relay's, or in its place.
    fn of_service(&self) -> Option<impl Iterator<Item = &Holder>> {
        let node = self.loopback().and(self.node.as_ref().ok());
        let holders = self.holders.as_ref().ok()?.iter();
        Some(holders.filter(move |one| Some(&one.socket.address) != node))
    }

    /// The holder that counts: one that takes what arrives, else any.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        let takes = |one: &&Holder| match self.loopback() {
            Some(address) => one.socket.address == address,
            None => !one.socket.address.is_loopback(),
        };
        let open = self.of_service()?.find(takes);
        open.or_else(|| self.of_service()?.next())
    }

    /// In NAT mode the place of the relay that leads to a service on loopback, and who has it.
    pub(super) fn relay_place(&self) -> Option<(SocketAddr, Option<&Holder>)> {
        self.loopback()?;
        let nat = matches!(self.mode.known(), None | Some(Mode::Nat));
        let node = self.node.as_ref().ok().filter(|_| nat)?;
        let holders = self.holders.as_ref().ok().into_iter().flatten();
        let mut holders = holders.filter(|one| one.socket.takes(*node));
        let at = SocketAddr::new(*node, self.connect_port.get());
        Some((at, holders.next()))
    }

    /// Whether Windows has a part in it.
    #[must_use]
    pub fn on_windows(&self) -> bool {
        !matches!(
            self.mode.known(),
            Some(Mode::NotWsl | Mode::Bridged | Mode::None)
        )
    }

    /// Whether the guest's ports are Windows' own.
    pub(super) fn shared(&self) -> bool {
        self.mode.known().is_some_and(Mode::shares_ports)
    }

    /// The connections from Windows to this end that say something: in mirrored mode Windows
    /// reaches this distribution by 127.0.0.1 alone, unless `hostAddressLoopback` is on, and a
    /// Windows without IPv6 has no `::1`.
    pub(super) fn windows_connects(&self, to: WindowsEnd) -> impl Iterator<Item = &WindowsConnect> {
        let is_mirrored = self.mode.known() == Some(Mode::Mirrored);
        let both = self.listen_address() == Ipv6Addr::UNSPECIFIED;
        let windows = self.windows.as_ref().ok().into_iter();
        let ends = windows.flat_map(move |windows| windows.ends(to));
        ends.filter(move |one| {
            let absent = both
                && one.address == Ipv6Addr::LOCALHOST
                && matches!(one.reach(), Reach::Unreachable | Reach::Unknown);
            (!is_mirrored || one.address.is_loopback()) && !absent
        })
    }

    /// The connections from Windows that go the whole way, one by each family that is listened
    /// on: by the address by which the network knows Windows if it has one, which passes WSL's
    /// own listener on loopback by.
    #[must_use]
    pub fn windows_through(&self) -> Vec<&WindowsConnect> {
        let on_loopback = self.served_address().is_loopback();
        let of = |ipv6: bool| {
            let is_it = |one: &&WindowsConnect| one.address.is_ipv6() == ipv6;
            let network = self.windows_connects(WindowsEnd::Network).find(is_it);
            let listener = self.windows_connects(WindowsEnd::Listener).find(is_it);
            network.filter(|_| !on_loopback).or(listener)
        };
        [of(false), of(true)].into_iter().flatten().collect()
    }

    /// What is wrong with a connection from Windows, after where it leads; nothing where that
    /// does not show.
    pub(super) fn wrong_with(&self, end: &WindowsConnect) -> Option<&'static str> {
        let to_guest = end.to == WindowsEnd::Guest;
        let kept = match to_guest {
            // Only what serves the forward sends the header that it may have.
            true => self.loopback().and(self.tested.plain),
            false => self.kept(),
        };
        match end.reach() {
            Reach::Unknown => None,
            Reach::Answers if !to_guest && self.tested.counted == Some(false) => {
                Some("accepts a connection, and the relay does not get through to the service")
            }
            Reach::Answers => (end.closed && kept == Some(Kept::Open)).then_some(
                "accepts a connection and closes it at once, which the service does not",
            ),
            reach => Some(reach.in_words()),
        }
    }

    /// Whether the relay came to the service and the service kept the connection.
    pub(super) fn keeps_the_relays(&self) -> bool {
        let mut ends = self.windows_through().into_iter();
        self.served_by == ForwardBackend::Relay
            && self.tested.counted != Some(false)
            && ends.any(|one| one.reach() == Reach::Answers && !one.closed)
    }

    /// What the service does with a connection as the forward makes one.
    pub(super) fn kept(&self) -> Option<Kept> {
        let forward = self.forward.as_ref();
        match forward.and_then(|one| one.proxy_protocol) {
            Some(_) => self.tested.headed,
            None => self.tested.plain,
        }
    }

    /// `tcp 2222`
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.protocol, self.listen_port)
    }
}
