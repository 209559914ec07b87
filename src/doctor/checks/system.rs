//! WSL, systemd, wslmesh's unit and configuration.

use crate::{
    doctor::{
        facts::Facts,
        verdict::{Judged, all, error, info, ok, skipped, warning},
    },
    interop::ini::boolean,
    model::{Mode, ModeState, excerpt},
};

/// The agent's unit.
const UNIT: &str = "wslmesh.service";

/// Units whose failure disconnects a node from its mesh, by prefix.
const NEEDED: &[&str] = &[
    "wslmesh",
    "wg-quick@",
    "tailscaled",
    "nebula",
    "netbird",
    "zerotier",
    "ssh",
    "systemd-resolved",
    "systemd-networkd",
    "systemd-binfmt",
    "dbus",
];

pub(crate) fn version(facts: &Facts) -> Judged {
    let release = &facts.local()?.release;
    // WSL 1 writes the name with a capital (microsoft/WSL: util.cpp, UtilIsUtilityVm).
    if release.contains("Microsoft") && !facts.wsl {
        return Ok(error(format!("this is WSL 1 (kernel {release})")));
    }
    facts.wsl()?;
    Ok(match &facts.wsl_version {
        None => info(format!(
            "WSL does not report its version, which it does since 2.2.3; kernel {release}"
        )),
        Some(version) if facts.knows_idle_timeout() == Some(false) => info(format!(
            "WSL {version}, kernel {release}; instanceIdleTimeout, which keeps a distribution running, needs 2.5.10"
        )),
        Some(version) => ok(format!("WSL {version}, kernel {release}")),
    })
}

pub(crate) fn mode(facts: &Facts) -> Judged {
    facts.wsl()?;
    Ok(match &facts.observation()?.1.mode {
        ModeState::Known(Mode::None) => error("mode none: this distribution has no network but lo"),
        ModeState::Known(Mode::Bridged) => {
            info("mode bridged, which WSL no longer supports since 2.4.5")
        }
        ModeState::Known(mode) => ok(mode.to_string()),
        ModeState::Pending => warning("WSL did not answer in time"),
        ModeState::Unknown(why) => warning(why),
    })
}

pub(crate) fn running(facts: &Facts) -> Judged {
    if facts.local()?.systemd {
        return Ok(ok("yes"));
    }
    const BY_HAND: &str = "Start `wslmesh run` from this init, or run `wslmesh apply` by hand";
    let another = error("another init runs here, so no systemd service runs");
    Ok(another.fix_elsewhere(facts.wsl, BY_HAND))
}

pub(crate) fn configured(facts: &Facts) -> Judged {
    let conf = facts.wsl_conf()?;
    let systemd = facts.local()?.systemd;
    let wrong = |detail: String| {
        error(match systemd {
            true => format!(
                "{detail}: systemd runs, but after the next start of WSL no service will run"
            ),
            false => detail,
        })
    };
    Ok(match (conf.entry("boot.systemd"), conf.bad().first()) {
        (Some(entry), _) if boolean(&entry.value) == Some(true) => ok("yes"),
        (Some(entry), _) => {
            let value = excerpt(&entry.value);
            wrong(format!("{entry} is \"{value}\", which counts")).fix(format!(
                "Run `sudo wslmesh wslconf set boot.systemd true`, which changes line {}",
                entry.line
            ))
        }
        (None, Some(bad)) => {
            let (line, problem) = (bad.line, &bad.problem);
            let detail = format!("WSL reads no [boot] systemd=true: it stops at line {line}");
            wrong(detail).fix(format!(
                "Correct line {line} of /etc/wsl.conf ({problem}); below it, [boot] must have systemd=true"
            ))
        }
        (None, None) => wrong("[boot] systemd=true is not in the file".to_owned()),
    })
}

pub(crate) fn configuration(facts: &Facts) -> Judged {
    Ok(match &facts.settings {
        Ok(settings) => ok(match settings.files.as_slice() {
            [] => "no file: the defaults apply".to_owned(),
            [file] => file.display().to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.display(), rest.len()),
        }),
        Err(why) => error(why.lines().next().unwrap_or_default()),
    })
}

const NO_UNIT: &str = "systemd does not know wslmesh.service";

pub(crate) fn enabled(facts: &Facts) -> Judged {
    let Some(unit) = facts.unit(UNIT)? else {
        return Ok(warning(NO_UNIT).fix("Install the package (`make packages`, or `sudo make install` and `sudo systemctl daemon-reload`)"));
    };
    Ok(match unit.file.as_str() {
        file @ ("enabled" | "enabled-runtime" | "static" | "alias" | "generated" | "transient") => {
            ok(file)
        }
        "masked" | "masked-runtime" => warning("wslmesh.service is masked: nothing can start it")
            .fix("Run `sudo systemctl unmask wslmesh`, then `sudo systemctl enable wslmesh`"),
        file => warning(format!("wslmesh.service is {file}")),
    })
}

pub(crate) fn active(facts: &Facts) -> Judged {
    let unit = facts.unit(UNIT)?.ok_or_else(|| skipped(NO_UNIT))?;
    Ok(match unit.active.as_str() {
        state @ ("active" | "reloading") => ok(state),
        state @ ("activating" | "deactivating") => warning(format!("wslmesh.service is {state}")),
        "failed" => error("wslmesh.service has failed"),
        // A condition keeps the unit from starting elsewhere.
        state if !facts.wsl => info(format!(
            "wslmesh.service is {state}: it starts in WSL 2 only, unless its drop-in is masked"
        )),
        state => {
            error(format!("wslmesh.service is {state}")).fix("Run `sudo systemctl start wslmesh`")
        }
    })
}

pub(crate) fn failed_units(facts: &Facts) -> Judged {
    // The agent's own unit has a check of its own.
    let units = facts.units.as_ref().map_err(skipped)?;
    let failed = units.failed.iter().filter(|name| *name != UNIT);
    let finding = |name: &String| {
        if NEEDED.iter().any(|prefix| name.starts_with(prefix)) {
            error(format!("{name} failed"))
        } else {
            info(format!("{name} failed, which the mesh does not need"))
        }
    };
    Ok(all(failed.map(finding), "none"))
}

#[cfg(test)]
mod tests;
