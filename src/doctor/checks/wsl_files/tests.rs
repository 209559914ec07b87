use super::*;
use crate::{doctor::tests::table, model::ModeState};

fn is(facts: &mut Facts, text: &str) {
    facts.wslconfig = Ok(Some(Ini::parse(text)));
}

fn unreadable(facts: &mut Facts) {
    facts.wslconfig = Err("several users have one".into());
}

fn mirrored(facts: &mut Facts) {
    facts.change(|o| o.mode = ModeState::Known(Mode::Mirrored));
}

fn conf(facts: &mut Facts, text: &str) {
    facts.local_mut().wsl_conf = Ok(Some(Ini::parse(text)));
}

#[test]
fn wsl_conf_and_wslconfig() {
    table! { "wsl-conf";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "missing": |f| f.local_mut().wsl_conf = Ok(None) => Info, "defaults";
        "unreadable": |f| f.local_mut().wsl_conf = Err("EACCES".into()) => Warning, "EACCES";
        "twice": |f| conf(f, "[boot]\nsystemd=true\nsystemd=false") => Warning, "[boot] systemd (line 3)";
        "invalid": |f| conf(f, "[boot]\nsystemd") => Warning, "line 2";
        "unknown": |f| conf(f, "[boot]\nsystemd=true\nsytemd=1") => Info, "sytemd";
        "wrong section": |f| conf(f, "[network]\nsystemd=true") => Info, "[network] systemd";
    }
    table! { "wslconfig";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "unknown user": unreadable => Skipped, "several users";
        "missing": |f| f.wslconfig = Ok(None) => Ok, "defaults";
        "invented key": |f| is(f, "[wsl2]\nnetworkingMode=mirrored\nnetworkingMode.excludedInterfaces={}") => Warning, "line 3";
        "unknown": |f| is(f, "[wsl2]\nmemroy=4GB") => Info, "memroy";
        "wrong section": |f| is(f, "[wsl2]\ninstanceIdleTimeout=-1") => Info, "instanceidletimeout";
        "twice": |f| is(f, "[wsl2]\nmemory=4GB\nMemory=8GB") => Warning, "line 3";
        "all well": |f| is(f, "[wsl2]\nmemory=4GB\n[experimental]\nhostAddressLoopback=true") => Ok, "2 keys";
    }
    table! { "wslconfig-mode";
        "unknown user": unreadable => Skipped, "several users";
        "unknown mode": |f| f.change(|s| s.mode = ModeState::Pending) => Skipped, "not known";
        "fallback": |f| is(f, "[wsl2]\nnetworkingMode=mirrored") => Warning, "mirrored is configured, nat is in force";
        "default": |f| f.wslconfig = Ok(None) => Ok, "nat";
        "not a mode": |f| is(f, "[wsl2]\nnetworkingMode=miror") => Warning, "not a mode";
        "old section": |f| { mirrored(f); is(f, "[experimental]\nnetworkingMode=Mirrored") } => Ok, "mirrored";
    }
}

#[test]
fn values() {
    table! { "wslconfig-network";
        "unknown user": unreadable => Skipped, "several users";
        "firewall": |f| is(f, "[wsl2]\nfirewall=false") => Info, "firewall=false";
        "DNS": |f| is(f, "[experimental]\ndnsTunneling=FALSE") => Info, "dnsTunneling=false";
        "localhost": |f| is(f, "[wsl2]\nlocalhostForwarding=0") => Info, "does not reach";
        "mirrored": |f| { mirrored(f); is(f, "[wsl2]\nlocalhostForwarding=1") } => Info, "mirrored mode";
    }
    table! { "wslconfig-limits";
        "unknown user": unreadable => Skipped, "several users";
        "set": |f| is(f, "[wsl2]\nmemory=4GB\nprocessors=4\nswap=0") => Ok, "memory=4GB, processors=4, swap=0";
        "little": |f| is(f, "[wsl2]\nmemory=512MB") => Warning, "less than 1 GB";
        "no size": |f| is(f, "[wsl2]\nmemory=lots") => Warning, "not a size";
        "no processors": |f| is(f, "[wsl2]\nprocessors=0") => Warning, "not a number";
    }
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("4GB", Some(4 << 30)),
        ("512 mb", Some(512 << 20)),
        ("8G", Some(8 << 30)),
        ("1048576", Some(1 << 20)),
        ("0", Some(0)),
        ("", None),
        ("GB", None),
        ("4GiB", None),
        ("99999999999TB", None),
    ] {
        assert_eq!(size(text), bytes, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,30}") {
        let _either = size(&text).is_some();
    }
}
