//! The way from here to Windows programs.

use crate::{
    doctor::{
        facts::{Facts, Text, Way},
        verdict::{Judged, NOT_WSL, all, error, info, ok, skipped},
    },
    interop::ini::boolean,
    model::Code,
};

pub(crate) fn binfmt(facts: &Facts) -> Judged {
    facts.wsl()?;
    let interop = &facts.interop;
    let by_init = "the agent calls /init itself, but shells cannot start .exe files";
    Ok(match (&interop.entry, interop.init) {
        (Some((name, true)), _) => ok(name),
        (Some((name, false)), true) => info(format!("{name} is disabled; {by_init}")),
        (None, true) => info(format!(
            "neither WSLInterop nor WSLInterop-late is registered; {by_init}"
        )),
        (_, false) => error("WSLInterop is not enabled, and there is no /init to call instead"),
    })
}

pub(crate) fn socket(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(match &facts.interop.way {
        Way::NotWsl => skipped(NOT_WSL),
        Way::None(Code::InteropMissing, why) => error(why),
        Way::Found(_) | Way::None(..) => ok("it answers"),
    })
}

pub(crate) fn powershell(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(match &facts.interop.way {
        Way::NotWsl => skipped(NOT_WSL),
        Way::None(Code::InteropMissing, _) => skipped("no socket to call Windows through"),
        Way::None(_, why) => error(why),
        Way::Found(way) => ok(way),
    })
}

pub(crate) fn conf(facts: &Facts) -> Judged {
    facts.wsl()?;
    if let Text::Unreadable(why) = &facts.wsl_conf {
        return Err(skipped(format!("/etc/wsl.conf: {why}")));
    }
    let off = |section, key| facts.wsl_conf(section, key).and_then(boolean) == Some(false);
    let enable = |section| {
        format!(
            "Set enabled=true in the section [{section}] of /etc/wsl.conf, then run `wsl.exe --shutdown` on Windows"
        )
    };
    let found = [
        (off("interop", "enabled")).then(|| {
            error("[interop] enabled=false: no Windows program can be started").fix(enable("interop"))
        }),
        (off("automount", "enabled")).then(|| {
            error("[automount] enabled=false: powershell.exe cannot be found without a Windows drive")
                .fix(enable("automount"))
        }),
        (off("interop", "appendWindowsPath")).then(|| {
            info("[interop] appendWindowsPath=false: shells need full paths of .exe files; the agent uses them anyway")
        }),
    ];
    Ok(all(found.into_iter().flatten(), || {
        "nothing is disabled".to_owned()
    }))
}

pub(crate) fn environment(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(match &facts.interop.named {
        None => ok("WSL_INTEROP is not set, and need not be"),
        Some((path, true)) => ok(path),
        Some((path, false)) => info(format!(
            "WSL_INTEROP names {path}, which does not exist: .exe files are started another way"
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
            "disabled": |f| f.interop.entry = Some(("WSLInterop".into(), false)) => Info, "is disabled";
            "none": |f| f.interop.entry = None => Info, "calls /init";
            "without init": |f| { f.interop.entry = None; f.interop.init = false } => Error, "no /init";
        }
        table! { Check::InteropSocket;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "no socket": |f| way(f, Code::InteropMissing) => Error, "why not";
            "no powershell.exe": |f| way(f, Code::InteropPowershell) => Ok, "it answers";
        }
        table! { Check::InteropPowershell;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "no socket": |f| way(f, Code::InteropMissing) => Skipped, "no socket";
            "no powershell.exe": |f| way(f, Code::InteropPowershell) => Error, "why not";
            "a drive that hangs": |f| way(f, Code::InteropTimeout) => Error, "why not";
        }
        table! { Check::InteropConf;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "off": |f| conf_is(f, "[interop]\nenabled=false") => Error, "[interop] enabled=false";
            "no drives": |f| conf_is(f, "[automount]\nenabled=0") => Error, "[automount]";
            "no path": |f| conf_is(f, "[interop]\nappendWindowsPath=false") => Info, "full paths";
            "unreadable": |f| f.wsl_conf = Text::Unreadable("EACCES".into()) => Skipped, "EACCES";
        }
        table! { Check::InteropEnvironment;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "stale": |f| f.interop.named = Some(("/run/WSL/9_interop".into(), false)) => Info, "9_interop";
            "good": |f| f.interop.named = Some(("/run/WSL/8_interop".into(), true)) => Ok, "8_interop";
        }
    }
}
