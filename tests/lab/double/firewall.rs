//! The firewall's rules of a sync, and others' rules that defeat them.

use std::collections::BTreeMap;

use crate::contract::{Firewall, FirewallDone, Protocol, ServedBy};
use crate::double::check::Wanted;
use crate::double::machine::{
    FirewallKind, FirewallRule, Machine, PROGRAM_FILES_WINDOWS, RELAY_NAME,
};
use crate::double::sync::{Died, Fuse};

/// The group of every rule of ours.
pub(crate) const GROUP: &str = "wslmesh";

fn protocol_text(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// The rule for one forward, unless it wants none.
fn rule(sid: &str, wanted: &Wanted, profiles: &[String]) -> Option<(String, FirewallRule)> {
    if wanted.firewall == Firewall::None {
        return None;
    }
    let (kind, by, program, service) = match wanted.served_by {
        ServedBy::Portproxy => (
            FirewallKind::Windows,
            "portproxy",
            Some("C:\\Windows\\System32\\svchost.exe".to_owned()),
            Some("iphlpsvc".to_owned()),
        ),
        ServedBy::Relay => (
            FirewallKind::Windows,
            "relay",
            Some(format!("{PROGRAM_FILES_WINDOWS}\\{RELAY_NAME}")),
            None,
        ),
        ServedBy::Guest => (FirewallKind::HyperV, "guest", None, None),
    };
    let protocol = protocol_text(wanted.protocol);
    Some((
        format!("wslmesh-{sid}-{protocol}-{}-{by}", wanted.listen_port),
        FirewallRule {
            kind,
            group: Some(GROUP.to_owned()),
            enabled: true,
            allow: true,
            protocol: Some(wanted.protocol),
            port: Some(wanted.listen_port),
            program,
            service,
            local_only: wanted.firewall == Firewall::Local,
            profiles: profiles.to_vec(),
        },
    ))
}

/// Whether this rule lets no profile through to that one.
fn defeats(block: &FirewallRule, ours: &FirewallRule, now: &[String]) -> bool {
    fn same<T: PartialEq>(theirs: &Option<T>, ours: &Option<T>) -> bool {
        theirs.is_none() || theirs == ours
    }
    block.enabled
        && !block.allow
        && block.kind == ours.kind
        && same(&block.protocol, &ours.protocol)
        && same(&block.port, &ours.port)
        && same(&block.program, &ours.program)
        && same(&block.service, &ours.service)
        && block.profiles.iter().any(|profile| now.contains(profile))
}

/// The rules that these forwards need.
pub(crate) fn wanted(
    sid: &str,
    forwards: &[Wanted],
    profiles: &[String],
) -> BTreeMap<String, FirewallRule> {
    forwards
        .iter()
        .filter_map(|wanted| rule(sid, wanted, profiles))
        .collect()
}

/// Makes the rules of this user the wanted ones.
pub(crate) fn apply(
    machine: &mut Machine,
    sid: &str,
    wanted: BTreeMap<String, FirewallRule>,
    now: &[String],
    profiles: &[String],
    fuse: &mut Fuse,
) -> Result<FirewallDone, Died> {
    let mut done = FirewallDone {
        state: "done".to_owned(),
        detail: None,
        added: 0,
        removed: 0,
        kept: 0,
        blocks: Vec::new(),
        profiles: now.to_vec(),
        covered: now.iter().all(|profile| profiles.contains(profile)),
    };
    let noted: Vec<String> = machine
        .users
        .get(sid)
        .map(|user| {
            let names = user.ledger.keys();
            names
                .filter_map(|name| name.strip_prefix("firewall/").map(str::to_owned))
                .collect()
        })
        .unwrap_or_default();
    for name in noted.iter().filter(|name| !wanted.contains_key(*name)) {
        fuse.burn()?;
        done.removed += usize::from(machine.firewall.remove(name).is_some());
        fuse.burn()?;
        machine.note(sid, &format!("firewall/{name}"), None);
    }
    for (name, rule) in wanted {
        let standing = machine.firewall.get(&name);
        if standing.is_some() && !noted.contains(&name) {
            done.state = "failed".to_owned();
            done.detail = Some(format!("{name} exists and is not ours"));
            continue;
        }
        let blocks = machine.firewall.iter();
        let blocks = blocks.filter(|(_, other)| defeats(other, &rule, now));
        let blocks = blocks.map(|(name, _)| format!("{name} (port {})", rule.port.unwrap_or(0)));
        done.blocks.extend(blocks);
        if standing == Some(&rule) {
            done.kept += 1;
            continue;
        }
        fuse.burn()?;
        machine.note(sid, &format!("firewall/{name}"), Some(rule.kind.text()));
        fuse.burn()?;
        machine.firewall.insert(name, rule);
        done.added += 1;
    }
    Ok(done)
}
