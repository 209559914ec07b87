use super::*;
use crate::{
    config::settings,
    doctor::{
        facts::UnitState,
        tests::{CONFIG, link, nat_look, table},
    },
    model::{GatewayAnswer, LinkKind, ModeState},
    report::TunnelEntry,
};

fn look(facts: &mut Facts, gateway: GatewayAnswer, answers: bool) {
    facts.nat = Some(nat_look(gateway, answers));
}

#[test]
fn windows_nat() {
    table! { "tunnel-nat";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "mirrored": |f| f.change(|o| o.mode = ModeState::Known(Mode::Mirrored)) => Skipped, "mode mirrored has no NAT";
        "no gateway": |f| f.nat = None => Skipped, "no gateway";
        "works": |f| look(f, GatewayAnswer::Answers, true) => Ok, "172.28.16.1 answers on eth0, and the name server 172.28.16.1 answers there";
        "no names": |f| look(f, GatewayAnswer::Answers, false) => Ok, "no name server answers there";
        "names alone": |f| look(f, GatewayAnswer::Silent, true) => Ok, "does not answer on eth0, and the name server";
        "broken": |f| look(f, GatewayAnswer::Silent, false) => Warning, "does not answer on eth0, and no name server answers there (172.28.16.1)";
        "unclear": |f| look(f, GatewayAnswer::Unknown("not root".into()), false) => Skipped, "as root";
    }
}

fn when(facts: &mut Facts, when: &str) {
    facts.settings = Ok(settings(&format!("[tunnel]\nwhen = \"{when}\"\n{CONFIG}")));
    unit_is(facts, "inactive", "static");
}

fn unit_is(facts: &mut Facts, active: &str, file: &str) {
    let unit = UnitState {
        active: active.to_owned(),
        file: file.to_owned(),
    };
    let units = facts.units.as_mut().unwrap();
    units.states.insert(TUNNEL_UNIT.to_owned(), unit);
}

fn said(facts: &mut Facts, state: &str, reason: Option<&str>) {
    facts.agent.as_mut().unwrap().tunnel = Some(TunnelEntry {
        state: state.to_owned(),
        reason: reason.map(str::to_owned),
        ..TunnelEntry::default()
    });
}

fn up(facts: &mut Facts) {
    facts.change(|o| o.links.push(link(9, "wslmesh0", LinkKind::Tunnel, 1500)));
}

#[test]
fn what_the_tunnel_needs() {
    table! { "tunnel-device";
        "not concerned": |_| {} => Ok, "never";
        "all": |f| when(f, "always") => Ok, "/dev/net/tun and wslmesh-tunnel.service";
        "no tun": |f| { when(f, "always"); f.local_mut().kernel.tun = false } => Warning, "/dev/net/tun";
        "no unit": |f| { when(f, "always"); f.units.as_mut().unwrap().states.clear() } => Warning, "knows no wslmesh-tunnel";
        "masked": |f| { when(f, "always"); unit_is(f, "inactive", "masked") } => Warning, "masked";
        "no systemd": |f| { when(f, "always"); f.units = Err("no bus".into()) } => Skipped, "no bus";
    }
}

#[test]
fn the_tunnel_where_it_is_wanted() {
    table! { "tunnel-unit";
        "not concerned": |_| {} => Ok, "never";
        "by hand": |f| { up(f); said(f, "up", Some("by-hand")) } => Ok, "up; started by hand";
        "up": |f| { when(f, "nat-broken"); up(f); said(f, "up", Some("nat-broken")) } => Ok, "up; wanted while Windows' NAT is broken";
        "not needed": |f| { when(f, "nat-broken"); said(f, "down", None) } => Ok, "not needed";
        "starting": |f| { when(f, "always"); unit_is(f, "activating", "static"); said(f, "starting", Some("always")) } => Info, "is starting";
        "failed": |f| { when(f, "always"); unit_is(f, "failed", "static"); said(f, "failed", Some("always")) } => Warning, "failed; wanted by [tunnel]";
        "does not start": |f| { when(f, "always"); said(f, "failed", Some("always")) } => Warning, "is inactive";
        "not connected": |f| { when(f, "always"); unit_is(f, "active", "static"); said(f, "failed", Some("always")) } => Warning, "wslmesh0 is not up";
        "stopped by hand": |f| { when(f, "always"); said(f, "down", Some("always")) } => Info, "stopped by hand";
        "no agent": |f| { when(f, "always"); f.agent = None } => Info, "says nothing";
    }
}
