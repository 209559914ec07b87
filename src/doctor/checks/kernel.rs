//! What the kernel offers to a mesh.

use super::super::{
    facts::Facts,
    verdict::{Judged, Skip, Verdict},
};

pub(in crate::doctor) fn wireguard(facts: &Facts) -> Judged {
    let kernel = &facts.kernel;
    Ok(match (kernel.wireguard, &kernel.userspace) {
        (Some(how), _) => Verdict::ok(format!("in the kernel ({how})")),
        (None, Some(program)) => Verdict::ok(format!("not in the kernel; {program} is installed")),
        (None, None) => Verdict::note("neither in the kernel nor as a program"),
    })
}

pub(in crate::doctor) fn tun(facts: &Facts) -> Judged {
    Ok(match (facts.kernel.tun, facts.wsl.is) {
        (true, _) => Verdict::ok("/dev/net/tun"),
        (false, true) => Verdict::warning("/dev/net/tun is not there"),
        (false, false) => Verdict::note("/dev/net/tun is not there").remediation(
            "Run `sudo modprobe tun`; a container gets the device from its host (podman, docker: `--device /dev/net/tun`)",
        ),
    })
}

pub(in crate::doctor) fn bridge(facts: &Facts) -> Judged {
    let (_, seen) = facts.seen()?;
    let bridge = seen.links.iter().find(|link| {
        let name = link.name.as_str();
        name == "docker0"
            || name.starts_with("br-")
            || name.starts_with("cni")
            || name.starts_with("podman")
    });
    let Some(bridge) = bridge else {
        return Err(Skip::Nothing("there is no bridge of containers".to_owned()));
    };
    Ok(if facts.kernel.bridge_filter {
        Verdict::ok("br_netfilter is loaded")
    } else {
        Verdict::note(format!(
            "{} is there, and br_netfilter is not loaded",
            bridge.name
        ))
    })
}

pub(in crate::doctor) fn modules(facts: &Facts) -> Judged {
    let release = &facts.wsl.release;
    Ok(if facts.kernel.modules {
        Verdict::ok(format!("/lib/modules/{release}"))
    } else {
        let verdict = Verdict::note(format!(
            "there is no /lib/modules/{release}: a custom kernel, or a container"
        ));
        if facts.wsl.is {
            verdict
        } else {
            verdict.remediation("Nothing to do while all is built in or this is a container; else install the modules of this kernel, or start the one that they are for")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{
            Check,
            testing::{name, table},
        },
        model::{Link, LinkKind},
    };

    fn docker(facts: &mut Facts) {
        facts.change(|seen| {
            seen.links.push(Link {
                index: 9,
                name: name("docker0"),
                kind: LinkKind::Other,
                mtu: 1500,
                guid: None,
            });
        });
    }

    #[test]
    fn kernel() {
        table! { Check::KernelWireguard;
            "a program": |f| { f.kernel.wireguard = None; f.kernel.userspace = Some("wireguard-go".into()) } => Ok, "wireguard-go";
            "none": |f| f.kernel.wireguard = None => Note, "neither";
        }
        table! { Check::KernelTun;
            "missing": |f| f.kernel.tun = false => Warning, "/dev/net/tun";
            "missing elsewhere": |f| { f.elsewhere(); f.kernel.tun = false } => Note, "/dev/net/tun";
        }
        table! { Check::KernelBridge;
            "no bridge": |f| f.kernel.bridge_filter = false => Skipped, "no bridge";
            "unfiltered": |f| { docker(f); f.kernel.bridge_filter = false } => Note, "docker0";
            "filtered": docker => Ok, "loaded";
        }
        table! { Check::KernelModules;
            "none": |f| f.kernel.modules = false => Note, "no /lib/modules/6.6";
        }
    }
}
