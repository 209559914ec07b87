//! What keeps a port from answering, and what matters most of it.

use super::{
    cause::{Cause, SAME},
    facts::{Kept, Owner, PortFacts},
    rules::leads_back,
};
use crate::{
    config::Firewall,
    doctor::verdict::list,
    model::{
        Code, ForwardBackend, HealthEntry, Listening, Mode, PlainText, PortOwner, Protocol, Reach,
        Severity, WindowsEnd, WindowsPort, or_empty,
    },
};

/// What to do where Windows does not reach this distribution.
pub(super) const NOT_REACHED: &str = "Look at the packet filter in this distribution (`sudo nft list ruleset`); where Windows reaches no port of it, run `wsl --shutdown`";
/// What to do where what listens on Windows does not lead here.
pub(super) const NOT_THROUGH: &str =
    "Run `systemctl reload wslmesh`, which has Windows asked again, then `wslmesh status`";

/// The findings so far.
struct Judge<'a> {
    facts: &'a PortFacts,
    found: Vec<(Cause, HealthEntry)>,
}

/// What is wrong with the port, what matters most first.
#[must_use]
pub fn judge_port(facts: &PortFacts) -> Vec<HealthEntry> {
    causes(facts).into_iter().map(|(_, one)| one).collect()
}

/// The same, each with its kind.
pub(super) fn causes(facts: &PortFacts) -> Vec<(Cause, HealthEntry)> {
    let mut judge = Judge {
        facts,
        found: Vec::new(),
    };
    judge.here();
    if facts.on_windows() {
        match &facts.windows {
            Ok(windows) => judge.windows(windows),
            Err(why) => judge.find(
                Cause::WindowsUnknown,
                format!("what Windows has of the port is not known: {why}"),
                "Run `wslmesh host check`",
            ),
        }
        judge.agent();
    }
    // Who has a port of Windows' that is not ours is the answer; what is missing here is not.
    let unforwarded = facts.forward.is_none() && !facts.shared();
    let mut found = judge.found;
    found.sort_by_key(|(cause, one)| {
        let first = unforwarded && cause.holds_windows();
        (one.severity == Severity::Info, !first, *cause)
    });
    found
}

