use super::*;
use crate::doctor::tests::{address, name, table, unit as state};

fn unit_is(facts: &mut Facts, active: &str, file: &str) {
    let units = facts.units.as_mut().unwrap();
    units.states.insert(UNIT.into(), state(active, file));
}

fn no_link(facts: &mut Facts) {
    facts.change(|o| o.links.retain(|link| link.name != name("tailscale0")));
}

#[test]
fn tailscale() {
    table! { "tailscale-unit";
        "not installed": |f| drop(f.units.as_mut().unwrap().states.remove(UNIT)) => Skipped, "not installed";
        "failed": |f| unit_is(f, "failed", "enabled") => Error, "failed";
        "stopped": |f| unit_is(f, "inactive", "enabled") => Warning, "inactive";
        "disabled": |f| unit_is(f, "inactive", "disabled") => Info, "inactive and disabled";
        "for now": |f| unit_is(f, "active", "disabled") => Info, "not start after a restart";
    }
    table! { "tailscale-interface";
        "userspace mode": no_link => Info, "userspace mode";
        "neither": |f| { no_link(f); unit_is(f, "inactive", "disabled") } => Skipped, "no Tailscale interface";
        "logged out": |f| f.change(|s| s.addresses.retain(|a| a.link != 4)) => Warning, "no address";
        "IPv6 alone": |f| f.change(|s| {
            s.addresses.retain(|a| a.link != 4);
            s.addresses.push(address(4, "fd7a::1/128"));
        }) => Warning, "no address";
    }
}
