use super::*;
use crate::{
    config::settings,
    model::SysctlValue,
    plan::tests::machine::{Machine, planned},
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
            Machine::new()
                .mode(Mode::Mirrored)
                .sysctl("net.ipv4.ip_local_port_range", "1 2", true),
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
