use super::*;
use crate::{
    config::settings,
    doctor::tests::{address, link, name, table},
    model::{Mode, ModeState},
};

fn mtu(facts: &mut Facts, link: &str, mtu: u32) {
    facts.change(|observation| {
        let ours = observation.links.iter_mut().find(|l| l.name == name(link));
        ours.unwrap().mtu = mtu;
    });
}

fn no_tunnel(facts: &mut Facts) {
    facts.change(|o| o.links.truncate(2));
}

fn lower(facts: &mut Facts) {
    facts.settings = Ok(settings("[mtu]\nunderlay = \"lower-tunnel\""));
}

#[test]
fn tunnels_and_what_is_below() {
    table! { "tunnel-mtu";
        "no tunnel": no_tunnel => Skipped, "no tunnel";
        "too large": |f| mtu(f, "wg0", 1420) => Warning, "wg0 has 1420 and needs 1280";
        "lowered": |f| { lower(f); mtu(f, "eth0", 1300) } => Warning, "needs 1240";
        "lowered below IPv6": |f| { lower(f); mtu(f, "eth0", 1300); mtu(f, "wg0", 1240); f.change(|s| s.addresses.push(address(3, "fd00::1/64"))); } => Warning, "wg0 gets MTU 1240";
        "other tunnels": |f| f.change(|s| s.links.extend([link(7, "tun0", LinkKind::Tun, 1400), link(8, "zt0", LinkKind::Tun, 2800)])) => Info, "tunnels that [mtu] interfaces does not name keep their MTU: tun0 1400, zt0 2800";
        "eth0 is another check's": |f| mtu(f, "eth0", 1280) => Ok, "wg0 1280";
    }
    table! { "underlay-mtu";
        "no tunnel": no_tunnel => Skipped, "no tunnel";
        "too small": |f| mtu(f, "eth0", 1280) => Error, "eth0 has 1280 and needs 1340";
        "Windows' adapter is named": |f| { mtu(f, "eth0", 1280); f.change(|o| o.host.facts.lowest_mtu = Some(("Tailscale".into(), 1280))); } => Error, "the Windows adapter \"Tailscale\" has MTU 1280";
        "mirrored with IPv6": |f| { mtu(f, "eth0", 1300); f.change(|s| { s.mode = ModeState::Known(Mode::Mirrored); s.addresses.push(address(3, "fd00::1/64")); }); } => Error, "would end its IPv6";
        "just enough": |f| mtu(f, "eth0", 1340) => Ok, "eth0 1340";
    }
    table! { "mtu-probing";
        "no tunnel": no_tunnel => Skipped, "no tunnel";
        "off": |f| f.local_mut().mtu_probing = Some("0".into()) => Info, "depends on ICMP";
        "always": |f| f.local_mut().mtu_probing = Some("2".into()) => Ok, "is 2";
        "unknown": |f| f.local_mut().mtu_probing = None => Skipped, "no net.ipv4.tcp_mtu_probing";
    }
}
