//! The way from here to Windows programs.

use super::super::{
    facts::{Facts, Text, Way},
    verdict::{Judged, Skip, Verdict},
};
use crate::{interop::ini::boolean, model::Code};

pub(in crate::doctor) fn binfmt(facts: &Facts) -> Judged {
    facts.wsl()?;
    let interop = &facts.interop;
    let by_init = "the agent calls /init itself, shells cannot start .exe files";
    Ok(match (&interop.entry, interop.init) {
        (Some((name, true)), _) => Verdict::ok(name.as_str()),
        (Some((name, false)), true) => Verdict::note(format!("{name} is disabled; {by_init}")),
        (None, true) => Verdict::note(format!(
            "neither WSLInterop nor WSLInterop-late is there; {by_init}"
        )),
        (_, false) => Verdict::failed("no enabled WSLInterop, and no /init to call instead"),
    })
}

pub(in crate::doctor) fn socket(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(match &facts.interop.way {
        Way::NotWsl => return Err(Skip::NotWsl),
        Way::None(Code::InteropMissing, why) => Verdict::failed(why.as_str()),
        Way::Found(_) | Way::None(..) => Verdict::ok("one answers"),
    })
}

pub(in crate::doctor) fn powershell(facts: &Facts) -> Judged {
    facts.wsl()?;
    match &facts.interop.way {
        Way::NotWsl => Err(Skip::NotWsl),
        Way::None(Code::InteropMissing, _) => {
            Err(Skip::Unknown("there is no socket to call by".to_owned()))
        }
        Way::None(_, why) => Ok(Verdict::failed(why.as_str())),
        Way::Found(way) => Ok(Verdict::ok(way.as_str())),
    }
}

pub(in crate::doctor) fn conf(facts: &Facts) -> Judged {
    facts.wsl()?;
    if let Text::Unreadable(why) = &facts.wsl_conf {
        return Err(Skip::Unknown(format!("/etc/wsl.conf: {why}")));
    }
    let off = |section, key| facts.wsl_conf(section, key).and_then(boolean) == Some(false);
    let mut parts = Vec::new();
    if off("interop", "enabled") {
        parts.push(
            Verdict::failed("[interop] enabled=false: no Windows program can be started")
                .remediation("Set enabled=true in the section [interop] of /etc/wsl.conf, then `wsl.exe --shutdown` on Windows"),
        );
    }
    if off("automount", "enabled") {
        parts.push(
            Verdict::failed("[automount] enabled=false: no Windows drive is there to find powershell.exe on")
                .remediation("Set enabled=true in the section [automount] of /etc/wsl.conf, then `wsl.exe --shutdown` on Windows"),
        );
    }
    if off("interop", "appendWindowsPath") {
        parts.push(Verdict::note(
            "[interop] appendWindowsPath=false: shells need full paths of .exe files, the agent uses them anyway",
        ));
    }
    Ok(Verdict::worst(parts, || {
        "nothing is switched off".to_owned()
    }))
}

pub(in crate::doctor) fn environment(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(match &facts.interop.named {
        None => Verdict::ok("WSL_INTEROP is not set, and need not be"),
        Some((path, true)) => Verdict::ok(path.as_str()),
        Some((path, false)) => Verdict::note(format!(
            "WSL_INTEROP names {path}, which is gone: .exe files take another way"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{Check, testing::table},
        interop::ini::Ini,
    };

    fn conf_is(facts: &mut Facts, text: &str) {
        facts.wsl_conf = Text::Content(Ini::parse(text));
    }

    fn way(facts: &mut Facts, code: Code) {
        facts.interop.way = Way::None(code, "why not".into());
    }

    #[test]
    fn interop() {
        table! { Check::InteropBinfmt;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "late": |f| f.interop.entry = Some(("WSLInterop-late".into(), true)) => Ok, "WSLInterop-late";
            "disabled": |f| f.interop.entry = Some(("WSLInterop".into(), false)) => Note, "is disabled";
            "gone": |f| f.interop.entry = None => Note, "calls /init";
            "without init": |f| { f.interop.entry = None; f.interop.init = false } => Failed, "no /init";
        }
        table! { Check::InteropSocket;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "gone": |f| way(f, Code::InteropMissing) => Failed, "why not";
            "no powershell.exe": |f| way(f, Code::InteropPowershell) => Ok, "one answers";
        }
        table! { Check::InteropPowershell;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "no socket": |f| way(f, Code::InteropMissing) => Skipped, "no socket";
            "no powershell.exe": |f| way(f, Code::InteropPowershell) => Failed, "why not";
            "a drive that hangs": |f| way(f, Code::InteropTimeout) => Failed, "why not";
        }
        table! { Check::InteropConf;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "off": |f| conf_is(f, "[interop]\nenabled=false") => Failed, "[interop] enabled=false";
            "no drives": |f| conf_is(f, "[automount]\nenabled=0") => Failed, "[automount]";
            "no path": |f| conf_is(f, "[interop]\nappendWindowsPath=false") => Note, "full paths";
            "secret": |f| f.wsl_conf = Text::Unreadable("EACCES".into()) => Skipped, "EACCES";
        }
        table! { Check::InteropEnvironment;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "stale": |f| f.interop.named = Some(("/run/WSL/9_interop".into(), false)) => Note, "9_interop";
            "good": |f| f.interop.named = Some(("/run/WSL/8_interop".into(), true)) => Ok, "8_interop";
        }
    }
}
