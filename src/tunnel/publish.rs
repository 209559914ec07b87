//! What others learn of the tunnel: its state in a file, the journal and the service manager.

use std::{net::IpAddr, path::PathBuf, process};

use wslmesh_relay::link::{Counters, GUEST_V4, GUEST_V6, PREFIX_V4, PREFIX_V6};

use super::{TunnelError, servers::Servers};
use crate::{
    model::{TunnelState, TunnelWay},
    observe::now_unix,
    report::{Manager, remove_tunnel, write_tunnel},
};

/// What a tunnel has that is up.
#[derive(Debug)]
pub(super) struct Up {
    /// The version of the switch's program.
    pub(super) program: String,
    /// Whether the switch's machine has IPv6.
    pub(super) ipv6: bool,
    /// Whether the link here has an address of IPv6.
    pub(super) link_ipv6: bool,
    pub(super) servers: Servers,
}

/// Tells others.
#[derive(Debug)]
pub(super) struct Publisher {
    runtime: PathBuf,
    state: TunnelState,
    manager: Manager,
    was_up: bool,
    /// What was said last of the way of packets.
    said: Option<(TunnelWay, Option<String>)>,
}

impl Publisher {
    /// `runtime` is the tunnel's or the agent's runtime directory.
    pub(super) fn new(runtime: PathBuf) -> Self {
        let mut publisher = Self {
            runtime,
            state: TunnelState {
                version: TunnelState::VERSION,
                pid: process::id(),
                since_unix: now_unix(),
                ..TunnelState::default()
            },
            manager: Manager::default(),
            was_up: false,
            said: None,
        };
        publisher.write();
        publisher
    }

    fn write(&mut self) {
        if let Err(error) = write_tunnel(&self.runtime, &self.state) {
            tracing::warn!(event = "tunnel", "{error}");
        }
    }

    /// Whether it ever was up.
    pub(super) fn was_up(&self) -> bool {
        self.was_up
    }

    /// Packets pass.
    pub(super) fn up(&mut self, up: Up) {
        let v4: (IpAddr, u8) = (GUEST_V4.into(), PREFIX_V4);
        let v6 = up.link_ipv6.then_some((GUEST_V6.into(), PREFIX_V6));
        let addresses = [Some(v4), v6].into_iter().flatten();
        let state = &mut self.state;
        if !state.up {
            state.since_unix = now_unix();
        }
        state.up = true;
        state.switch = up.program;
        state.ipv6 = up.ipv6;
        state.addresses = addresses
            .map(|(ip, prefix)| format!("{ip}/{prefix}"))
            .collect();
        state.nameservers = up.servers.whole;
        state.nameservers_by_port = up.servers.by_port;
        let ipv6 = if state.ipv6 { "" } else { ", without IPv6" };
        let line = format!("up by the switch {}{ipv6}", state.switch);
        tracing::info!(event = "tunnel", "the tunnel is {line}");
        self.write();
        self.manager.status(&line);
        if !self.was_up {
            self.was_up = true;
            self.manager.ready();
        }
    }

    /// They go by this way; why, for the standard streams. Without a reason another way is
    /// tried.
    pub(super) fn way(&mut self, way: TunnelWay, why: Option<String>) {
        let is_tried = way == TunnelWay::StandardStreams && why.is_none();
        self.state.way = Some(way);
        self.state.way_reason.clone_from(&why);
        self.write();
        let said = Some((way, why));
        // Starts in a row end alike.
        if is_tried || self.said == said {
            return;
        }
        match &said {
            Some((way, Some(why))) => {
                tracing::info!(event = "tunnel", "packets stay on the {way}: {why}");
            }
            _ => tracing::info!(event = "tunnel", "packets go by {way}"),
        }
        self.said = said;
    }

    /// They do not pass any more, or still do not.
    pub(super) fn failed(&mut self, error: &TunnelError) {
        let text = error.to_string();
        let state = &mut self.state;
        // Attempts in a row fail alike.
        if state.up || state.last_error.as_ref() != Some(&text) {
            tracing::warn!(event = "tunnel", code = error.code().as_str(), "{text}");
        }
        if state.up {
            state.restarts += 1;
            state.since_unix = now_unix();
        }
        state.up = false;
        (state.way, state.way_reason) = (None, None);
        state.counters = None;
        state.last_code = Some(error.code().to_string());
        self.manager.status(&format!("down: {text}"));
        state.last_error = Some(text);
        self.write();
    }

    /// The device is closed.
    pub(super) fn closed(&mut self) {
        self.state.addresses.clear();
        self.state.nameservers.clear();
        self.state.nameservers_by_port.clear();
        tracing::warn!(
            event = "tunnel",
            "the tunnel is closed until the switch answers; the routes are those of before"
        );
        self.write();
    }

    /// The switch has counted.
    pub(super) fn counted(&mut self, counters: Counters) {
        self.state.counters = Some(counters);
        self.write();
    }

    /// This process ends.
    pub(super) fn stopping(&mut self) {
        self.manager.stopping();
        remove_tunnel(&self.runtime);
        tracing::info!(event = "tunnel", "the tunnel is closed");
    }
}
