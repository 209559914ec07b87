use super::*;
use crate::{
    doctor::tests::{address, route as default, socket, table},
    model::{NetworkFile, Protocol},
};

/// IPv6 alone, with a temporary address.
fn by_ipv6(seen: &mut Observation) {
    seen.addresses.retain(|one| one.link != 2);
    seen.addresses.push(address(2, "2001:db8::5/64"));
    seen.addresses.push(address(2, "2001:db8::ab/64"));
    for route in &mut seen.routes {
        (route.ipv6, route.gateway) = (true, Some("fe80::1".parse().unwrap()));
    }
}

#[test]
fn the_address() {
    table! { "interface";
        "unreadable": |f| f.observation = Err("netlink".into()) => Skipped, "netlink";
        "no route": |f| f.change(|s| s.routes.clear()) => Error, "default route";
        "no address": |f| f.change(|s| s.addresses.clear()) => Error, "eth0 has no address";
        "two": |f| f.change(|s| s.addresses.push(address(2, "10.1.1.1/24"))) => Info, "10.1.1.1/24";
        "IPv6 alone": |f| f.change(by_ipv6) => Ok, "eth0 2001:db8::5/64";
        "IPv6 is no second one": |f| f.change(|s| s.addresses.push(address(2, "fd00::1/64"))) => Ok, "eth0";
    }
    table! { "default-route";
        "none": |f| f.change(|s| s.routes.clear()) => Error, "no default route";
        "rivals": |f| f.change(|s| s.routes.push(default(3, 0))) => Warning, "wg0";
        "IPv6 alone": |f| f.change(by_ipv6) => Ok, "eth0 via fe80::1";
        "a worse one": |f| f.change(|s| s.routes.push(default(3, 5))) => Ok, "eth0 via 172.28.16.1";
    }
}

#[test]
fn the_file() {
    table! { "network-file";
        "missing": |f| f.change(|s| s.network_file = NetworkFile::Missing) => Warning, "does not exist";
        "unreadable": |f| f.change(|s| s.network_file = NetworkFile::Unreadable("EACCES".into())) => Error, "EACCES";
        "broken": |f| f.change(|s| s.network_file = NetworkFile::Content(b"WSL_IP=\"1\n".into())) => Error, "wsl-network.conf";
        "stale": |f| { f.change(|s| { s.network_file = NetworkFile::Content(b"WSL_IP=\"172.28.9.9\"\n".into()) }) } => Warning, "WSL_IP=\"172.28.16.5\"";
        "set twice": |f| {
            let plan = f.plan().unwrap();
            let file = plan.actions.iter().find_map(|action| match action {
                Action::WriteNetworkFile(change) => Some(change.after.clone()),
                _ => None,
            });
            let mut file = file.unwrap_or_else(|| match &f.observation.as_ref().unwrap().network_file {
                NetworkFile::Content(content) => content.clone(),
                other => panic!("{other:?}"),
            });
            file.extend(b"WSL_IP=\"172.28.9.9\"\n");
            f.change(|s| s.network_file = NetworkFile::Content(file.clone()));
        } => Warning, "wsl-network.conf has a line that is not current";
        "no address": |f| f.change(|s| s.routes.clear()) => Skipped, "default route";
        "bad configuration": |f| f.settings = Err("x".into()) => Skipped, "configuration";
    }
}

#[test]
fn sockets() {
    fn with(facts: &mut Facts, address: &str) {
        facts.local_mut().sockets = Ok(vec![socket(Protocol::Tcp, address, 8080)]);
    }
    table! { "old-listeners";
        "the old address": |f| with(f, "172.28.9.9") => Warning, "tcp 172.28.9.9:8080";
        "the old address in an IPv6 socket": |f| with(f, "::ffff:172.28.9.9") => Warning, "172.28.9.9";
        "ours in an IPv6 socket": |f| with(f, "::ffff:172.28.16.5") => Ok, "none";
        "ours": |f| with(f, "172.28.16.5") => Ok, "none";
        "the tunnel's": |f| with(f, "10.99.0.1") => Ok, "none";
        "DNS tunnelling's": |f| with(f, "10.255.255.254") => Ok, "none";
        "all": |f| with(f, "0.0.0.0") => Ok, "none";
        "loopback": |f| with(f, "127.0.0.53") => Ok, "none";
        "a group": |f| with(f, "224.0.0.251") => Ok, "none";
        "the subnet's broadcast": |f| with(f, "172.28.31.255") => Ok, "none";
        "an old IPv6 address": |f| with(f, "fd00::9") => Warning, "tcp [fd00::9]:8080";
        "ours of IPv6": |f| {
            f.change(|s| s.addresses.push(address(2, "fd00::9/64")));
            with(f, "fd00::9");
        } => Ok, "none";
        "an IPv6 address of one link": |f| with(f, "fe80::9") => Ok, "none";
        "unreadable": |f| f.local_mut().sockets = Err("EACCES".into()) => Skipped, "EACCES";
    }
}
