//! The tunnel to Windows, and Windows' NAT beside it.

use crate::{
    config::TunnelWhen,
    doctor::{
        facts::Facts,
        verdict::{Judged, Verdict, info, ok, skipped, warning},
    },
    model::{Mode, NatState},
    units::TUNNEL_UNIT,
};

pub(crate) fn nat(facts: &Facts) -> Judged {
    facts.wsl()?;
    match facts.mode() {
        Some(Mode::Nat) => {}
        Some(mode) => return Err(skipped(format!("mode {mode} has no NAT of Windows"))),
        None => return Err(skipped("the networking mode is unknown")),
    }
    let look = facts.nat.as_ref();
    let look = look.ok_or_else(|| skipped("there is no gateway to ask"))?;
    Ok(match look.state() {
        NatState::Works => ok(look.to_string()),
        NatState::Broken => warning(look.to_string()),
        NatState::Unclear => skipped(format!("{look}; as root the answer may be certain")),
    })
}

/// Whether the configuration asks for the tunnel, or it is up.
fn concerned(facts: &Facts) -> Result<(TunnelWhen, bool), Verdict> {
    let (settings, observation) = facts.observation()?;
    let (when, is_up) = (settings.tunnel_when, observation.tunnel().is_some());
    if when == TunnelWhen::Never && !is_up {
        return Err(ok("not wanted: [tunnel] when = \"never\""));
    }
    Ok((when, is_up))
}

pub(crate) fn device(facts: &Facts) -> Judged {
    concerned(facts)?;
    if !facts.local()?.kernel.tun {
        return Ok(warning("/dev/net/tun does not exist"));
    }
    Ok(match facts.unit(TUNNEL_UNIT)? {
        Some(unit) if unit.file == "masked" => warning(format!("{TUNNEL_UNIT} is masked"))
            .fix(format!("Run `sudo systemctl unmask {TUNNEL_UNIT}`")),
        Some(_) => ok(format!("/dev/net/tun and {TUNNEL_UNIT}")),
        None => warning(format!("systemd knows no {TUNNEL_UNIT}"))
            .fix("Install the package wslmesh again, then run `sudo systemctl daemon-reload`"),
    })
}

pub(crate) fn unit(facts: &Facts) -> Judged {
    let (when, is_up) = concerned(facts)?;
    let entry = facts.agent.as_ref().and_then(|agent| agent.tunnel.as_ref());
    let state = facts.unit(TUNNEL_UNIT)?.map(|unit| unit.active.as_str());
    let state = state.unwrap_or("not known to systemd");
    let reason = entry.and_then(|entry| entry.reason.as_deref());
    let why = match reason {
        Some("always") => "wanted by [tunnel] when = \"always\"",
        Some("nat-broken") => "wanted while Windows' NAT is broken",
        Some("by-hand") => "started by hand",
        _ => "wanted by nobody",
    };
    let switch = entry.and_then(|entry| entry.switch.as_ref());
    let switch = switch.map(|version| format!("; the program on Windows is version {version}"));
    let switch = switch.unwrap_or_default();
    let failed = entry.and_then(|entry| entry.last_error.as_ref());
    let failed = failed.map_or("the program on Windows does not answer", |why| why.as_str());
    Ok(match (is_up, state) {
        (true, _) => ok(format!("up; {why}{switch}")),
        (false, "active") => warning(format!(
            "{TUNNEL_UNIT} runs, and wslmesh0 is not up: {failed}"
        )),
        (false, "failed") => warning(format!("{TUNNEL_UNIT} failed; {why}")),
        (false, _) if entry.is_some_and(|entry| entry.state == "failed") => {
            warning(format!("{TUNNEL_UNIT} is {state}; {why}"))
        }
        (false, _) if entry.is_none() && when != TunnelWhen::Never => info(format!(
            "{TUNNEL_UNIT} is {state}, and the agent says nothing of it"
        ))
        .fix("Run `sudo systemctl start wslmesh`: the agent starts the tunnel"),
        (false, "activating") => info(format!("{TUNNEL_UNIT} is starting; {why}"))
            .fix("Wait a moment, then run `wslmesh doctor tunnel` again"),
        (false, _) if when == TunnelWhen::NatBroken && reason.is_none() => {
            ok("not needed: Windows' NAT does not count as broken")
        }
        (false, _) if entry.is_some_and(|entry| entry.state == "down") => {
            info(format!("{TUNNEL_UNIT} was stopped by hand; {why}"))
                .fix("Run `sudo systemctl reload wslmesh`: the agent starts it again")
        }
        (false, _) => info(format!("{TUNNEL_UNIT} is {state}; {why}"))
            .fix("Wait a moment, then run `wslmesh doctor tunnel` again"),
    })
}

#[cfg(test)]
mod tests;
