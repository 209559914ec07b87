//! The configuration as it stands in one file: every key optional, every value
//! checked for itself.

use std::{
    collections::BTreeMap, fmt, net::Ipv4Addr, num::NonZeroU16, path::PathBuf, time::Duration,
};

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::dependents::Dependents;
use crate::model::{Firewall, Patterns, Protocol, SysctlKey, SysctlValue};

/// One file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Fragment {
    pub(super) network: Network,
    pub(super) mtu: Mtu,
    pub(super) sysctl: BTreeMap<Key, SysctlSetting>,
    pub(super) wireguard: WireGuard,
    pub(super) host: Host,
    pub(super) dependents: Dependents,
    pub(super) forward: Vec<Spanned<Forward>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Network {
    pub(super) interface: Option<Interface>,
    pub(super) config_file: Option<AbsolutePath>,
    pub(super) settle: Option<Settle>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Mtu {
    pub(super) interfaces: Option<Patterns>,
    pub(super) value: Option<MtuValue>,
    pub(super) underlay: Option<Underlay>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WireGuard {
    pub(super) interfaces: Option<Patterns>,
    pub(super) keepalive: Option<Seconds>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Host {
    pub(super) backend: Option<Backend>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Forward {
    pub(super) name: String,
    pub(super) protocol: Protocol,
    #[serde(default = "any_address")]
    pub(super) listen_address: Ipv4Addr,
    pub(super) listen_port: Port,
    pub(super) connect_port: Option<Port>,
    #[serde(default)]
    pub(super) firewall: Firewall,
}

fn any_address() -> Ipv4Addr {
    Ipv4Addr::UNSPECIFIED
}

/// Every key that a file may have, by table: for the nearest known one when a
/// key is unknown. A test holds it against the types above.
pub(super) const KNOWN: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "network",
            "mtu",
            "sysctl",
            "wireguard",
            "host",
            "dependents",
            "forward",
        ],
    ),
    ("network", &["interface", "config-file", "settle"]),
    ("mtu", &["interfaces", "value", "underlay"]),
    ("wireguard", &["interfaces", "keepalive"]),
    ("host", &["backend"]),
    ("dependents", &["units", "hook-timeout"]),
    (
        "forward",
        &[
            "name",
            "protocol",
            "listen-address",
            "listen-port",
            "connect-port",
            "firewall",
        ],
    ),
];

/// The known key that somebody may have meant.
pub(super) fn nearest<'a>(known: &[&'a str], written: &str) -> Option<&'a str> {
    // Comparing takes long where one is huge; a known key is plain ASCII.
    let length = written.chars().count();
    known
        .iter()
        .filter(|key| key.len().abs_diff(length) <= key.len().div_ceil(2))
        .map(|key| (strsim::damerau_levenshtein(key, written), *key))
        .min()
        .filter(|(distance, key)| *distance <= key.len().div_ceil(2))
        .map(|(_, key)| key)
}

/// Which interface is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interface {
    /// The default route's.
    Auto,
    /// The one of this name.
    Named(crate::model::InterfaceName),
    /// The one with this VMBus device GUID (lower case, without braces), which
    /// in mirrored mode is the Windows InterfaceGuid.
    Guid(String),
}

impl<'de> Deserialize<'de> for Interface {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let bare = text.trim_start_matches('{').trim_end_matches('}');
        let groups: Vec<usize> = bare.split('-').map(str::len).collect();
        if groups == [8, 4, 4, 4, 12] && bare.chars().all(|c| c == '-' || c.is_ascii_hexdigit()) {
            return Ok(Self::Guid(bare.to_ascii_lowercase()));
        }
        crate::model::InterfaceName::new(&text).map(Self::Named).ok_or_else(|| {
            de::Error::custom(format!(
                "{text:?} is no interface: write \"auto\", a name of at most 15 characters such as \"eth0\", or a Windows InterfaceGuid"
            ))
        })
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(name) => name.fmt(f),
            Self::Guid(guid) => f.write_str(guid),
        }
    }
}

/// A path from the root.
#[derive(Debug, Clone)]
pub(super) struct AbsolutePath(pub(super) PathBuf);

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(from)?;
        if path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0) {
            Ok(Self(path))
        } else {
            Err(de::Error::custom(format!(
                "{} is not an absolute path: begin it with /",
                path.display()
            )))
        }
    }
}

/// How long the network must be quiet before a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// By networking mode.
    Auto,
    /// This long, 0 to 10 s.
    Quiet(Duration),
}

impl<'de> Deserialize<'de> for Settle {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "auto" {
            return Ok(Self::Auto);
        }
        duration(&text)
            .filter(|quiet| *quiet <= Duration::from_secs(10))
            .map(Self::Quiet)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is no settle time: write \"auto\", or \"0ms\" to \"10s\" such as \"50ms\" or \"1s\"")))
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

impl fmt::Display for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Quiet(quiet) => write!(f, "{}ms", quiet.as_millis()),
        }
    }
}

