use super::*;
use crate::{
    config::settings,
    doctor::tests::table,
    model::{Mode, ModeState, SysctlKey, SysctlReading, SysctlValue},
};

const RMEM: &str = "net.core.rmem_max";

fn reading(facts: &mut Facts, reading: SysctlReading) {
    let key = SysctlKey::parse(RMEM).unwrap();
    facts.change(|o| drop(o.sysctls.insert(key, reading)));
}

fn value(writable: bool) -> SysctlReading {
    SysctlReading::Value {
        value: SysctlValue::new("212992"),
        writable,
    }
}

fn reserved(facts: &mut Facts) {
    facts.settings = Ok(settings("[sysctl]\n\"net.ipv4.conf.all.rp_filter\" = 1\n"));
    facts.change(|o| o.mode = ModeState::Known(Mode::Mirrored));
}

#[test]
fn parameters() {
    table! { "sysctl-values";
        "another value": |f| reading(f, value(true)) => Warning, "net.core.rmem_max is \"212992\"";
        "read-only is another check's": |f| reading(f, value(false)) => Ok, "9 parameters";
        "bad configuration": |f| f.settings = Err("x".into()) => Skipped, "configuration";
    }
    table! { "sysctl-allowed";
        "read-only": |f| reading(f, value(false)) => Info, "read-only";
        "missing": |f| reading(f, SysctlReading::Missing) => Info, "there is no";
        "unreadable": |f| reading(f, SysctlReading::Unreadable("EIO".into())) => Warning, "EIO";
        "WSL's own": reserved => Warning, "net.ipv4.conf.all.rp_filter stays";
    }
}
