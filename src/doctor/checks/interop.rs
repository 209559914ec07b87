//! The way from here to Windows programs.

use crate::{
    doctor::{
        facts::{Facts, Interop},
        verdict::{Judged, Verdict, all, error, info, ok, skipped},
    },
    interop::ini::boolean,
    model::Code,
};

/// The way to Windows programs; skips the check outside of WSL.
fn interop(facts: &Facts) -> Result<&Interop, Verdict> {
    facts.wsl()?;
    facts.interop.as_ref().map_err(skipped)
}

pub(crate) fn binfmt(facts: &Facts) -> Judged {
    let interop = interop(facts)?;
    let by_init = "the agent calls /init itself, but shells cannot start .exe files";
    Ok(match (&interop.entry, interop.init) {
        (_, false) => error("there is no /init, by which the agent starts Windows programs")
            .fix("Run `wsl.exe --shutdown` on Windows: WSL puts /init there when it starts"),
        (Some((name, true)), true) => ok(name),
        (Some((name, false)), true) => info(format!("{name} is disabled; {by_init}")).fix(format!(
            "Run `echo 1 | sudo tee /proc/sys/fs/binfmt_misc/{name}`"
        )),
        (None, true) => info(format!(
            "neither WSLInterop nor WSLInterop-late is registered; {by_init}"
        )),
    })
}

pub(crate) fn socket(facts: &Facts) -> Judged {
    if let Err((Code::InteropMissing, why)) = &interop(facts)?.way {
        return Ok(error(why));
    }
    // A socket accepts although the channel behind it is dead, which only a call shows.
    let mut health = facts.agent.iter().flat_map(|document| &document.health);
    Ok(
        match health.find(|entry| entry.code == Code::InteropDead.as_str()) {
            Some(entry) => error(&entry.detail).fix(entry.remediation.as_str()),
            None => ok("it accepts, and no call of the agent failed by it"),
        },
    )
}

pub(crate) fn powershell(facts: &Facts) -> Judged {
    facts.wsl()?;
    let interop = facts.interop.as_ref().map_err(error)?;
    Ok(match &interop.way {
        Err((Code::InteropMissing, _)) => skipped("no socket to call Windows through"),
        Err((code @ Code::DriveDenied, why)) => error(why).fix(code.remediation()),
        Err((_, why)) => error(why),
        Ok(way) => ok(way),
    })
}

pub(crate) fn conf(facts: &Facts) -> Judged {
    let conf = facts.wsl_conf()?;
    let off = |name| conf.get(name).and_then(boolean) == Some(false);
    let enable = |section| {
        format!(
            "Run `sudo wslmesh wslconf set {section}.enabled true`, then `wsl.exe --shutdown` on Windows"
        )
    };
    let found = [
        (off("interop.enabled")).then(|| {
            error("[interop] enabled=false: no Windows program can be started").fix(enable("interop"))
        }),
        // By /etc/fstab, a drive may be mounted all the same.
        (off("automount.enabled") && facts.local()?.drives.none()).then(|| {
            error("[automount] enabled=false: powershell.exe cannot be found without a Windows drive")
                .fix(enable("automount"))
        }),
        (off("interop.appendWindowsPath")).then(|| {
            info("[interop] appendWindowsPath=false: shells need full paths of .exe files; the agent uses them anyway")
        }),
    ];
    Ok(all(found.into_iter().flatten(), "nothing is disabled"))
}

pub(crate) fn environment(facts: &Facts) -> Judged {
    Ok(match &interop(facts)?.named {
        None => ok("WSL_INTEROP is not set, and need not be"),
        Some((path, true)) => ok(path),
        Some((path, false)) => info(format!(
            "WSL_INTEROP names {path}, which does not exist: .exe files are started another way"
        )),
    })
}

#[cfg(test)]
mod tests;
