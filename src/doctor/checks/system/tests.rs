//! Tables of the group.

use super::*;
use crate::doctor::{
    Check,
    testing::{document, table, unit},
};

fn conf(facts: &mut Facts, text: &str) {
    facts.wsl_conf = Text::Content(Ini::parse(text));
}

fn unit_is(facts: &mut Facts, active: &str, file: &str) {
    let units = facts.systemd.units.as_mut().unwrap();
    units.states.insert(UNIT.into(), unit(active, file));
}

#[test]
fn wsl_itself() {
    table! { Check::WslVersion;
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "silent": |f| f.wsl.version = None => Note, "since 2.2.3";
        "old": |f| f.wsl.version = Some("2.5.9.0".into()) => Note, "2.5.10";
        "enough": |f| f.wsl.version = Some("2.5.10".into()) => Ok, "WSL 2.5.10";
        "WSL 1": |f| { f.wsl.is = false; f.wsl.release = "4.4.0-19041-Microsoft".into(); } => Failed, "WSL 1";
    }
    table! { Check::WslMode;
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "none": |f| f.change(|s| s.mode = ModeState::Known(Mode::None)) => Failed, "no network";
        "bridged": |f| f.change(|s| s.mode = ModeState::Known(Mode::Bridged)) => Note, "bridged";
        "silent": |f| f.change(|s| s.mode = ModeState::Pending) => Warning, "in time";
        "unknown": |f| f.change(|s| s.mode = ModeState::Unknown("why".into())) => Warning, "why";
        "mirrored": |f| f.change(|s| s.mode = ModeState::Known(Mode::Mirrored)) => Ok, "mirrored";
    }
}

#[test]
fn systemd_and_wsl_conf() {
    table! { Check::SystemdRunning;
        "another init": |f| f.systemd.running = false => Failed, "another init";
    }
    table! { Check::SystemdConfigured;
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "rewritten": |f| conf(f, "[network]\ngenerateResolvConf = false\n") => Failed, "after the next start";
        "missing": |f| f.wsl_conf = Text::Missing => Failed, "after the next start";
        "off": |f| conf(f, "[boot]\nsystemd=false\nsystemd=true") => Failed, "systemd=true";
        "not running": |f| { f.systemd.running = false; conf(f, "") } => Failed, "not in the file";
        "secret": |f| f.wsl_conf = Text::Unreadable("EACCES".into()) => Skipped, "EACCES";
        "other spelling": |f| conf(f, "[BOOT]\r\nSystemd = 1 # on\r\n") => Ok, "it does";
    }
    table! { Check::WslConf;
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "missing": |f| f.wsl_conf = Text::Missing => Note, "defaults";
        "secret": |f| f.wsl_conf = Text::Unreadable("EACCES".into()) => Warning, "EACCES";
        "twice": |f| conf(f, "[boot]\nsystemd=true\nsystemd=false") => Warning, "[boot] systemd (line 3)";
        "odd": |f| conf(f, "[boot]\nsystemd") => Warning, "line 2";
        "unknown": |f| conf(f, "[boot]\nsystemd=true\nsytemd=1") => Note, "sytemd";
        "wrong section": |f| conf(f, "[network]\nsystemd=true") => Note, "[network] systemd";
    }
}

#[test]
fn the_service() {
    table! { Check::Configuration;
        "an error": |f| f.settings = Err("a.toml:1:2: bad\nmore".into()) => Failed, "a.toml:1:2: bad";
    }
    table! { Check::UnitEnabled;
        "no bus": |f| f.systemd.units = Err("no bus".into()) => Skipped, "no bus";
        "no unit": |f| f.systemd.units.as_mut().unwrap().states.clear() => Warning, "knows no";
        "disabled": |f| unit_is(f, "active", "disabled") => Warning, "disabled";
        "masked": |f| unit_is(f, "inactive", "masked") => Warning, "masked";
        "static": |f| unit_is(f, "active", "static") => Ok, "static";
    }
    table! { Check::UnitActive;
        "no unit": |f| f.systemd.units.as_mut().unwrap().states.clear() => Skipped, "knows no";
        "failed": |f| unit_is(f, "failed", "enabled") => Failed, "failed";
        "inactive": |f| unit_is(f, "inactive", "enabled") => Failed, "inactive";
        "starting": |f| unit_is(f, "activating", "enabled") => Warning, "activating";
        "elsewhere": |f| { f.elsewhere(); unit_is(f, "inactive", "enabled") } => Note, "WSL 2 alone";
    }
    table! { Check::FailedUnits;
        "no bus": |f| f.systemd.units = Err("no bus".into()) => Skipped, "no bus";
        "the tunnel": |f| { f.systemd.units.as_mut().unwrap().failed = vec!["a.mount".into(), "wg-quick@wg0.service".into()] } => Failed, "failed: wg-quick@wg0.service";
        "a stranger": |f| f.systemd.units.as_mut().unwrap().failed = vec!["a.mount".into()] => Note, "a.mount";
        "ourselves": |f| f.systemd.units.as_mut().unwrap().failed = vec![UNIT.into()] => Ok, "none";
    }
    table! { Check::AgentHealth;
        "no agent": |f| f.agent = None => Warning, "no agent";
        "no agent elsewhere": |f| { f.elsewhere(); f.agent = None } => Note, "no agent";
        "standby": |f| f.agent.as_mut().unwrap().role = "standby".into() => Note, "stands by";
        "warning": |f| f.agent = Some(document(&[("contested", "warning")])) => Warning, "contested (x): it broke";
        "error": |f| { f.agent = Some(document(&[ ("contested", "warning"), ("no-address", "error"), ])) } => Failed, "no-address";
        "info": |f| f.agent = Some(document(&[("wireguard-busy", "info")])) => Ok, "active";
        "of Windows": |f| f.agent = Some(document(&[("forward-taken", "warning")])) => Ok, "active";
    }
}
