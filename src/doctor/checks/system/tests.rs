use super::*;
use crate::{
    doctor::tests::{table, unit},
    interop::ini::Ini,
};

fn conf(facts: &mut Facts, text: &str) {
    facts.local_mut().wsl_conf = Ok(Some(Ini::wsl_conf(text.as_bytes())));
}

fn unit_is(facts: &mut Facts, active: &str, file: &str) {
    let units = facts.units.as_mut().unwrap();
    units.states.insert(UNIT.into(), unit(active, file));
}

#[test]
fn wsl_itself() {
    table! { "wsl-version";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "silent": |f| f.wsl_version = None => Info, "since 2.2.3";
        "old": |f| f.wsl_version = Some("2.5.9.0".into()) => Info, "2.5.10";
        "enough": |f| f.wsl_version = Some("2.5.10".into()) => Ok, "WSL 2.5.10";
        "WSL 1": |f| { f.wsl = false; f.local_mut().release = "4.4.0-19041-Microsoft".into(); } => Error, "WSL 1";
    }
    table! { "wsl-mode";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "none": |f| f.change(|s| s.mode = ModeState::Known(Mode::None)) => Error, "no network";
        "bridged": |f| f.change(|s| s.mode = ModeState::Known(Mode::Bridged)) => Info, "bridged";
        "silent": |f| f.change(|s| s.mode = ModeState::Pending) => Warning, "in time";
        "unknown": |f| f.change(|s| s.mode = ModeState::Unknown("why".into())) => Warning, "why";
        "mirrored": |f| f.change(|s| s.mode = ModeState::Known(Mode::Mirrored)) => Ok, "mirrored";
    }
}

#[test]
fn systemd() {
    table! { "systemd-running";
        "another init": |f| f.local_mut().systemd = false => Error, "another init";
    }
    table! { "systemd-configured";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "rewritten": |f| conf(f, "[network]\ngenerateResolvConf = false\n") => Error, "after the next start";
        "missing": |f| f.local_mut().wsl_conf = Ok(None) => Error, "after the next start";
        "off": |f| conf(f, "[boot]\nsystemd=false\nsystemd=true") => Error, "[boot] systemd (line 2) is \"false\", which counts";
        "behind a bad line": |f| conf(f, "[network]\nstatic_ip = 1\n[boot]\nsystemd=true") => Error, "it stops at line 2";
        "in a section that WSL cannot read": |f| conf(f, "[ boot ]\nsystemd=true") => Error, "it stops at line 1";
        "continued line above": |f| conf(f, "[boot]\ncommand=a \\\nb\nsystemd=true") => Ok, "yes";
        "not running": |f| { f.local_mut().systemd = false; conf(f, "") } => Error, "not in the file";
        "secret": |f| f.local_mut().wsl_conf = Err("EACCES".into()) => Skipped, "EACCES";
        "other spelling": |f| conf(f, "[BOOT]\r\nSystemd = 1 # on\r\n") => Ok, "yes";
    }
}

#[test]
fn the_service() {
    table! { "configuration";
        "an error": |f| f.settings = Err("a.toml:1:2: bad\nmore".into()) => Error, "a.toml:1:2: bad";
    }
    table! { "unit-enabled";
        "no bus": |f| f.units = Err("no bus".into()) => Skipped, "no bus";
        "no unit": |f| f.units.as_mut().unwrap().states.clear() => Warning, "does not know";
        "disabled": |f| unit_is(f, "active", "disabled") => Warning, "disabled";
        "masked": |f| unit_is(f, "inactive", "masked") => Warning, "masked";
        "static": |f| unit_is(f, "active", "static") => Ok, "static";
    }
    table! { "unit-active";
        "no unit": |f| f.units.as_mut().unwrap().states.clear() => Skipped, "does not know";
        "failed": |f| unit_is(f, "failed", "enabled") => Error, "failed";
        "inactive": |f| unit_is(f, "inactive", "enabled") => Error, "inactive";
        "starting": |f| unit_is(f, "activating", "enabled") => Warning, "activating";
        "elsewhere": |f| { f.elsewhere(); unit_is(f, "inactive", "enabled") } => Info, "WSL 2 only";
    }
    table! { "failed-units";
        "no bus": |f| f.units = Err("no bus".into()) => Skipped, "no bus";
        "the tunnel": |f| { f.units.as_mut().unwrap().failed = vec!["a.mount".into(), "wg-quick@wg0.service".into()] } => Error, "wg-quick@wg0.service failed";
        "another": |f| f.units.as_mut().unwrap().failed = vec!["a.mount".into()] => Info, "a.mount";
        "the agent": |f| f.units.as_mut().unwrap().failed = vec![UNIT.into()] => Ok, "none";
    }
}

#[test]
fn fix_names_the_line_that_counts() {
    for (text, fix) in [
        (
            "[boot]\nsystemd=false\nsystemd=true",
            "Run `sudo wslmesh wslconf set boot.systemd true`, which changes line 2",
        ),
        (
            "; mine\n[boot]\nsystemd=true",
            "Correct line 1 of /etc/wsl.conf",
        ),
    ] {
        let mut facts = crate::doctor::tests::healthy();
        conf(&mut facts, text);
        let verdict = configured(&facts).unwrap();
        let found = verdict.remediation().unwrap();
        assert!(found.starts_with(fix), "{text}: {found}");
    }
}
