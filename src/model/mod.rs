//! The data that the folders hand to each other: plain types without effects.
//!
//! `observe` fills an [`Observation`], `plan` turns it into a [`Plan`] of
//! [`Action`]s, `apply` carries actions out. Because the types live here,
//! `observe` and `apply` never import `plan`.

mod action;
mod clock;
mod code;
mod dependent;
mod discovery;
mod drive_path;
mod finding;
mod forward;
mod interface;
mod lifetime;
mod listens;
mod mode;
mod nameserver;
mod nat;
mod observation;
mod port_range;
mod resolver;
mod resume;
mod socket;
mod sysctl;
mod text;
mod tunnel;
mod windows_port;
mod wireguard;
mod zone;

pub use action::{Action, FileChange, KeepaliveChange, MtuChange, Plan, PortClaim, SysctlChange};
pub use clock::{ClockKeepers, Clocks};
pub use code::{Code, Severity};
pub use dependent::{
    Change, Dependent, Fact, FactKey, FollowedEvent, Follows, Mesh, MeshChange, UnitAction,
    UnitName,
};
pub use discovery::{DISCOVERED, Discovered, Listener, discovered_by};
pub use drive_path::{DrivePath, NotADrivePath};
pub use finding::{Finding, HealthEntry, Subject};
pub use forward::{
    Admit, Counted, CountedForward, Counters, Failure, FailureKind, Firewall, ForwardBackend,
    ForwardState, ForwardStatus, GuestFirewall, HostPrivilege, InstalledRule, Listen, Protocol,
    ProxyProtocol, RelayForward, RelayLocation, RelayMemory, RelayRole, RelaySet, Rule, RuleSet,
    SyncMode, addresses_overlap, endpoint, exposed_by, loopback_of,
};
pub use interface::{InterfaceName, InterfacePattern, Patterns};
pub use lifetime::{Idle, IdleFacts, IdleFate, IdleTimeouts};
pub use listens::Listens;
pub use mode::{Mode, ModeState};
pub use nameserver::Nameserver;
pub use nat::{GatewayAnswer, NatLook, NatState, TUNNEL_LINK, TunnelReason, Underlay};
pub use observation::{
    Address, AddressState, DefaultRoute, HostFacts, HostMemory, HostOutcome, Link, LinkKind,
    NetworkFile, Node, Observation,
};
pub use port_range::{DynamicPorts, PortRange, forward_ports, port, some_ports};
pub use resolver::{
    DnsAnswer, DnsSource, Reply, ResolvConf, ResolvFile, Resolver, TUNNEL, Writer, is_private,
};
pub use resume::{PeerId, Recovery, RecoveryStep, Resume, ResumeSign, StepOutcome};
pub use socket::{Listening, Socket};
pub use sysctl::{SysctlKey, SysctlReading, SysctlValue};
pub(crate) use text::display_as_serialized;
pub use text::{
    PlainText, counted, disturbs, excerpt, from_word, guid, micros, or_empty, plain, plain_within,
    some_of, span, visible,
};
pub use tunnel::{
    TUNNEL_MAX_ORDER, TunnelAnswer, TunnelCounters, TunnelForward, TunnelListeners, TunnelOrder,
    TunnelState, TunnelWay, tunnel_socket,
};
pub use windows_port::{
    PortFirewall, PortOwner, ProxyRule, Reach, WindowsConnect, WindowsEnd, WindowsPort,
};
pub use wireguard::{
    Device, DeviceReading, EndpointChange, EndpointName, EndpointNames, HANDSHAKE_STALE,
    KernelPorts, NewEndpoint, Peer, PeerState, PublicKey, WireguardLink, is_fresh,
};
pub use zone::{DnsPlan, LinkDns, LinkZones, Zone, address_bytes, address_of, no_zone_server};
