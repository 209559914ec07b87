//! What is known of a port: plain data, filled in by `read` and by whoever asks Windows.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
    num::NonZeroU16,
};

use crate::{
    config::{Backend, Forward, Settings},
    model::{
        ForwardBackend, ForwardStatus, HealthEntry, Listening, Mode, ModeState, Protocol, Reach,
        Socket, WindowsPort,
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
    pub node: Result<Ipv4Addr, String>,
    /// The sockets at the port here, or why they could not be read.
    pub holders: Result<Vec<Holder>, String>,
    /// Whether a rule may pass a port on to a container.
    pub passes_on: bool,
    /// Whether this process may see whose sockets they are.
    pub root: bool,
    /// What a connection from here to the address came to; `None` where none was made.
    pub here: Option<Reach>,
    /// Whether the agent runs.
    pub agent: bool,
    /// What the agent found about the forward.
    pub health: Vec<HealthEntry>,
    /// What Windows says, or why it is not known.
    pub windows: Result<WindowsPort, String>,
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
        (Some(forward), None | Some(Mode::Nat)) => match settings.backend_of(forward) {
            Backend::Portproxy => ForwardBackend::Portproxy,
            Backend::Auto | Backend::Relay | Backend::None => ForwardBackend::Relay,
        },
        _ => ForwardBackend::Guest,
    }
}

impl PortFacts {
    /// Where Windows listens, or should.
    #[must_use]
    pub fn listen_address(&self) -> Ipv4Addr {
        let forward = self.forward.as_ref();
        forward.map_or(Ipv4Addr::UNSPECIFIED, |one| one.listen_address)
    }

    /// The service's address.
    #[must_use]
    pub fn at(&self) -> Option<SocketAddrV4> {
        let node = *self.node.as_ref().ok()?;
        Some(SocketAddrV4::new(node, self.connect_port.get()))
    }

    /// Whether a socket takes what arrives at this distribution's address.
    pub(super) fn listening(&self) -> Option<Listening> {
        let holders = self.holders.as_ref().ok()?;
        let sockets: Vec<Socket> = holders.iter().map(|one| one.socket).collect();
        let (protocol, port) = (self.protocol, self.connect_port.into());
        // Without an address a socket on all of them counts.
        let node = self.node.as_ref().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
        Some(Listening::at(&sockets, node, protocol, port))
    }

    /// The holder that counts: one that takes what arrives, else any.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        let holders = self.holders.as_ref().ok()?;
        let open = holders.iter().find(|one| !one.socket.address.is_loopback());
        open.or_else(|| holders.first())
    }

    /// Whether Windows has a part in it.
    pub(super) fn on_windows(&self) -> bool {
        !matches!(
            self.mode.known(),
            Some(Mode::NotWsl | Mode::Bridged | Mode::None)
        )
    }

    /// Whether the guest's ports are Windows' own.
    pub(super) fn shared(&self) -> bool {
        self.mode.known().is_some_and(Mode::shares_ports)
    }

    /// `tcp 2222`
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.protocol, self.listen_port)
    }
}
