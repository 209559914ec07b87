//! The firewall's rules: those of a policy, those of the port proxy's forwards, and
//! others' rules that defeat them.

use std::collections::{BTreeMap, BTreeSet};

use crate::contract::{Firewall, FirewallDone, Grant, MIRRORED, Policy, Protocol, ServedBy};
use crate::double::check::Wanted;
use crate::double::machine::{
    FirewallKind, FirewallRule, Machine, PROGRAM_FILES_WINDOWS, RELAY_NAME,
};
use crate::double::situation::Situation;
use crate::double::sync::{Died, Fuse};

/// The group of every rule of ours.
pub(crate) const GROUP: &str = "wslmesh";
/// Shuts the relay's program in networks that no user agreed to.
pub(crate) const BLOCK: &str = "wslmesh-machine-block";
/// Lets loopback in to it, so that Windows does not ask.
pub(crate) const LOOPBACK: &str = "wslmesh-machine-loopback";
/// The profiles of firewall rules that no policy names.
const USUAL_PROFILES: [&str; 2] = ["domain", "private"];

/// Rules by their names.
pub(crate) type Rules = BTreeMap<String, FirewallRule>;

/// Which firewall has the rules for the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guest {
    /// As the install has made them.
    AsTheyAre,
    /// Windows' own.
    Windows,
    /// Hyper-V's.
    HyperV,
}