/// What to do about an interface that is too small for the tunnel over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Underlay {
    /// Raise the interface below, as tailscale does (NAT mode only: elsewhere
    /// its MTU is that of a real adapter).
    Raise,
    /// Lower the tunnel.
    LowerTunnel,
    /// Change nothing, say so.
    Leave,
}

impl fmt::Display for Underlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raise => "raise",
            Self::LowerTunnel => "lower-tunnel",
            Self::Leave => "leave",
        })
    }
}

/// Who forwards a port on Windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// netsh interface portproxy: TCP.
    Portproxy,
    /// wslmesh's own relay: TCP and UDP.
    Relay,
    /// The best there is for each forward.
    Auto,
    /// Nobody; Windows is never called.
    None,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portproxy => "portproxy",
            Self::Relay => "relay",
            Self::Auto => "auto",
            Self::None => "none",
        })
    }
}

/// Takes an integer within bounds and says the bounds otherwise. The type is
/// signed and wide, so that -1 and 65536 reach the message.
fn bounded<'de, D: Deserializer<'de>>(
    from: D,
    least: i64,
    most: i64,
    what: &str,
) -> Result<u16, D::Error> {
    let number = i64::deserialize(from)?;
    u16::try_from(number)
        .ok()
        .filter(|_| (least..=most).contains(&number))
        .ok_or_else(|| {
            de::Error::custom(format!(
                "{number} is no {what}: write a number from {least} to {most}"
            ))
        })
}

/// A port, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port(pub(super) NonZeroU16);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = bounded(from, 1, 65535, "port")?;
        NonZeroU16::new(number)
            .map(Self)
            .ok_or_else(|| de::Error::custom("port 0 means none"))
    }
}

/// An MTU, 576 (the least that IPv4 hosts must take, RFC 1122) to 65535.
#[derive(Debug, Clone, Copy)]
pub(super) struct MtuValue(pub(super) u16);

impl<'de> Deserialize<'de> for MtuValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        bounded(from, 576, 65535, "MTU").map(Self)
    }
}

/// Seconds of a PersistentKeepalive, 0 to 65535 as in wg(8).
#[derive(Debug, Clone, Copy)]
pub(super) struct Seconds(pub(super) u16);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        bounded(from, 0, 65535, "keepalive in seconds").map(Self)
    }
}

/// A sysctl key as a table's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) SysctlKey);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if !text.contains(['.', '/']) {
            return Err(de::Error::custom(format!(
                "{text:?} is no parameter: put the whole name in quotes, such as \"net.core.rmem_max\""
            )));
        }
        SysctlKey::parse(&text)
            .map(Self)
            .map_err(|why| de::Error::custom(format!("{text:?}: {why}")))
    }
}

/// What to do with a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SysctlSetting {
    /// Keep it at this value.
    Value(SysctlValue),
    /// Leave it alone although there is a default.
    Leave,
}

impl<'de> Deserialize<'de> for SysctlSetting {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = SysctlSetting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a text such as \"4096 87380 134217728\", or false to leave the parameter alone")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<SysctlSetting, E> {
                Ok(SysctlSetting::Value(SysctlValue::new(&number.to_string())))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SysctlSetting, E> {
                let plain = !text.trim().is_empty()
                    && text.len() <= 256
                    && text
                        .chars()
                        .all(|c| c.is_ascii_graphic() || c == ' ' || c == '\t');
                if plain {
                    Ok(SysctlSetting::Value(SysctlValue::new(text)))
                } else {
                    Err(E::custom(
                        "a parameter's value is one line of at most 256 plain characters",
                    ))
                }
            }

            fn visit_bool<E: de::Error>(self, keep: bool) -> Result<SysctlSetting, E> {
                if keep {
                    Err(E::invalid_value(de::Unexpected::Bool(true), &self))
                } else {
                    Ok(SysctlSetting::Leave)
                }
            }
        }
        from.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// serde's own list of fields, taken from its message on an unknown one.
    fn fields(source: &str) -> Vec<String> {
        let message = toml::from_str::<Fragment>(source)
            .unwrap_err()
            .message()
            .to_owned();
        let list = message
            .split("expected ")
            .nth(1)
            .unwrap_or_else(|| panic!("{message}"));
        list.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn known_keys_are_the_keys() {
        for (table, keys) in KNOWN {
            let source = match *table {
                "" => "zzz = 1".to_owned(),
                "forward" => "[[forward]]\nzzz = 1".to_owned(),
                table => format!("[{table}]\nzzz = 1"),
            };
            assert_eq!(fields(&source), *keys, "table {table:?}");
        }
    }

    #[test]
    fn durations() {
        let table = [
            ("50ms", Some(50)),
            ("1s", Some(1000)),
            ("0ms", Some(0)),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1m", None),
            ("", None),
        ];
        for (text, millis) in table {
            assert_eq!(
                duration(text),
                millis.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }
}
