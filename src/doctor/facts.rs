//! What the examination knows of the machine: plain data, filled in by `read`
//! and made up by the tests.

use std::collections::BTreeMap;

use super::{ini::Ini, sockets::Socket, verdict::Skip};
use crate::{
    config::Settings,
    model::{Link, Observation, Plan},
    plan::{self, Node},
    report::Document,
};

/// The whole.
#[derive(Debug, Clone)]
pub struct Facts {
    /// WSL itself.
    pub(super) wsl: Wsl,
    /// The configuration, or what is wrong with it.
    pub(super) settings: Result<Settings, String>,
    /// What a pass of the agent would see, or why it could not look.
    pub(super) seen: Result<Observation, String>,
    /// What the running agent says of itself.
    pub(super) agent: Option<Document>,
    /// systemd.
    pub(super) systemd: Systemd,
    /// /etc/wsl.conf.
    pub(super) wsl_conf: Text<Ini>,
    /// Open sockets.
    pub(super) sockets: Text<Vec<Socket>>,
    /// Values below /proc/sys, by dotted name.
    pub(super) sysctls: BTreeMap<&'static str, String>,
}

/// WSL as seen from inside.
#[derive(Debug, Clone, Default)]
pub(super) struct Wsl {
    /// Whether this is WSL 2.
    pub(super) is: bool,
    /// The kernel's release.
    pub(super) release: String,
    /// WSL's version, where it says.
    pub(super) version: Option<String>,
}

/// A file or another source of text, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text<T> {
    /// There is none.
    Missing,
    /// Its content.
    Content(T),
    /// It could not be read; this says why.
    Unreadable(String),
}

impl<T> Text<T> {
    /// The content, where there is one.
    pub(super) fn content(&self) -> Option<&T> {
        match self {
            Self::Content(content) => Some(content),
            Self::Missing | Self::Unreadable(_) => None,
        }
    }

    /// The same with its content understood.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Text<U> {
        match self {
            Self::Missing => Text::Missing,
            Self::Content(content) => Text::Content(change(content)),
            Self::Unreadable(why) => Text::Unreadable(why),
        }
    }
}

/// systemd as it answers on the bus.
#[derive(Debug, Clone)]
pub(super) struct Systemd {
    /// Whether it is the init of this system (sd_booted(3)).
    pub(super) running: bool,
    /// Its units, or why it could not be asked.
    pub(super) units: Result<Units, String>,
}

/// The units that matter here.
#[derive(Debug, Clone, Default)]
pub(super) struct Units {
    /// State of units by name; nothing of those that systemd does not know.
    pub(super) states: BTreeMap<String, UnitState>,
    /// All units that have failed.
    pub(super) failed: Vec<String>,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitState {
    /// active, inactive, failed, activating, ...
    pub(super) active: String,
    /// enabled, disabled, static, masked, ...
    pub(super) file: String,
}

impl Facts {
    /// Ends a check that is about WSL alone.
    pub(super) fn wsl(&self) -> Result<&Wsl, Skip> {
        if self.wsl.is {
            Ok(&self.wsl)
        } else {
            Err(Skip::NotWsl)
        }
    }

    /// The configuration.
    pub(super) fn settings(&self) -> Result<&Settings, Skip> {
        self.settings
            .as_ref()
            .map_err(|_| Skip::Unknown("the configuration has errors".to_owned()))
    }

    /// The network, with the configuration by which it is looked at.
    pub(super) fn seen(&self) -> Result<(&Settings, &Observation), Skip> {
        let settings = self.settings()?;
        let seen = self.seen.as_ref();
        seen.map(|seen| (settings, seen))
            .map_err(|why| Skip::Unknown(why.clone()))
    }

    /// What a pass of the agent would do now.
    pub(super) fn plan(&self) -> Result<Plan, Skip> {
        let (settings, seen) = self.seen()?;
        Ok(plan::plan(settings, seen))
    }

    /// This distribution's place in the network.
    pub(super) fn node(&self) -> Result<Node<'_>, Skip> {
        let (settings, seen) = self.seen()?;
        plan::node(settings, seen).map_err(|finding| Skip::Unknown(finding.detail))
    }

    /// The tunnels that the configuration keeps at an MTU.
    pub(super) fn tunnels(&self) -> Result<Vec<&Link>, Skip> {
        let (settings, seen) = self.seen()?;
        let matches = |link: &&Link| settings.mtu_interfaces.matches(&link.name);
        Ok(seen.links.iter().filter(matches).collect())
    }

    /// A section's value in /etc/wsl.conf.
    pub(super) fn wsl_conf(&self, section: &str, key: &str) -> Option<&str> {
        self.wsl_conf.content()?.get(section, key)
    }

    /// systemd's units.
    pub(super) fn units(&self) -> Result<&Units, Skip> {
        let units = self.systemd.units.as_ref();
        units.map_err(|why| Skip::Unknown(why.clone()))
    }

    /// The sockets.
    pub(super) fn sockets(&self) -> Result<&[Socket], Skip> {
        match &self.sockets {
            Text::Content(sockets) => Ok(sockets),
            Text::Missing => Err(Skip::Unknown("/proc/net is not there".to_owned())),
            Text::Unreadable(why) => Err(Skip::Unknown(why.clone())),
        }
    }
}

/// A list for a person: `a, b and 3 more`.
pub(super) fn some(names: &[String]) -> String {
    const MOST: usize = 4;
    let shown: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
    match names.len().saturating_sub(MOST) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
