use super::*;
use crate::doctor::{
    facts::Process,
    tests::{address, table},
};

fn runs(facts: &mut Facts, name: &str, arguments: &str) {
    facts.local_mut().processes.push(Process {
        name: name.into(),
        arguments: arguments.into(),
        ..Process::default()
    });
}

fn route(facts: &mut Facts, name: &str, net: &str) {
    facts
        .local_mut()
        .routes
        .push((name.into(), net.parse().unwrap()));
}

#[test]
fn conflicts() {
    table! { "conflicts-subnets";
        "docker's": |f| f.change(|s| {
            s.links[1].name = crate::doctor::tests::name("docker0");
            s.addresses.push(address(3, "172.28.0.1/16"));
        }) => Warning, "docker0 172.28.16.0/20 and wg0 172.28.0.0/16";
        "a peer's addresses": |f| route(f, "wg0", "172.16.0.0/12") => Warning, "eth0 172.28.16.0/20 and wg0 172.16.0.0/12";
        "everything through the tunnel": |f| { route(f, "wg0", "0.0.0.0/1"); route(f, "wg0", "128.0.0.0/1") } => Ok, "none";
        "two adapters of Windows": |f| route(f, "eth1", "172.28.16.0/20") => Ok, "none";
        "its own": |f| route(f, "eth0", "172.28.16.0/24") => Ok, "none";
    }
    table! { "conflicts-agents";
        "another agent": |f| runs(f, "wsl-vpnkit", "") => Warning, "wsl-vpnkit";
        "Rancher Desktop": |f| { runs(f, "vm-switch", ""); runs(f, "network-setup", ""); runs(f, "wsl-proxy", "") } => Warning, "network-setup, vm-switch, wsl-proxy";
        "socat": |f| runs(f, "socat", "socat TCP-LISTEN:80,fork TCP:10.0.0.1:80") => Info, "TCP-LISTEN:80";
        "socat as a client": |f| runs(f, "socat", "socat - TCP:10.0.0.1:80") => Ok, "none";
    }
    table! { "conflicts-pollers";
        "a script": |f| f.local_mut().pollers.found.push("/etc/cron.d/wsl-ip".into()) => Info, "/etc/cron.d/wsl-ip";
        "hidden": |f| f.local_mut().pollers.hidden.push("/var/spool/cron/crontabs".into()) => Skipped, "needs root: /var/spool/cron/crontabs";
        "hidden beside one": |f| {
            f.local_mut().pollers.hidden.push("/var/spool/cron".into());
            f.local_mut().pollers.found.push("/etc/crontab".into());
        } => Info, "/etc/crontab polls for the address (needs root: /var/spool/cron)";
    }
}
