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
        match seen.sysctls.get(key) {
            Some(SysctlReading::Value { value, .. }) if value == wanted => {}
            Some(SysctlReading::Value {
                value,
                writable: true,
            }) => {
                plan.actions.push(Action::WriteSysctl(SysctlChange {
                    key: key.clone(),
                    from: value.clone(),
                    to: wanted.clone(),
                }));
            }
            Some(SysctlReading::Value {
                value,
                writable: false,
            }) => {
                let detail = format!("{key} is read-only here and has {value}");
                plan.find(Code::SysctlMissing, key.to_string(), detail);
            }
            Some(SysctlReading::Missing) => {
                let detail = format!("there is no {key} here");
                plan.find(Code::SysctlMissing, key.to_string(), detail);
            }
            Some(SysctlReading::Unreadable(why)) => {
                let detail = format!("{key} cannot be read: {why}");
                plan.find(Code::SysctlRefused, key.to_string(), detail);
            }
            None => {}
        }
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
mod tests {
    use super::*;
    use crate::{
        config::settings,
        model::SysctlValue,
        plan::testing::{Machine, planned},
    };

    /// Settings with this parameter alone.
    fn only(key: &str, value: &str) -> Settings {
        let mut settings = settings("");
        settings.sysctls = [(SysctlKey::parse(key).unwrap(), SysctlValue::new(value))].into();
        settings
    }

    #[test]
    fn one_parameter() {
        let rmem = "net.ipv4.tcp_rmem";
        let filter = "net.ipv4.conf.all.rp_filter";
        let missing = |key: &str| {
            Machine::new().with(|seen| {
                drop(
                    seen.sysctls
                        .insert(SysctlKey::parse(key).unwrap(), SysctlReading::Missing),
                )
            })
        };
        let table = [
            (
                "differs",
                rmem,
                Machine::new().sysctl(rmem, "4096\t131072\t6291456", true),
                "net.ipv4.tcp_rmem \"4096 131072 6291456\" -> \"1 2 3\"",
            ),
            (
                "equal but for white space",
                rmem,
                Machine::new().sysctl(rmem, "1\t2\t3\n", true),
                "",
            ),
            (
                "shared read-only",
                rmem,
                Machine::new().sysctl(rmem, "4 5 6", false),
                "sysctl-missing",
            ),
            ("absent", rmem, missing(rmem), "sysctl-missing"),
            (
                "WSL's own in mirrored mode",
                filter,
                Machine::new()
                    .mode(Mode::Mirrored)
                    .sysctl(filter, "0", true),
                "sysctl-reserved",
            ),
            (
                "not yet known whose",
                filter,
                Machine::new()
                    .with(|seen| seen.mode = ModeState::Pending)
                    .sysctl(filter, "0", true),
                "",
            ),
            (
                "it may be mirrored",
                filter,
                Machine::new()
                    .with(|seen| seen.mode = ModeState::Unknown("x".into()))
                    .sysctl(filter, "0", true),
                "",
            ),
            (
                "free in NAT",
                filter,
                Machine::new().sysctl(filter, "0", true),
                "net.ipv4.conf.all.rp_filter \"0\" -> \"1 2 3\"",
            ),
            (
                "the port range too",
                "net.ipv4.ip_local_port_range",
                Machine::new().mode(Mode::Mirrored).sysctl(
                    "net.ipv4.ip_local_port_range",
                    "1 2",
                    true,
                ),
                "sysctl-reserved",
            ),
        ];
        for (case, key, machine, expected) in table {
            let plan = planned(&only(key, "1 2 3"), &machine.seen(), plan);
            let lines: Vec<String> = plan
                .actions
                .iter()
                .map(ToString::to_string)
                .chain(plan.findings.iter().map(|finding| finding.code.to_string()))
                .collect();
            assert_eq!(lines.join("\n"), expected, "{case}");
        }
    }
}
