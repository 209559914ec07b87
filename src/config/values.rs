//! The values of single keys: how each is read, checked and written.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU16,
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, de};
use toml::{
    Spanned,
    de::{Error, ValueDeserializer},
};

use crate::model::{
    Firewall, ForwardStatus, InterfaceName, PortRange, Protocol, ProxyProtocol, SysctlKey,
    SysctlValue, addresses_overlap, counted, display_as_serialized, guid,
};

display_as_serialized!(Underlay, Backend);

/// One forward from Windows to this distribution. It is read like this from the agent of
/// another distribution; a file is read key by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Forward {
    /// Its name; that of another distribution's has the distribution and a slash before it.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Windows' address to listen on; `::` is all of IPv4 and IPv6.
    #[serde(deserialize_with = "super::listen_address::read")]
    pub listen_address: IpAddr,
    /// Windows' ports to listen on.
    #[serde(with = "ports")]
    pub listen_port: PortRange,
    /// Where the service listens that is on loopback alone; `None`: at the node's address.
    #[serde(
        default,
        deserialize_with = "super::connect_address::read_some",
        skip_serializing_if = "Option::is_none"
    )]
    pub connect_address: Option<Ipv4Addr>,
    /// Ports in this distribution, as many as of Windows: the first leads to the first.
    #[serde(with = "ports")]
    pub connect_port: PortRange,
    /// Whom Windows' firewall should let in.
    pub firewall: Firewall,
    /// Who forwards it, never [`Backend::None`]; `None`: as `[host] backend` says.
    #[serde(
        default,
        deserialize_with = "some_backend",
        skip_serializing_if = "Option::is_none"
    )]
    pub backend: Option<Backend>,
    /// The header that tells the service who its client is; of TCP, by the relay alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What the agent only keeps, and says to no other agent.
    #[serde(flatten, skip_deserializing)]
    pub remarks: Remarks,
}

/// What a forward says of itself, for people and for `wslmesh config export`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Remarks {
    /// What listens at its port, where it was discovered and is in no file: a program, a
    /// unit or a container engine; empty where that is not known.
    #[serde(skip)]
    pub discovered: Option<String>,
    /// What it is for, in the user's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The instance of a wsl2-config.json that it was imported from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// That instance's comment, at its first forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_comment: Option<String>,
}

impl Forward {
    /// Whether both would listen on a port of one address.
    #[must_use]
    pub fn clashes_with(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.listen_port.overlaps(other.listen_port)
            && addresses_overlap(self.listen_address, other.listen_address)
    }

    /// A forward of this name and one port for each of its ports.
    pub fn singles(&self) -> impl Iterator<Item = Self> {
        let ports = self.listen_port.ports().zip(self.connect_port.ports());
        ports.map(|(listen, connect)| Self {
            listen_port: listen.into(),
            connect_port: connect.into(),
            ..self.clone()
        })
    }

    /// The forward of a port that this distribution's agent discovered, which no file has;
    /// `firewall` is that of `[discovery]`.
    #[must_use]
    pub fn discovered(status: &ForwardStatus, firewall: Firewall) -> Option<Self> {
        let is_own = status.discovered.is_some() && status.distribution.is_none();
        is_own.then(|| Self::served(status, firewall))
    }

    /// A forward that no file of this distribution has, as far as the agent says what it is.
    #[must_use]
    pub fn served(status: &ForwardStatus, firewall: Firewall) -> Self {
        Self {
            name: status.name.clone(),
            protocol: status.listen.protocol,
            listen_address: status.listen.listen_address,
            listen_port: status.listen_ports(),
            connect_address: status.connect_address,
            connect_port: status.connects(),
            firewall,
            backend: None,
            proxy_protocol: None,
            remarks: Remarks {
                discovered: status.discovered.clone(),
                ..Remarks::default()
            },
        }
    }

    /// The forward as a block of a configuration file.
    pub(super) fn block(&self) -> String {
        // Serialising plain text, numbers and words cannot fail.
        format!("[[forward]]\n{}", toml::to_string(self).unwrap_or_default())
    }
}

/// Most ports of all forwards of a configuration together: each is a listener.
pub(super) const MOST_PORTS: usize = 1000;

