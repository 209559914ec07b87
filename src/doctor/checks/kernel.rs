//! What the kernel offers to a mesh.

use crate::doctor::{
    facts::Facts,
    verdict::{Judged, info, ok, skipped, warning},
};

pub(crate) fn wireguard(facts: &Facts) -> Judged {
    let kernel = &facts.local()?.kernel;
    Ok(match (kernel.wireguard, kernel.userspace) {
        (Some(how), _) => ok(format!("in the kernel ({how})")),
        (None, Some(program)) => ok(format!("not in the kernel; {program} is installed")),
        (None, None) => info("WireGuard is neither in the kernel nor installed as a program"),
    })
}

pub(crate) fn tun(facts: &Facts) -> Judged {
    const MISSING: &str = "/dev/net/tun does not exist";
    Ok(match (facts.local()?.kernel.tun, facts.wsl) {
        (true, _) => ok("/dev/net/tun"),
        (false, true) => warning(MISSING),
        (false, false) => info(MISSING).fix(
            "Run `sudo modprobe tun`; a container gets the device from its host (podman, docker: `--device /dev/net/tun`)",
        ),
    })
}

pub(crate) fn bridge(facts: &Facts) -> Judged {
    let (_, observation) = facts.observation()?;
    let bridge = observation.links.iter().find(|link| {
        let name = link.name.as_str();
        let starts = ["br-", "cni", "podman"];
        name == "docker0" || starts.iter().any(|start| name.starts_with(start))
    });
    let bridge = bridge.ok_or_else(|| skipped("no bridge of containers"))?;
    Ok(if facts.local()?.kernel.bridge_filter {
        ok("br_netfilter is loaded")
    } else {
        info(format!(
            "{} exists, but br_netfilter is not loaded",
            bridge.name
        ))
    })
}

pub(crate) fn modules(facts: &Facts) -> Judged {
    let local = facts.local()?;
    let folder = format!("/lib/modules/{}", local.release);
    if local.kernel.modules {
        return Ok(ok(folder));
    }
    const ELSEWHERE: &str = "Ignore this if everything is built in or this is a container; else install the modules of this kernel, or boot the kernel that has modules";
    let missing = info(format!(
        "{folder} does not exist: a custom kernel, or a container"
    ));
    Ok(missing.fix_elsewhere(facts.wsl, ELSEWHERE))
}

#[cfg(test)]
mod tests;