impl Judge<'_> {
    fn find(&mut self, cause: Cause, detail: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Warning, cause, detail.into(), fix.into());
    }

    fn add(&mut self, severity: Severity, cause: Cause, detail: String, fix: String) {
        let forward = self.facts.forward.as_ref();
        let entry = HealthEntry {
            code: cause.code().to_owned(),
            severity,
            subject: forward.map(|one| one.name.clone()).unwrap_or_default(),
            detail,
            remediation: fix,
        };
        self.found.push((cause, entry));
    }

    fn has(&self, cause: Cause) -> bool {
        self.found.iter().any(|(found, _)| *found == cause)
    }

    /// The service in this distribution.
    fn here(&mut self) {
        let facts = self.facts;
        let (protocol, port) = (facts.protocol, facts.connect_port);
        let mode = facts.mode.known();
        if mode.is_some_and(|mode| mode.keeps(protocol, facts.listen_port.get())) {
            let detail = format!(
                "Windows keeps {} for itself in mirrored mode",
                facts.title()
            );
            self.find(Cause::WindowsKeeps, detail, Code::ForwardKept.remediation());
        }
        let at = facts.at();
        let place = at.map_or_else(|| format!("port {port}"), |at| at.to_string());
        match facts.listening() {
            None => {}
            // A container's: a rule leads there.
            Some(_) if facts.here == Some(Reach::Answers) => {}
            Some(Listening::No) if facts.passes_on && protocol == Protocol::Udp => self.add(
                Severity::Info,
                Cause::NothingListens,
                format!("no service listens on {protocol} port {port} here, unless a rule passes it on to a container"),
                "Check that the container is running and publishes the port (`docker ps`, `podman ps`)".to_owned(),
            ),
            Some(Listening::No) => {
                let detail = match facts.loopback() {
                    Some(_) => format!("no service listens on {protocol} {place}, where its forward leads"),
                    None => format!("no service listens on {protocol} port {port} in this distribution"),
                };
                let fix = match &facts.forward {
                    Some(_) => "Start the service, or correct connect-port (`wslmesh forward list`)",
                    None => "Start the service",
                };
                self.find(Cause::NothingListens, detail, fix);
            }
            Some(Listening::Elsewhere(address)) => {
                let who = or_empty(facts.holder().map(|one| &one.owner));
                let detail = format!(
                    "{who} listens on {} only, which packets to {place} do not reach",
                    address.ip()
                );
                let fix = match facts.loopback() {
                    Some(_) => "Correct connect-address of the forward, or let the service listen there and restart it",
                    None => "Let the service listen on 0.0.0.0 (`ListenAddress 0.0.0.0` in sshd_config), and restart it; or set connect-address = \"127.0.0.1\" in its [[forward]], if it asks its clients for a password",
                };
                self.find(Cause::LoopbackOnly, detail, fix);
            }
            Some(Listening::Yes) => {
                if let Some(reach) = facts.here.filter(|reach| *reach != Reach::Unknown) {
                    let detail = format!("a service listens, and {place} {}", reach.in_words());
                    let fix = "Look at the packet filter in this distribution (`sudo nft list ruleset`)";
                    self.find(Cause::FilteredHere, detail, fix);
                }
            }
        }
        self.relay();
        self.header();
        self.other_distribution();
    }

    /// What has the place of the relay that leads to a service on loopback.
    fn relay(&mut self) {
        let Some((at, Some(holder))) = self.facts.relay_place() else {
            return;
        };
        if holder.is_relay() {
            return;
        }
        let detail = format!(
            "{} has {at}, where the relay is to take what comes from Windows",
            holder.owner
        );
        let fix = "Remove connect-address from the forward if that is its service, else stop that program there or let it listen on 127.0.0.1";
        self.find(Cause::RelayTaken, detail, fix);
    }

    /// Whether service and forward agree about the PROXY protocol's header.
    fn header(&mut self) {
        let facts = self.facts;
        let forward = facts.forward.as_ref();
        let sends = forward.is_some_and(|one| one.proxy_protocol.is_some());
        let what = match (sends, facts.tested.plain, facts.tested.headed) {
            // It may take the header from the relay's address alone.
            (true, Some(Kept::Open), Some(Kept::Closed)) if facts.keeps_the_relays() => return,
            (true, Some(Kept::Open), Some(Kept::Closed)) => "closed the connection after",
            (true, Some(Kept::Open), Some(Kept::BadRequest)) => "answered \"400\" by HTTP to",
            (false, Some(Kept::Closed), Some(Kept::Open)) => {
                let detail = "the service closes a connection without the PROXY header and keeps one with it, and the forward sends none";
                let fix =
                    "If it is set to read the header, set proxy-protocol = \"v2\" for the forward";
                self.add(
                    Severity::Info,
                    Cause::HeaderExpected,
                    detail.to_owned(),
                    fix.to_owned(),
                );
                return;
            }
            _ => return,
        };
        let detail = format!("the service {what} the PROXY header: it likely does not know it");
        let fix = "Set proxy-protocol only for services that read it (nginx: `listen ... proxy_protocol`), or set the service to read it";
        self.find(Cause::HeaderUnknown, detail, fix);
    }

    fn other_distribution(&mut self) {
        let facts = self.facts;
        let forwarded = facts
            .status
            .as_ref()
            .and_then(|one| one.distribution.as_ref());
        let elsewhere = facts
            .holder()
            .is_some_and(|one| one.owner == Owner::Elsewhere);
        if let (Some(name), None) = (forwarded, &facts.forward) {
            let detail = format!(
                "a forward of the distribution {name} has {} on Windows",
                facts.title()
            );
            let fix =
                format!("Use it, or remove it there: `wsl.exe -d {name} -- wslmesh forward list`");
            self.add(Severity::Warning, Cause::OtherDistribution, detail, fix);
        } else if elsewhere && forwarded.is_none() {
            let (protocol, port) = (facts.protocol, facts.connect_port);
            let names = match facts.others.as_slice() {
                [] => "of another distribution".to_owned(),
                names => format!("of another distribution ({})", names.join(" or ")),
            };
            let detail = format!(
                "a process {names} holds {protocol} port {port}; all distributions share one network"
            );
            let fix = "Stop it there (`wsl.exe --list --running` names the distributions, `sudo ss -lnp` in each the process), or choose another port";
            self.find(Cause::OtherDistribution, detail, fix);
        }
    }

    /// The port on Windows.
    fn windows(&mut self, windows: &WindowsPort) {
        let facts = self.facts;
        let listen = facts.listen_port.get();
        if let Some(rule) = leads_back(windows, listen) {
            let detail = format!("the port proxy rule {rule} leads back to itself");
            let fix = "Remove the rule on Windows as administrator (`netsh interface portproxy show all` lists it, `netsh interface portproxy delete` removes it)";
            self.find(Cause::Loop, detail, fix);
        }
        let foreign = windows.rules_at(listen).find(|one| !one.ours);
        if let Some(rule) = foreign.filter(|_| !self.has(Cause::Loop)) {
            let detail = format!("another tool's port proxy rule leads {rule}");
            match (&facts.forward, facts.leads_here(rule)) {
                (None, true) => self.add(
                    Severity::Info,
                    Cause::ForeignRule,
                    detail,
                    "wslmesh does not follow the address for it: make it a forward (`wslmesh forward add`)".to_owned(),
                ),
                _ => self.find(Cause::ForeignRule, detail, Code::ForwardConflict.remediation()),
            }
        }
        if let Some(owner) = self.stranger(windows) {
            let mut detail = format!("on Windows {owner} listens on {}:{listen}", owner.address);
            if owner.id == 4 {
                detail +=
                    "; that is http.sys, and `netsh http show servicestate` names the program";
            }
            self.find(
                Cause::WindowsProcess,
                detail,
                Code::ForwardTaken.remediation(),
            );
        } else if let Some(range) = windows.excluded {
            let detail = format!(
                "Windows gives no program the {} ports {range}",
                facts.protocol
            );
            self.find(
                Cause::ExcludedRange,
                detail,
                Code::ForwardExcluded.remediation(),
            );
        }
        self.firewall(windows);
        self.connects();
        let dynamic = windows.dynamic.filter(|range| range.has(facts.listen_port));
        if let Some(range) = dynamic.filter(|_| facts.forward.is_some()) {
            let detail = format!(
                "the port is in the dynamic range that Windows reports, {range}: another program may take it first"
            );
            let fix =
                "No action needed while it works; otherwise choose a port outside of that range";
            self.add(Severity::Info, Cause::DynamicRange, detail, fix.to_owned());
        }
    }

    /// A program of Windows that has the port and is none that leads here: WSL's own on
    /// loopback, the relay and the port proxy.
    fn stranger<'w>(&self, windows: &'w WindowsPort) -> Option<&'w PortOwner> {
        let facts = self.facts;
        // There WSL's own process listens for what is bound here.
        if facts.mode.known() == Some(Mode::Consomme) && facts.holder().is_some() {
            return None;
        }
        let proxied = windows.rules_at(facts.listen_port.get()).next().is_some();
        let is_known = |one: &PortOwner| match &*one.process {
            "wslrelay" | "wslmesh-relay" => true,
            "svchost" => proxied,
            _ => false,
        };
        let listen = facts.listen_address();
        let mut owners = windows.owners.iter().flatten();
        owners.find(|one| one.overlaps(listen) && !is_known(one))
    }

    fn firewall(&mut self, windows: &WindowsPort) {
        let facts = self.facts;
        let needed = (facts.forward.is_some() || facts.shared() && facts.holder().is_some())
            && !facts.listen_address().is_loopback();
        let Some(firewall) = windows.firewall.as_ref().filter(|_| needed) else {
            return;
        };
        if let Some(shut) = firewall.shut.first() {
            let fix = "Turn off \"Block all incoming connections\" for this kind of networks in Windows' firewall settings";
            self.find(
                Cause::FirewallBlocks,
                format!("Windows' firewall: {shut}"),
                fix,
            );
        }
        if !firewall.blocks.is_empty() {
            let detail = format!(
                "Windows' firewall keeps clients out by {}",
                quoted(&firewall.blocks)
            );
            self.find(
                Cause::FirewallBlocks,
                detail,
                Code::FirewallBlocked.remediation(),
            );
        }
        if firewall.allows.is_empty() && !firewall.open {
            let profiles = list(&firewall.profiles);
            let detail = format!(
                "no rule of Windows' firewall lets clients in to {} (networks: {profiles})",
                facts.title()
            );
            let fix = match &facts.forward {
                Some(forward) if forward.firewall == Firewall::None => "firewall = \"none\" leaves the rule to you: make one in wf.msc, or set firewall = \"local\" and run `wslmesh host install`".to_owned(),
                Some(_) => "Run `wslmesh host install`, or `wslmesh host install --profiles` for another kind of networks".to_owned(),
                None => format!("Add a forward, which brings the rule: `sudo wslmesh forward add NAME --protocol {} --listen-port {}`", facts.protocol, facts.listen_port),
            };
            self.find(Cause::FirewallLacks, detail, fix);
        }
    }

    /// Connections from Windows, as far as what they need is there.
    fn connects(&mut self) {
        let facts = self.facts;
        if facts.here != Some(Reach::Answers) {
            return;
        }
        let failed = |to| {
            let mut ends = facts.windows_connects(to);
            ends.find_map(|end| Some((end.at(), facts.wrong_with(end)?)))
        };
        if let Some((at, what)) = failed(WindowsEnd::Guest) {
            let detail = match facts.loopback() {
                Some(_) => {
                    format!("the relay here is to answer at {at}, and from Windows it {what}")
                }
                None => format!("{at} answers here, and from Windows it {what}"),
            };
            self.find(Cause::NotReached, detail, NOT_REACHED);
        }
        if facts.forward.is_none() && !facts.shared() {
            return;
        }
        for (to, cause) in [
            (WindowsEnd::Listener, Cause::WindowsSilent),
            (WindowsEnd::Network, Cause::NetworkSilent),
        ] {
            if let Some((at, what)) = failed(to) {
                self.find(cause, format!("on Windows {at} {what}"), NOT_THROUGH);
            }
        }
    }

    /// What the agent says, and whether anything leads here.
    fn agent(&mut self) {
        let facts = self.facts;
        let windows = facts.windows.iter();
        let mut rules = windows.flat_map(|one| one.rules_at(facts.listen_port.get()));
        let led = rules.any(|one| facts.leads_here(one));
        let Some(forward) = &facts.forward else {
            let of_another = self.has(Cause::OtherDistribution) && facts.status.is_some();
            if !facts.shared() && !led && !of_another {
                let (protocol, port) = (facts.protocol, facts.listen_port);
                let detail = format!(
                    "no forward leads Windows' {protocol} port {port} to this distribution"
                );
                let fix = format!(
                    "Add one: `sudo wslmesh forward add NAME --protocol {protocol} --listen-port {port}`"
                );
                self.find(Cause::NoForward, detail, fix);
            }
            return;
        };
        if !facts.agent && facts.served_by != ForwardBackend::Guest {
            let detail = format!(
                "the agent is not running, so the forward {:?} follows no address",
                forward.name
            );
            self.find(Cause::NoAgent, detail, "Run `sudo systemctl start wslmesh`");
        }
        let allowed = facts.windows.as_ref().ok().and_then(|one| one.allowed);
        // The tunnel's switch asks for none.
        if allowed == Some(false) && facts.served_by != ForwardBackend::Tunnel {
            let detail = format!("the policy on Windows does not cover {}", facts.title());
            self.find(
                Cause::OutsidePolicy,
                detail,
                Code::ForwardOutsidePolicy.remediation(),
            );
        }
        for entry in &facts.health {
            let same = SAME.iter().find(|(code, _)| entry.code == *code);
            let (_, cause) = same.copied().unwrap_or(("", Cause::Health));
            // The agent says it of the relay here too.
            let is_known = cause == Cause::WindowsProcess && self.has(Cause::RelayTaken);
            // What was found just now is newer.
            if cause == Cause::Health || !self.has(cause) && !is_known {
                self.found.push((cause, entry.clone()));
            }
        }
    }
}