/// The ports that a forward leads to: those that are given, else the ones that it listens on.
///
/// # Errors
/// The ranges have not the same length.
pub fn connect_ports(listen: PortRange, given: Option<PortRange>) -> Result<PortRange, String> {
    let connect = given.unwrap_or(listen);
    if connect.len() == listen.len() {
        return Ok(connect);
    }
    Err(format!(
        "{connect} is {}, and listen-port {listen} is {}: write as many, or leave connect-port out for the same ones",
        counted(connect.len(), "port"),
        counted(listen.len(), "port")
    ))
}

/// What a forward's name may be.
pub(super) const NAME_RULE: &str = "name has up to 64 letters, digits, - _ and . only";

/// Whether this may be a forward's name, or a distribution's.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain)
}

/// Longest comment, in characters.
const COMMENT: usize = 1000;

/// A text for people.
pub(super) fn comment<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    checked_comment(String::deserialize(from)?).map_err(de::Error::custom)
}

/// A text for people, or why it is none.
pub(super) fn checked_comment(text: String) -> Result<String, String> {
    if text.chars().count() <= COMMENT {
        Ok(text)
    } else {
        Err(format!(
            "a comment has up to {COMMENT} characters; shorten it"
        ))
    }
}

/// A forward's name; it becomes part of a file's name.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if is_name(&name) {
        Ok(name)
    } else {
        Err(de::Error::custom(format!("{name:?}: {NAME_RULE}")))
    }
}

/// Which interface is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Interface {
    /// The default route's.
    Auto,
    /// The one of this name.
    Named(InterfaceName),
    /// The one with this VMBus device GUID (lower case, without braces), which
    /// in mirrored mode is the Windows InterfaceGuid.
    Guid(String),
}

impl TryFrom<String> for Interface {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        if let Some(guid) = guid(&text) {
            return Ok(Self::Guid(guid));
        }
        InterfaceName::new(&text).map(Self::Named).ok_or_else(|| {
            format!(
                "{text:?} is no interface: write \"auto\", a name of at most 15 characters such as \"eth0\", or a Windows InterfaceGuid"
            )
        })
    }
}

impl From<Interface> for String {
    fn from(interface: Interface) -> Self {
        match interface {
            Interface::Auto => "auto".to_owned(),
            Interface::Named(name) => name.to_string(),
            Interface::Guid(guid) => guid,
        }
    }
}

/// A path from the root.
pub(super) fn absolute_path<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(from)?;
    if path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0) {
        Ok(path)
    } else {
        let path = path.display();
        let text = format!("{path} is not an absolute path: begin it with /");
        Err(de::Error::custom(text))
    }
}

/// How long the network must be quiet before a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Settle {
    /// By networking mode.
    Auto,
    /// This long, 0 to 10 s.
    Quiet(Duration),
}

impl TryFrom<String> for Settle {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        duration(&text)
            .filter(|quiet| *quiet <= Duration::from_secs(10))
            .map(Self::Quiet)
            .ok_or_else(|| format!("{text:?} is no settle time: write \"auto\", or \"0ms\" to \"10s\" such as \"50ms\" or \"1s\""))
    }
}

impl From<Settle> for String {
    fn from(settle: Settle) -> Self {
        match settle {
            Settle::Auto => "auto".to_owned(),
            Settle::Quiet(quiet) => duration_text(quiet),
        }
    }
}

/// A whole number of milliseconds or seconds: `50ms`, `3s`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if let Some(number) = text.strip_suffix("ms") {
        return number.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s')?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// The same the other way round.
pub(super) fn duration_text(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}

/// What to do about an interface that is too small for the tunnel over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Underlay {
    /// Raise the interface below, as tailscale does (NAT mode only: elsewhere
    /// its MTU is that of a real adapter).
    Raise,
    /// Lower the tunnel.
    LowerTunnel,
    /// Change nothing, report it.
    Leave,
}

/// Who forwards a port on Windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// netsh interface portproxy: TCP.
    Portproxy,
    /// wslmesh's own relay: TCP and UDP.
    Relay,
    /// The tunnel's switch: TCP and UDP.
    Tunnel,
    /// The best one for each forward.
    Auto,
    /// None; Windows is never called.
    None,
}

/// The backend of one forward.
pub(super) fn forward_backend<'de, D: Deserializer<'de>>(from: D) -> Result<Backend, D::Error> {
    match Backend::deserialize(from)? {
        Backend::None => Err(de::Error::custom(
            "a forward's backend is \"portproxy\", \"relay\", \"tunnel\" or \"auto\"; remove the [[forward]] instead",
        )),
        backend => Ok(backend),
    }
}

