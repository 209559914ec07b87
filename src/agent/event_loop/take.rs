//! What a pass takes of those beside the loop, and they of a pass.

use std::time::Instant;

use super::{
    super::{peers::Need, tunnel},
    EventLoop,
};
use crate::units::TailscaleCall;

impl EventLoop {
    /// Has those look at what a pass has seen who follow the node's way.
    pub(super) fn take_view(&mut self) {
        let view = self.agent.view();
        if self.peers.see(&view) {
            self.tailscale.ask(TailscaleCall::Restun);
        }
        self.resumption.see(view);
        self.follow_tunnel();
    }

    /// Does what looking after peers needs, and says whether that is a pass.
    pub(super) fn serve_peers(&mut self, need: Need) -> bool {
        match need {
            Need::Nothing => {}
            Need::Reading => self.resumption.read_handshakes(true),
            Need::Pass => self.agent.peers.clone_from(&self.peers.findings),
        }
        need == Need::Pass
    }

    /// Takes the list of those that are served now.
    pub(super) fn take_members(&mut self) {
        let group = &mut self.agent.group;
        (group.members, self.agent.group_due) = self.members.current(Instant::now());
        if !group.members.is_empty() && group.own.is_empty() && !self.named {
            self.named = true;
            self.windows.ask_distribution();
        }
    }

    /// Takes what listens now.
    pub(super) fn take_listeners(&mut self) {
        let agent = &mut self.agent;
        self.listeners
            .follow(&agent.settings, agent.mode.state.known());
        agent.group.discovered = self.listeners.found().to_vec();
        agent.discovery = self.listeners.findings().collect();
    }

    /// Takes what becomes of this distribution when it is idle.
    pub(super) fn take_lifetime(&mut self) {
        self.lifetime.follow(self.agent.settings.hold_open);
        self.agent.publisher.lifetime = self.lifetime.entry();
        self.agent.not_held = self.lifetime.failure().cloned();
    }

    /// Has the tunnel follow what a pass has seen. Another way out is another network: names
    /// and peers are looked at again.
    fn follow_tunnel(&mut self) {
        let changed = self.tunnel.follow(tunnel::Scene {
            when: self.agent.settings.tunnel_when,
            mode: self.agent.mode.state.known(),
            underlay: self.agent.underlay.clone(),
            link: self.agent.tunnel_link,
            forwards: self.agent.tunnel_forwards.clone(),
        });
        if changed {
            self.dns.look_again();
        }
    }

    /// Takes what is to be said of the tunnel.
    pub(super) fn take_tunnel(&mut self) {
        let agent = &mut self.agent;
        (agent.publisher.tunnel, agent.tunnel, agent.host.tunnel) = self.tunnel.publish();
    }
}
