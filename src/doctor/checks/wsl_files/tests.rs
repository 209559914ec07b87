use super::*;
use crate::{doctor::tests::table, model::ModeState};

fn is(facts: &mut Facts, text: &str) {
    facts.wslconfig = Ok(Some(Ini::wslconfig(text.as_bytes())));
}

fn unreadable(facts: &mut Facts) {
    facts.wslconfig = Err("several users have one".into());
}

fn mirrored(facts: &mut Facts) {
    facts.change(|o| o.mode = ModeState::Known(Mode::Mirrored));
}

fn conf(facts: &mut Facts, text: &str) {
    facts.local_mut().wsl_conf = Ok(Some(Ini::wsl_conf(text.as_bytes())));
}

#[test]
fn wsl_conf_and_wslconfig() {
    table! { "wsl-conf";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "missing": |f| f.local_mut().wsl_conf = Ok(None) => Info, "defaults";
        "unreadable": |f| f.local_mut().wsl_conf = Err("EACCES".into()) => Warning, "EACCES";
        "twice": |f| conf(f, "[boot]\nsystemd=true\nsystemd=false") => Warning, "[boot] systemd (line 3)";
        "invalid": |f| conf(f, "[boot]\nsystemd") => Warning, "line 2";
        "nothing counts from there": |f| conf(f, "[network]\nstatic_ip = 1\n[boot]\nsystemd=true") => Warning, "stops reading at line 2 (static_ip = 1)";
        "a comment of others": |f| conf(f, "; note\n[boot]\nsystemd=true") => Warning, "a comment begins with #";
        "byte order mark": |f| conf(f, "\u{feff}[boot]\nsystemd=true") => Warning, "byte order mark";
        "continued": |f| conf(f, "[boot]\nsystemd=true\ncommand=a \\\n b") => Ok, "2 keys";
        "rejected": |f| conf(f, "[boot]\nsystemd=yes") => Warning, "it expects true or false, and \"yes\" is none";
        "unknown": |f| conf(f, "[boot]\nsystemd=true\nsytemd=1") => Info, "[boot] systemd is meant";
        "CRLF": |f| conf(f, "[boot]\r\nsystemd=true\r\n") => Ok, "1 key";
        "CRLF and the WSL that ignores it": |f| { conf(f, "[boot]\r\nsystemd=true\r\n"); f.wsl_version = Some("2.3.26.0".into()) } => Warning, "WSL 2.3.26.0 ignores /etc/wsl.conf";
        "another name": |f| { f.local_mut().wsl_conf = Ok(None); f.local_mut().wsl_conf_near = vec!["/etc/wsl.conf.txt".into()] } => Warning, "not /etc/wsl.conf.txt";
        "wrong section": |f| conf(f, "[network]\nsystemd=true") => Info, "[network] systemd";
    }
    table! { "wslconfig";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "unknown user": unreadable => Skipped, "several users";
        "missing": |f| f.wslconfig = Ok(None) => Ok, "defaults";
        "invented key": |f| is(f, "[wsl2]\nnetworkingMode=mirrored\nnetworkingMode.excludedInterfaces={}") => Warning, "line 3";
        "another name": |f| { f.wslconfig = Ok(None); f.wslconfig_near = vec!["/mnt/c/Users/me/.wslconfig.txt".into()] } => Warning, ".wslconfig.txt";
        "big endian": |f| f.wslconfig = Ok(Some(Ini::wslconfig(b"\xfe\xff\0["))) => Warning, "save it as UTF-8";
        "unknown": |f| is(f, "[wsl2]\nmemroy=4GB") => Info, "[wsl2] memory is meant";
        "another section": |f| is(f, "[wsl2]\nautoMemoryReclaim=gradual") => Info, "[experimental] autoMemoryReclaim is meant";
        "no section": |f| is(f, "instanceIdleTimeout=-1") => Info, "[general] instanceIdleTimeout is meant";
        "a key of many sections": |f| is(f, "[wslg]\nenabled=true") => Info, "WSL ignores [wslg] enabled";
        "unknown section": |f| is(f, "[wslg2]\nmemory=4GB") => Info, "[wsl2] memory is meant";
        "backslash": |f| is(f, "[wsl2]\nkernel=C:\\wsl\\k\nmemory=4GB") => Warning, "WSL skips line 2 (kernel=C:\\wsl\\k)";
        "comment of others": |f| is(f, "; note\n[wsl2]\nmemory=4GB") => Warning, "skips line 1";
        "size in small letters": |f| is(f, "[wsl2]\nmemory=4gb") => Warning, "\"4gb\"";
        "size with a blank": |f| is(f, "[wsl2]\nswap=2 GB") => Warning, "without a blank";
        "no boolean": |f| is(f, "[wsl2]\nfirewall=off") => Warning, "true or false";
        "not a mode": |f| is(f, "[wsl2]\nnetworkingMode=miror") => Warning, "it expects one of none, nat, bridged, mirrored";
        "ports": |f| is(f, "[experimental]\nignoredPorts=80,http") => Warning, "ports such as 80,443";
        "in either section": |f| is(f, "[experimental]\nnetworkingMode=nat\n[wsl2]\nnetworkingMode=mirrored") => Warning, "[wsl2] networkingMode (line 4) repeats line 2";
        "wrong section": |f| is(f, "[wsl2]\ninstanceIdleTimeout=-1") => Info, "instanceIdleTimeout";
        "twice": |f| is(f, "[wsl2]\nmemory=4GB\nMemory=8GB") => Warning, "line 3";
        "all well": |f| is(f, "[wsl2]\nmemory=4GB\n[experimental]\nhostAddressLoopback=true") => Ok, "2 keys";
    }
    table! { "wslconfig-mode";
        "unknown user": unreadable => Skipped, "several users";
        "unknown mode": |f| f.change(|s| s.mode = ModeState::Pending) => Skipped, "not known";
        "fallback": |f| is(f, "[wsl2]\nnetworkingMode=mirrored") => Warning, "mirrored is configured, nat is in force";
        "default": |f| f.wslconfig = Ok(None) => Ok, "nat";
        "not a mode": |f| is(f, "[wsl2]\nnetworkingMode=miror") => Ok, "nat";
        "the first counts": |f| { mirrored(f); is(f, "[experimental]\nnetworkingMode=nat\n[wsl2]\nnetworkingMode=mirrored") } => Warning, "nat is configured";
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
        "in force": |f| is(f, "[wsl2]\nmemory=8GB\nprocessors=8\nswap=2000MB") => Ok, "memory=8GB, processors=8, swap=2000MB";
        "in use": |f| is(f, "[wsl2]\nmemory=1500MB") => Warning, "memory=1500MB is less than the 2000 MiB that programs use now";
        "less in force": |f| is(f, "[wsl2]\nmemory=16GB") => Info, "memory=16GB is configured, and 8000 MiB of memory are in force: WSL was not restarted since";
        "more in force": |f| is(f, "[wsl2]\nmemory=4GB") => Info, "8000 MiB of memory are in force";
        "256 MB at least": |f| { is(f, "[wsl2]\nmemory=1MB"); f.local_mut().memory = Some(Machine { memory: 230, ..Machine::default() }) } => Warning, "memory=1MB is less than 1 GB; memory=1MB is less than the 230";
        "other processors": |f| is(f, "[wsl2]\nprocessors=4") => Info, "processors=4 is configured, and 8 processors are in force";
        "unknown processors": |f| { is(f, "[wsl2]\nprocessors=4"); f.local_mut().memory.as_mut().unwrap().processors = None } => Ok, "processors=4";
        "other swap": |f| is(f, "[wsl2]\nswap=0") => Info, "swap=0 is configured, and 2000 MiB of swap are in force";
        "unknown machine": |f| { is(f, "[wsl2]\nmemory=4GB"); f.local_mut().memory = None } => Ok, "memory=4GB";
        "little": |f| is(f, "[wsl2]\nmemory=512MB") => Warning, "less than 1 GB";
        "no size": |f| is(f, "[wsl2]\nmemory=lots") => Ok, "none set";
        "no processors": |f| is(f, "[wsl2]\nprocessors=0") => Warning, "not a number";
    }
}