/// The backend of all forwards that name none.
pub(super) fn host_backend<'de, D: Deserializer<'de>>(from: D) -> Result<Backend, D::Error> {
    match Backend::deserialize(from)? {
        Backend::Tunnel => Err(de::Error::custom(
            "\"tunnel\" is for single forwards: set backend = \"tunnel\" in each [[forward]] that is to be served so",
        )),
        backend => Ok(backend),
    }
}

fn some_backend<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Backend>, D::Error> {
    forward_backend(from).map(Some)
}

/// Reads an integer within bounds and names the bounds otherwise. The bounds are
/// signed and wide, so that -1 and 65536 reach the message.
pub(super) fn bounded<'de, T: TryFrom<u16>, D: Deserializer<'de>>(
    from: D,
    range: RangeInclusive<i64>,
    what: &'static str,
) -> Result<T, D::Error> {
    struct Bounded(RangeInclusive<i64>, &'static str);
    impl de::Visitor<'_> for Bounded {
        type Value = u16;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a number from {} to {}", self.0.start(), self.0.end())
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u16, E> {
            self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u16, E> {
            let found = u16::try_from(number).ok();
            found.filter(|_| self.0.contains(&number)).ok_or_else(|| {
                let expected: &dyn de::Expected = &self;
                E::custom(format!("{number} is no {}: write {expected}", self.1))
            })
        }
    }
    let number = from.deserialize_i64(Bounded(range, what))?;
    T::try_from(number).map_err(|_| de::Error::custom(format!("{number} is no {what}")))
}

/// A port, 1 to 65535.
pub(super) fn port<'de, D: Deserializer<'de>>(from: D) -> Result<NonZeroU16, D::Error> {
    bounded(from, 1..=65535, "port")
}

/// Ports as they are written.
#[derive(Serialize, Deserialize)]
pub(super) struct Ports(#[serde(with = "ports")] pub(super) PortRange);

/// Ports, and where they are written.
pub(super) fn ports_at(from: ValueDeserializer<'_>) -> Result<(usize, PortRange), Error> {
    let ports = Spanned::<Ports>::deserialize(from)?;
    Ok((ports.span().start, ports.into_inner().0))
}

/// A port as a number, or a text such as "8000-8010".
pub(super) mod ports {
    use serde::{Deserializer, Serializer, de};

    use super::{PortRange, port};

    pub(in crate::config) fn serialize<S: Serializer>(
        ports: &PortRange,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match ports.len() {
            1 => to.serialize_u16(ports.first().get()),
            _ => to.collect_str(ports),
        }
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<PortRange, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = PortRange;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number from 1 to 65535, or a range such as \"8000-8010\"")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<PortRange, E> {
                port(de::value::U64Deserializer::new(number)).map(PortRange::from)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<PortRange, E> {
                port(de::value::I64Deserializer::new(number)).map(PortRange::from)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PortRange, E> {
                let or = match text.contains('-') {
                    true => "",
                    false => ", or a range such as \"8000-8010\"",
                };
                text.parse().map_err(|why| E::custom(format!("{why}{or}")))
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// A sysctl's name as a table's key.
pub(super) fn sysctl_key(text: &str) -> Result<SysctlKey, String> {
    if !text.contains(['.', '/']) {
        return Err(format!(
            "{text:?} is no parameter: put the whole name in quotes, such as \"net.core.rmem_max\""
        ));
    }
    SysctlKey::parse(text).map_err(|why| format!("{text:?}: {why}"))
}

/// A parameter's value; `None` leaves it alone although there is a default.
pub(super) fn sysctl(from: ValueDeserializer<'_>) -> Result<Option<SysctlValue>, Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = Option<SysctlValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number, a text such as \"4096 87380 134217728\", or false to leave the parameter alone")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
            Ok(Some(SysctlValue::new(&number.to_string())))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let plain = |c: char| c.is_ascii_graphic() || c == ' ' || c == '\t';
            if !text.trim().is_empty() && text.len() <= 256 && text.chars().all(plain) {
                Ok(Some(SysctlValue::new(text)))
            } else {
                let text = "a parameter's value is one line of at most 256 plain characters";
                Err(E::custom(text))
            }
        }

        fn visit_bool<E: de::Error>(self, keep: bool) -> Result<Self::Value, E> {
            if keep {
                Err(E::invalid_value(de::Unexpected::Bool(true), &self))
            } else {
                Ok(None)
            }
        }
    }
    from.deserialize_any(Visitor)
}

#[cfg(test)]
mod tests;