/// Names of rules, the first few.
fn quoted(names: &[PlainText]) -> String {
    let first: Vec<String> = names
        .iter()
        .take(3)
        .map(|one| format!("{:?}", &**one))
        .collect();
    let more = if names.len() > 3 { " and others" } else { "" };
    format!("{}{more}", first.join(", "))
}

/// What to do: the fix of what matters most, or what is right.
#[must_use]
pub fn port_advice(facts: &PortFacts, findings: &[HealthEntry]) -> String {
    let first = findings.iter().find(|one| one.severity > Severity::Info);
    if let Some(first) = first {
        return format!("{}.", first.remediation.trim_end_matches('.'));
    }
    let (title, port) = (facts.title(), facts.listen_port);
    if facts.protocol == Protocol::Udp {
        return format!(
            "What can be looked at is right; that a UDP port answers cannot be proven without its protocol, so look for traffic (`wslmesh status` counts sessions, `sudo wg show` has handshakes) and try `wslmesh port {port}/udp --host ADDRESS` on another machine."
        );
    }
    let ends = [WindowsEnd::Guest, WindowsEnd::Listener];
    let windows = facts.windows.as_ref().ok();
    let from_windows = windows.is_some_and(|windows| {
        let answers = |to| windows.ends(to).any(|end| end.reach() == Reach::Answers);
        ends.into_iter().any(answers)
    });
    let answers = match (facts.here == Some(Reach::Answers), from_windows) {
        (true, true) => "answers here and from Windows",
        (true, false) => "answers here",
        (false, true) => "answers from Windows",
        (false, false) => {
            return format!(
                "Nothing wrong was found, but whether {title} answers could not be tried; run `wslmesh port {port} --host ADDRESS` on another machine."
            );
        }
    };
    format!(
        "{title} {answers}; if a client elsewhere gets no answer, run `wslmesh port {port} --host ADDRESS` there."
    )
}

#[cfg(test)]
mod tests;