fn protocol_text(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// `2222`, or `8000-8010`.
fn ports_text((first, last): (u16, u16)) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

fn relay() -> String {
    format!("{PROGRAM_FILES_WINDOWS}\\{RELAY_NAME}")
}

/// A rule of ours for these ports, by who listens there.
fn add(
    rules: &mut Rules,
    sid: &str,
    grant: &Grant,
    served_by: ServedBy,
    guest: FirewallKind,
    profiles: &[String],
) {
    if grant.firewall == Firewall::None || grant.listen_address.is_loopback() {
        return;
    }
    let (kind, by, program, service) = match served_by {
        ServedBy::Portproxy => (
            FirewallKind::Windows,
            "portproxy",
            Some("C:\\Windows\\System32\\svchost.exe".to_owned()),
            Some("iphlpsvc".to_owned()),
        ),
        ServedBy::Relay => (FirewallKind::Windows, "relay", Some(relay()), None),
        ServedBy::Guest if guest == FirewallKind::HyperV => (guest, "hyperv", None, None),
        ServedBy::Guest => (guest, "mirrored", None, None),
    };
    let protocol = protocol_text(grant.protocol);
    let ports = ports_text(grant.listen_ports);
    let local = Some(grant.listen_address).filter(|address| !address.is_unspecified());
    let rule = FirewallRule {
        kind,
        group: Some(GROUP.to_owned()),
        enabled: true,
        allow: true,
        protocol: Some(grant.protocol),
        ports: Some(grant.listen_ports),
        local,
        program,
        service,
        local_only: grant.firewall == Firewall::Local,
        profiles: profiles.to_vec(),
    };
    let name = format!("wslmesh-{sid}-{protocol}-{ports}-{by}");
    // One for grants that differ in their connect ports or listen addresses alone.
    let one = rules.entry(name).or_insert_with(|| rule.clone());
    one.local_only &= rule.local_only;
    one.local = one.local.filter(|_| one.local == rule.local);
}

/// Every profile that a user of this machine agreed to.
fn agreed(machine: &Machine) -> BTreeSet<String> {
    let policies = machine
        .users
        .values()
        .filter_map(|user| user.policy.as_ref());
    policies
        .flat_map(|policy| policy.profiles.clone())
        .collect()
}

/// Those of the relay's program that the machine has once.
fn of_the_machine(machine: &Machine, rules: &mut Rules) {
    let agreed = agreed(machine);
    if agreed.is_empty() {
        return;
    }
    let others = ["domain", "private", "public"].map(str::to_owned);
    let others = others.into_iter().filter(|one| !agreed.contains(one));
    let rule = |allow, local, profiles| FirewallRule {
        kind: FirewallKind::Windows,
        group: Some(GROUP.to_owned()),
        enabled: true,
        allow,
        protocol: None,
        ports: None,
        local,
        program: Some(relay()),
        service: None,
        local_only: false,
        profiles,
    };
    let block = rule(false, None, others.collect());
    let loopback = rule(
        true,
        Some(std::net::Ipv4Addr::LOCALHOST.into()),
        agreed.into_iter().collect(),
    );
    rules.insert(LOOPBACK.to_owned(), loopback);
    if !block.profiles.is_empty() {
        rules.insert(BLOCK.to_owned(), block);
    }
}

/// Makes the machine's rules what its users have agreed to, in the ledger of each.
pub(crate) fn share(machine: &mut Machine) {
    let mut rules = Rules::new();
    of_the_machine(machine, &mut rules);
    for name in [BLOCK, LOOPBACK] {
        let rule = rules.remove(name);
        let kind = rule.as_ref().map(|rule| rule.kind.text());
        let mut users: Vec<String> = machine.users.keys().cloned().collect();
        users.retain(|sid| machine.policy(sid).is_some());
        for sid in users {
            machine.note(&sid, &format!("firewall/{name}"), kind);
        }
        match rule {
            Some(rule) => machine.firewall.insert(name.to_owned(), rule),
            None => machine.firewall.remove(name),
        };
    }
}

/// The names of rules in a user's ledger, with the firewall that has them.
fn noted(machine: &Machine, sid: &str) -> BTreeMap<String, String> {
    let ledger = machine.users.get(sid).map(|user| user.ledger.iter());
    let named = |(name, kind): (&String, &String)| {
        let name = name.strip_prefix("firewall/")?;
        Some((name.to_owned(), kind.clone()))
    };
    ledger.into_iter().flatten().filter_map(named).collect()
}

/// Which firewall has the rules for a user's guest.
fn guest_kind(machine: &Machine, sid: &str, guest: Guest) -> FirewallKind {
    let hyper_v = FirewallKind::HyperV;
    match guest {
        Guest::Windows => FirewallKind::Windows,
        Guest::HyperV => hyper_v,
        Guest::AsTheyAre => {
            let made = noted(machine, sid).into_values();
            let found = made.into_iter().any(|kind| kind == hyper_v.text());
            if found {
                hyper_v
            } else {
                FirewallKind::Windows
            }
        }
    }
}

/// The rules of the user's policy, and of these forwards of the port proxy. Without a
/// policy those of all forwards.
pub(crate) fn wanted(machine: &Machine, sid: &str, forwards: &[Wanted], guest: Guest) -> Rules {
    let mut rules = Rules::new();
    let policy = machine.policy(sid);
    let kind = guest_kind(machine, sid, guest);
    let profiles = profiles(policy);
    for grant in policy
        .map(|policy| policy.grants.iter())
        .into_iter()
        .flatten()
    {
        let server = machine.server(sid, grant);
        if server != ServedBy::Portproxy {
            add(&mut rules, sid, grant, server, kind, &profiles);
        }
    }
    for wanted in forwards {
        if policy.is_some() && wanted.served_by != ServedBy::Portproxy {
            continue;
        }
        let grant = Grant {
            protocol: wanted.protocol,
            listen_address: wanted.listen_address,
            listen_ports: (wanted.listen_port, wanted.listen_port),
            connect_ports: (wanted.connect_port, wanted.connect_port),
            firewall: wanted.firewall,
            backend: crate::contract::Backend::Auto,
        };
        add(&mut rules, sid, &grant, wanted.served_by, kind, &profiles);
    }
    if policy.is_some() {
        of_the_machine(machine, &mut rules);
    }
    rules
}

fn profiles(policy: Option<&Policy>) -> Vec<String> {
    policy.map_or_else(
        || USUAL_PROFILES.map(str::to_owned).to_vec(),
        |policy| policy.profiles.clone(),
    )
}

/// Whether this rule lets no profile through to that one.
fn defeats(block: &FirewallRule, ours: &FirewallRule, now: &[String]) -> bool {
    fn same<T: PartialEq>(theirs: &Option<T>, ours: &Option<T>) -> bool {
        theirs.is_none() || theirs == ours
    }
    let ports = match (block.ports, ours.ports) {
        (Some(theirs), Some(ours)) => theirs.0 <= ours.1 && ours.0 <= theirs.1,
        (theirs, _) => theirs.is_none(),
    };
    block.enabled
        && !block.allow
        && block.kind == ours.kind
        && ports
        && same(&block.protocol, &ours.protocol)
        && same(&block.local, &ours.local)
        && same(&block.program, &ours.program)
        && same(&block.service, &ours.service)
        && block.profiles.iter().any(|profile| now.contains(profile))
}

fn of_machine(name: &str) -> bool {
    name.starts_with("wslmesh-machine-")
}

/// What is to be said about the firewall before anything is done.
fn begin(machine: &Machine, situation: &Situation, sid: &str, wanted: &Rules) -> FirewallDone {
    let policy = machine.policy(sid);
    let agreed = profiles(policy);
    let mut blocks = Vec::new();
    for (_, rule) in wanted.iter().filter(|(name, _)| !of_machine(name)) {
        let defeated = machine
            .firewall
            .iter()
            .filter(|(name, other)| !of_machine(name) && defeats(other, rule, &situation.profiles));
        let ports = ports_text(rule.ports.unwrap_or_default());
        blocks.extend(defeated.map(|(name, _)| format!("{name} (port {ports})")));
    }
    let kind = guest_kind(machine, sid, Guest::AsTheyAre);
    FirewallDone {
        state: "done".to_owned(),
        detail: None,
        added: 0,
        removed: 0,
        kept: 0,
        blocks,
        profiles: situation.profiles.clone(),
        covered: situation.profiles.iter().all(|one| agreed.contains(one)),
        restored: Vec::new(),
        guest: policy
            .filter(|policy| policy.mode == MIRRORED)
            .map(|_| kind.text().to_owned()),
    }
}

/// The firewall does not run, and has no rules.
fn unavailable(done: FirewallDone, wanted: &Rules) -> FirewallDone {
    FirewallDone {
        state: "unavailable".to_owned(),
        detail: Some(format!(
            "the firewall cannot be changed; rules wanted: {}",
            wanted.len()
        )),
        blocks: Vec::new(),
        covered: false,
        ..done
    }
}

/// Whether the rules of this user are the wanted ones, without a change.
pub(crate) fn look(
    machine: &Machine,
    situation: &Situation,
    sid: &str,
    wanted: &Rules,
) -> FirewallDone {
    let mut done = begin(machine, situation, sid, wanted);
    if !situation.firewall {
        return unavailable(done, wanted);
    }
    let mut wrong = Vec::new();
    for (name, rule) in wanted {
        if machine.firewall.get(name) == Some(rule) {
            done.kept += usize::from(!of_machine(name));
        } else {
            wrong.push(format!("{name} is missing or different"));
        }
    }
    let noted = noted(machine, sid).into_keys();
    let unwanted = noted.filter(|name| !wanted.contains_key(name));
    let left = unwanted.filter(|name| machine.firewall.contains_key(name));
    wrong.extend(left.map(|name| format!("{name} is still there")));
    if !wrong.is_empty() {
        done.state = "failed".to_owned();
        let wrong = wrong.join(", ");
        done.detail = Some(format!("{wrong}; run \"wslmesh host install\""));
    }
    done
}

/// Makes the rules of this user the wanted ones, but for Hyper-V's, which the setup
/// alone changes.
pub(crate) fn apply(
    machine: &mut Machine,
    situation: &Situation,
    sid: &str,
    wanted: Rules,
    fuse: &mut Fuse,
) -> Result<FirewallDone, Died> {
    if !situation.firewall {
        let done = begin(machine, situation, sid, &wanted);
        return Ok(unavailable(done, &wanted));
    }
    let ordinary = |name: &str| !name.ends_with("-hyperv");
    change(machine, situation, sid, wanted, ordinary, fuse)
}

/// The same with Hyper-V's.
pub(crate) fn apply_all(
    machine: &mut Machine,
    situation: &Situation,
    sid: &str,
    wanted: Rules,
) -> Result<FirewallDone, Died> {
    change(
        machine,
        situation,
        sid,
        wanted,
        |_| true,
        &mut Fuse::new(None),
    )
}

fn change(
    machine: &mut Machine,
    situation: &Situation,
    sid: &str,
    wanted: Rules,
    may: impl Fn(&str) -> bool,
    fuse: &mut Fuse,
) -> Result<FirewallDone, Died> {
    let mut done = begin(machine, situation, sid, &wanted);
    let noted = noted(machine, sid);
    let shared: BTreeSet<String> = machine
        .users
        .keys()
        .filter(|other| *other != sid)
        .flat_map(|other| self::noted(machine, other).into_keys())
        .filter(|name| of_machine(name))
        .collect();
    let gone = noted.keys().filter(|name| !wanted.contains_key(*name));
    for name in gone.filter(|name| may(name)) {
        fuse.burn()?;
        if !shared.contains(name) {
            let removed = machine.firewall.remove(name).is_some();
            done.removed += usize::from(removed && !of_machine(name));
        }
        fuse.burn()?;
        machine.note(sid, &format!("firewall/{name}"), None);
    }
    for (name, rule) in wanted.into_iter().filter(|(name, _)| may(name)) {
        let counts = usize::from(!of_machine(&name));
        let ours = noted.contains_key(&name) || shared.contains(&name);
        let standing = machine.firewall.get(&name);
        let standing_is_gone = standing.is_none() && noted.contains_key(&name);
        if standing.is_some() && !ours {
            done.state = "failed".to_owned();
            done.detail = Some(format!("{name} exists and is not ours"));
            continue;
        }
        if standing == Some(&rule) && noted.contains_key(&name) {
            done.kept += counts;
            continue;
        }
        fuse.burn()?;
        machine.note(sid, &format!("firewall/{name}"), Some(rule.kind.text()));
        fuse.burn()?;
        if standing_is_gone && counts > 0 {
            let protocol = rule.protocol.map_or("", protocol_text).to_uppercase();
            let ports = ports_text(rule.ports.unwrap_or_default());
            let text = format!("the firewall rule for {protocol} port {ports}");
            done.restored.push(text);
        }
        machine.firewall.insert(name, rule);
        done.added += counts;
    }
    done.guest = begin(machine, situation, sid, &Rules::new()).guest;
    Ok(done)
}
