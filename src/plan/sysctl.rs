//! Kernel parameters.

use crate::{
    config::Settings,
    model::{
        Action, Code, Mode, ModeState, Observation, Plan, SysctlChange, SysctlKey, SysctlReading,
    },
};

/// Last parts of the per-interface parameters that WSL sets for mirrored mode
/// and that no other program may touch there (microsoft/WSL:
/// src/linux/init/init.cpp, HardenMirroredNetworkingSettingsAgainstSystemd, and
/// src/linux/init/GnsEngine.cpp).
const RESERVED: &[&str] = &[
    "accept_local",
    "route_localnet",
    "rp_filter",
    "arp_filter",
    "accept_ra",
    "autoconf",
    "dad_transmits",
    "use_tempaddr",
    "addr_gen_mode",
    "disable_ipv6",
];

pub(super) fn plan(settings: &Settings, seen: &Observation, plan: &mut Plan) {
    for (key, wanted) in &settings.sysctls {
        if reserved(key) {
            match &seen.mode {
                ModeState::Known(Mode::Mirrored) => {
                    let detail = format!("{key} stays as WSL set it");
                    plan.find(Code::SysctlReserved, key.to_string(), detail);
                    continue;
                }
                // It may be mirrored: the parameter waits for the answer.
                ModeState::Pending | ModeState::Unknown(_) => continue,
                ModeState::Known(_) => {}
            }
        }
        let (code, detail) = match seen.sysctls.get(key) {
            None => continue,
            Some(SysctlReading::Value { value, .. }) if value == wanted => continue,
            Some(SysctlReading::Value { value, writable }) => {
                if *writable {
                    plan.actions.push(Action::WriteSysctl(SysctlChange {
                        key: key.clone(),
                        from: value.clone(),
                        to: wanted.clone(),
                    }));
                    continue;
                }
                let detail = format!("{key} is read-only here and has {value}");
                (Code::SysctlMissing, detail)
            }
            Some(SysctlReading::Missing) => {
                (Code::SysctlMissing, format!("there is no {key} here"))
            }
            Some(SysctlReading::Unreadable(why)) => {
                (Code::SysctlRefused, format!("{key} cannot be read: {why}"))
            }
        };
        plan.find(code, key.to_string(), detail);
    }
}

fn reserved(key: &SysctlKey) -> bool {
    match key.parts() {
        [_net, family, conf, _interface, last] => {
            (family == "ipv4" || family == "ipv6")
                && conf == "conf"
                && RESERVED.contains(&last.as_str())
        }
        [_net, family, last] => family == "ipv4" && last == "ip_local_port_range",
        _ => false,
    }
}

#[cfg(test)]
mod tests;
