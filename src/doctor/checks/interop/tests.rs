use super::*;
use crate::{
    doctor::tests::{document, table},
    interop::{Drives, ini::Ini},
};

fn conf_is(facts: &mut Facts, text: &str) {
    facts.local_mut().wsl_conf = Ok(Some(Ini::wsl_conf(text.as_bytes())));
}

fn way(facts: &mut Facts, code: Code) {
    facts.interop.as_mut().unwrap().way = Err((code, "why not".into()));
}

#[test]
fn interop() {
    table! { "interop-binfmt";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "late": |f| f.interop.as_mut().unwrap().entry = Some(("WSLInterop-late".into(), true)) => Ok, "WSLInterop-late";
        "disabled": |f| f.interop.as_mut().unwrap().entry = Some(("WSLInterop".into(), false)) => Info, "is disabled";
        "none": |f| f.interop.as_mut().unwrap().entry = None => Info, "calls /init";
        "without init": |f| { f.interop.as_mut().unwrap().entry = None; f.interop.as_mut().unwrap().init = false } => Error, "no /init";
        "an entry alone": |f| f.interop.as_mut().unwrap().init = false => Error, "no /init";
    }
    table! { "interop-socket";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "no socket": |f| way(f, Code::InteropMissing) => Error, "why not";
        "no powershell.exe": |f| way(f, Code::InteropPowershell) => Ok, "it accepts";
        "a dead channel": |f| f.agent = Some(document(&[("interop-dead", "warning")])) => Error, "it broke";
    }
    table! { "interop-powershell";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "no socket": |f| way(f, Code::InteropMissing) => Skipped, "no socket";
        "no powershell.exe": |f| way(f, Code::InteropPowershell) => Error, "why not";
        "no right": |f| way(f, Code::DriveDenied) => Error, "why not";
        "a drive that hangs": |f| f.interop = Err("why not".into()) => Error, "why not";
    }
    table! { "interop-conf";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "off": |f| conf_is(f, "[interop]\nenabled=false") => Error, "[interop] enabled=false";
        "no drives": |f| {
            conf_is(f, "[automount]\nenabled=0");
            f.local_mut().drives = Drives::of(b"", b"", |_| None);
        } => Error, "[automount]";
        "drives by fstab": |f| conf_is(f, "[automount]\nenabled=0") => Ok, "nothing";
        "no path": |f| conf_is(f, "[interop]\nappendWindowsPath=false") => Info, "full paths";
        "unreadable": |f| f.local_mut().wsl_conf = Err("EACCES".into()) => Skipped, "EACCES";
    }
    table! { "interop-environment";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "stale": |f| f.interop.as_mut().unwrap().named = Some(("/run/WSL/9_interop".into(), false)) => Info, "9_interop";
        "good": |f| f.interop.as_mut().unwrap().named = Some(("/run/WSL/8_interop".into(), true)) => Ok, "8_interop";
    }
}
