use super::*;
use crate::{
    doctor::tests::{name, table},
    model::{Link, LinkKind},
};

fn docker(facts: &mut Facts) {
    facts.change(|observation| {
        observation.links.push(Link {
            index: 9,
            name: name("docker0"),
            kind: LinkKind::Other,
            up: true,
            carrier: true,
            mtu: 1500,
            guid: None,
        });
    });
}

#[test]
fn kernel() {
    table! { "kernel-wireguard";
        "a program": |f| { f.local_mut().kernel.wireguard = None; f.local_mut().kernel.userspace = Some("wireguard-go") } => Ok, "wireguard-go";
        "none": |f| f.local_mut().kernel.wireguard = None => Info, "neither";
    }
    table! { "kernel-tun";
        "missing": |f| f.local_mut().kernel.tun = false => Warning, "/dev/net/tun";
        "missing elsewhere": |f| { f.elsewhere(); f.local_mut().kernel.tun = false } => Info, "/dev/net/tun";
    }
    table! { "kernel-bridge";
        "no bridge": |f| f.local_mut().kernel.bridge_filter = false => Skipped, "no bridge";
        "unfiltered": |f| { docker(f); f.local_mut().kernel.bridge_filter = false } => Info, "docker0";
        "filtered": docker => Ok, "loaded";
    }
    table! { "kernel-modules";
        "none": |f| f.local_mut().kernel.modules = false => Info, "/lib/modules/6.6.87.2-microsoft-standard-WSL2 does not exist";
    }
}
