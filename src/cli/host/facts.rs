//! What Linux knows, for a report: nothing in it names a peer or holds a key.

use std::fs;

use serde::Serialize;

use crate::{
    config::{Forward, Settings, Source},
    interop,
    model::{ModeState, plain},
    paths::Paths,
    report::{Document, read_status},
};

/// The facts, in the order in which they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Facts {
    /// This package's version.
    pub(super) wslmesh: &'static str,
    /// Linux' release.
    pub(super) kernel: String,
    /// WSL's version, where it says.
    pub(super) wsl: Option<String>,
    /// WSL's networking mode.
    pub(super) mode: String,
    /// How Windows programs are run, or why not.
    pub(super) interop: String,
    /// The configuration in a line.
    pub(super) configuration: String,
    /// The running agent, if any.
    pub(super) agent: String,
    /// Its health codes; `None` where it is not running.
    pub(super) health: Option<Vec<String>>,
}

impl Facts {
    /// Gathers them; `interop` is what the search for it gave.
    pub(super) async fn gather(source: &Source, paths: &Paths, interop: String) -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let document = read_status(&paths.runtime).ok().flatten();
        let document = document.filter(Document::is_alive);
        Self {
            wslmesh: env!("CARGO_PKG_VERSION"),
            kernel: plain(&release),
            wsl: match interop::is_wsl() {
                true => interop::ask_wsl_version().await,
                false => None,
            },
            mode: match interop::ask_mode().await {
                ModeState::Known(mode) => mode.to_string(),
                ModeState::Pending => "pending".to_owned(),
                ModeState::Unknown(why) => format!("unknown: {why}"),
            },
            interop,
            configuration: match Settings::load(source) {
                Ok(settings) => configuration(&settings),
                Err(error) => plain(&error.to_string()),
            },
            agent: match &document {
                Some(document) => format!("{}, {} passes", document.role, document.passes),
                None => "not running".to_owned(),
            },
            health: document.map(|document| {
                let codes = document.health.into_iter().map(|entry| entry.code);
                codes.collect()
            }),
        }
    }

    /// Name and value of each.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let health = match self.health.as_deref() {
            None => "not known".to_owned(),
            Some([]) => "fine".to_owned(),
            Some(codes) => codes.join(", "),
        };
        let wsl = self.wsl.clone();
        vec![
            ("wslmesh", self.wslmesh.to_owned()),
            ("kernel", self.kernel.clone()),
            ("wsl", wsl.unwrap_or_else(|| "not known".to_owned())),
            ("mode", self.mode.clone()),
            ("interop", self.interop.clone()),
            ("config", self.configuration.clone()),
            ("agent", self.agent.clone()),
            ("health", health),
        ]
    }
}

/// What this distribution, this machine and its user are called.
pub(super) fn known_names() -> Vec<String> {
    let variables = ["WSL_DISTRO_NAME", "USER", "SUDO_USER"];
    let named = variables.iter().filter_map(|name| std::env::var(name).ok());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let names = named.chain(host).map(|name| name.trim().to_owned());
    let general = ["", "root", "localhost"];
    names
        .filter(|name| !general.contains(&name.as_str()))
        .collect()
}

fn configuration(settings: &Settings) -> String {
    let forwards: Vec<String> = settings.forwards.iter().map(forward).collect();
    let forwards = if forwards.is_empty() {
        "no forwards".to_owned()
    } else {
        format!("forwards: {}", forwards.join(", "))
    };
    format!(
        "backend {}, mtu {} ({}), {forwards}",
        settings.backend, settings.mtu, settings.underlay
    )
}

/// A forward without its name.
fn forward(forward: &Forward) -> String {
    let address = match forward.listen_address {
        all if all.is_unspecified() && all.is_ipv6() => " by IPv4 and IPv6",
        all if all.is_unspecified() => "",
        _ => " on one address",
    };
    let backend = forward.backend.map(|backend| format!(" {backend}"));
    format!(
        "{} {} -> {} {}{address}{}",
        forward.protocol,
        forward.listen_port,
        forward.connect_port,
        forward.firewall,
        backend.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_has_ports_and_no_names() {
        let settings = crate::config::settings(
            "[[forward]]\nname = \"my-secret\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n\
             [[forward]]\nname = \"other\"\nprotocol = \"udp\"\nlisten-address = \"192.168.1.77\"\nlisten-port = 9\nfirewall = \"full\"\n",
        );
        assert_eq!(
            configuration(&settings),
            "backend auto, mtu 1280 (raise), forwards: tcp 2222 -> 22 local, udp 9 -> 9 full on one address"
        );
    }
}
