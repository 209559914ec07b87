//! A network with IPv6 alone: the node is at an IPv6 address, by a router that the kernel
//! itself listens to. The windows namespace plays the router.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, netdevice::name_to_index, sendto,
    socket_with, sockopt::set_ipv6_multicast_hops,
};

use crate::agent::{Agent, LIMIT, SSH, Setup, config, forward};
use crate::options::Options;
use crate::probe::ECHO;
use crate::runner::trial_with;
use crate::topology::{FIRST, GUEST_ADDRESS, Place};
use crate::world::{World, until};

/// Sends one router advertisement: `@router INTERFACE PREFIX LIFETIME`, of a prefix of 64
/// bits that is preferred for so many seconds.
pub(crate) const ROUTER: &str = "@router";

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let mode = |name: &str, mode: &str, body| {
        let options = Options {
            mode: mode.to_owned(),
            ..Options::quick()
        };
        trial_with(name, options, body)
    };
    vec![
        mode("ipv6::router_comes_late", "bridged", router_comes_late),
        mode("ipv6::temporary_addresses_rotate", "bridged", rotation),
        mode("ipv6::renumbered", "bridged", renumbered),
        mode("ipv6::ipv4_comes_and_goes", "mirrored", ipv4_comes_and_goes),
        mode("ipv6::duplicate_is_no_address", "bridged", duplicate),
        mode("ipv6::nat_forwards_by_ipv4", "nat", nat),
        mode("ipv6::relay_leads_to_the_node", "mirrored", relay),
        mode("ipv6::nat_is_looked_at", "nat", nat_is_looked_at),
    ]
}

/// The gateway is a link-local one, and there is no name server but it.
fn nat_is_looked_at(world: &World) -> Result<()> {
    without_ipv4(world)?;
    world.shell("rm -rf /etc/resolv.conf")?;
    // Who answers without the flag of a router is none any more (RFC 4861, section 7.3.3).
    let forwards = ["sysctl", "-w", "net.ipv6.conf.all.forwarding=1"];
    world.host(&forwards)?.ok()?;
    let setup = Setup {
        env: &[("WSLMESH_LOG", "debug")],
        ..Setup::default()
    };
    let looks = config("[tunnel]\nwhen = \"nat-broken\"\n");
    let agent = world.start_agent_with(&looks, &setup)?;
    advertise(world, "2001:db8:1::", 1800)?;
    let answers = agent.says("looked at Windows' NAT")?;
    ensure!(answers.contains("the gateway fe80::"), "{answers}");
    ensure!(answers.contains(" answers on eth0"), "{answers}");
    // The router hears nothing any more.
    let rules =
        "table ip6 cut { chain in { type filter hook input priority 0; policy drop; }; };\n";
    let nft = world.run(Place::Windows, &["nft", "-f", "-"], rules.as_bytes())?;
    nft.ok()?;
    agent.reload(&looks)?;
    let found = agent.wait_for("nat-broken", LIMIT * 2, |status| {
        status.finding("nat-broken").is_some()
    })?;
    let found = found.finding("nat-broken").context("no finding")?;
    ensure!(
        found.detail.contains("does not answer on eth0"),
        "{found:?}"
    );
    agent.stop()
}

/// Takes IPv4 away.
fn without_ipv4(world: &World) -> Result<()> {
    world.shell("ip -4 addr flush dev eth0").map(drop)
}

/// A router makes itself and a prefix known. Until its own address has been checked for
/// a duplicate it cannot.
fn advertise(world: &World, prefix: &str, lifetime: u32) -> Result<()> {
    let role = ["/init", crate::ROLE, ROUTER, "vEthernet", prefix];
    let lifetime = lifetime.to_string();
    let argv: Vec<&str> = role.into_iter().chain([lifetime.as_str()]).collect();
    let mut said = String::new();
    until("a router advertisement", LIMIT, || {
        let sent = world.run(Place::Windows, &argv, b"")?;
        said = format!("{sent:?}");
        Ok(sent.success().then_some(()))
    })
    .with_context(|| said)
}

/// Runs the role [`ROUTER`].
pub(crate) fn router_role(interface: &str, prefix: &str, lifetime: &str) -> ExitCode {
    match send_advertisement(interface, prefix, lifetime) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// RFC 4861, sections 4.2 and 4.6.2. The kernel fills in the checksum.
fn send_advertisement(interface: &str, prefix: &str, lifetime: &str) -> Result<()> {
    let (family, kind) = (AddressFamily::INET6, SocketType::RAW);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(ipproto::ICMPV6))?;
    set_ipv6_multicast_hops(&socket, 255)?;
    let preferred: u32 = lifetime.parse()?;
    // Type, code, checksum, hop limit, flags, the router's lifetime, two unused timers.
    let mut message = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    // A prefix: its length in bits, on this link and for addresses.
    message.extend([3, 4, 64, 0xc0]);
    message.extend(7200_u32.to_be_bytes());
    message.extend(preferred.to_be_bytes());
    message.extend([0; 4]);
    message.extend(prefix.parse::<Ipv6Addr>()?.octets());
    let link = name_to_index(&socket, interface)?;
    let all = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, link);
    sendto(&socket, &message, SendFlags::empty(), &all)?;
    Ok(())
}

/// The addresses of eth0 as `ip` lists them with this filter, once there are `count`.
fn listed(world: &World, filter: &str, count: usize) -> Result<Vec<String>> {
    let script = format!("ip -6 -o addr show dev eth0 scope global {filter}");
    let mut found = Vec::new();
    until(&format!("{count} addresses ({filter})"), LIMIT, || {
        let text = world.shell(&script)?;
        let nets = text.lines().filter_map(|line| {
            let net = line.split_whitespace().nth(3)?;
            Some(net.split('/').next()?.to_owned())
        });
        found = nets.collect();
        Ok((found.len() >= count).then_some(()))
    })
    .with_context(|| format!("{found:?}"))?;
    Ok(found)
}

/// Waits until the node is at this address, in the status and for a shell that reads the
/// network file.
fn at(world: &World, agent: &Agent, address: &str) -> Result<()> {
    agent.wait(&format!("the node at {address}"), |status| {
        status.address.is_some_and(|own| own.to_string() == address)
    })?;
    world.states("WSL_IP", address)
}

/// How often the journal says that the address changed.
fn changes(agent: &Agent) -> Result<usize> {
    Ok(agent.log()?.matches("eth0 address ").count())
}

fn router_comes_late(world: &World) -> Result<()> {
    without_ipv4(world)?;
    let agent = world.start_agent(&config(""))?;
    let finding = agent.raised("no-interface")?;
    ensure!(finding.detail.contains("no default route"), "{finding:?}");
    advertise(world, "2001:db8:1::", 1800)?;
    let own = listed(world, "-tentative", 1)?.remove(0);
    at(world, &agent, &own)?;
    world.states("WSL_NETWORK", "2001:db8:1::/64")?;
    world.states("WSL_INTERFACE", "eth0")?;
    let route = world.shell("ip -6 route show default dev eth0")?;
    let mut words = route.split_whitespace().skip_while(|word| *word != "via");
    let gateway = words.nth(1).context(route.clone())?;
    world.states("WSL_GATEWAY", gateway)?;
    agent.healthy()?;
    for (command, text) in [
        ("status", format!("{own} on eth0")),
        ("status", format!("gateway {gateway}")),
    ] {
        let page = world.wslmesh(&[command])?;
        let plain = page.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(plain.contains(&text), "{text}: {page:?}");
    }
    let doctor = world.wslmesh(&["doctor", "--all"])?.stdout;
    for text in [format!("eth0 {own}/64"), format!("eth0 via {gateway}")] {
        ensure!(doctor.contains(&text), "{text}: {doctor}");
    }
    // The agent follows the router, too.
    let status = agent.status()?.context("no status")?;
    world.shell("ip -6 route del default dev eth0")?;
    agent.wait("no address", |now| {
        now.passes > status.passes && now.address.is_none()
    })?;
    advertise(world, "2001:db8:1::", 1800)?;
    at(world, &agent, &own)?;
    agent.stop()
}

/// Privacy addresses come and are deprecated: the node stays where it is.
fn rotation(world: &World) -> Result<()> {
    without_ipv4(world)?;
    // Of the preferred lifetime the kernel needs the last 5 s for the next address.
    world.shell(
        "cd /proc/sys/net/ipv6/conf/eth0; echo 0 >max_desync_factor
        echo 8 >temp_prefered_lft; echo 2 >use_tempaddr",
    )?;
    let agent = world.start_agent(&config(""))?;
    advertise(world, "2001:db8:1::", 1800)?;
    listed(world, "temporary -tentative", 1)?;
    let own = listed(world, "primary -tentative", 1)?.remove(0);
    at(world, &agent, &own)?;
    let passes = agent.status()?.context("no status")?.passes;
    let temporary = listed(world, "temporary -tentative", 2)?;
    listed(world, "temporary deprecated", 1)?;
    ensure!(!temporary.contains(&own), "{temporary:?}");
    // The agent has seen them.
    agent.pass_after(passes)?;
    at(world, &agent, &own)?;
    ensure!(changes(&agent)? == 1, "{}", agent.log()?);
    agent.stop()
}

/// The provider gives another prefix: the old one is deprecated, and the node follows.
fn renumbered(world: &World) -> Result<()> {
    without_ipv4(world)?;
    let agent = world.start_agent(&config(""))?;
    advertise(world, "2001:db8:9::", 1800)?;
    let old = listed(world, "-tentative", 1)?.remove(0);
    at(world, &agent, &old)?;
    // A second prefix, which sorts before the first one, is no reason to move.
    let passes = agent.status()?.context("no status")?.passes;
    advertise(world, "2001:db8:1::", 1800)?;
    let both = listed(world, "-tentative", 2)?;
    let new = both.iter().find(|one| **one != old).context("no other")?;
    agent.pass_after(passes)?;
    at(world, &agent, &old)?;
    advertise(world, "2001:db8:9::", 0)?;
    at(world, &agent, new)?;
    ensure!(changes(&agent)? == 2, "{}", agent.log()?);
    agent.stop()
}

const BY_IPV6: &str = "ip addr add 2001:db8::5/64 dev eth0 nodad
    ip -6 route add default via 2001:db8::1 dev eth0";

fn ipv4_comes_and_goes(world: &World) -> Result<()> {
    without_ipv4(world)?;
    world.shell(BY_IPV6)?;
    let agent = world.start_agent(&config(""))?;
    at(world, &agent, "2001:db8::5")?;
    world.states("WSL_GATEWAY", "2001:db8::1")?;
    world.change_address(GUEST_ADDRESS)?;
    at(world, &agent, FIRST)?;
    world.states("WSL_NETWORK", "172.28.16.0/20")?;
    agent.says(&format!(
        "eth0 address 2001:db8::5 -> {FIRST} (IPv4 comes first)"
    ))?;
    without_ipv4(world)?;
    at(world, &agent, "2001:db8::5")?;
    world.states("WSL_NETWORK", "2001:db8::/64")?;
    agent.says(&format!(
        "eth0 address {FIRST} -> 2001:db8::5 (no usable IPv4)"
    ))?;
    agent.healthy()?;
    agent.stop()
}

/// Another machine has the address: it is none, until there is another one.
fn duplicate(world: &World) -> Result<()> {
    without_ipv4(world)?;
    world
        .host(&[
            "ip",
            "addr",
            "add",
            "2001:db8::5/64",
            "dev",
            "vEthernet",
            "nodad",
        ])?
        .ok()?;
    world.shell(
        "ip addr add 2001:db8::5/64 dev eth0
        ip -6 route add default via fe80::1 dev eth0",
    )?;
    let agent = world.start_agent(&config(""))?;
    let why = "2001:db8::5/64 is a duplicate of another machine's";
    agent.wait("the duplicate", |status| {
        let finding = status.finding("no-address");
        finding.is_some_and(|one| one.detail.contains(why))
    })?;
    ensure!(
        agent
            .status()?
            .is_some_and(|status| status.address.is_none())
    );
    world.shell("ip addr add 2001:db8::6/64 dev eth0")?;
    at(world, &agent, "2001:db8::6")?;
    agent.cleared("no-address")?;
    agent.stop()
}

/// Windows forwards to an IPv4 address: without one that is said, and nothing is served.
fn nat(world: &World) -> Result<()> {
    without_ipv4(world)?;
    world.shell(BY_IPV6)?;
    let agent = world.start_agent(&config(SSH))?;
    let finding = agent.raised("forward-ipv6")?;
    ensure!(
        finding.detail.contains("eth0 has 2001:db8::5 alone")
            && finding.remediation.contains("mirrored"),
        "{finding:?}"
    );
    let status = agent.wait("the forward", |status| !status.served.is_empty())?;
    ensure!(
        status.served.iter().all(|one| one.state == "down"),
        "{status:?}"
    );
    ensure!(world.windows().table()?.is_empty() && world.windows().relays()?.is_empty());
    world.change_address(GUEST_ADDRESS)?;
    agent.settled(FIRST)?;
    agent.cleared("forward-ipv6")?;
    agent.stop()
}

/// The relay in here leads to a service at the node's IPv6 address, and to the next one.
fn relay(world: &World) -> Result<()> {
    without_ipv4(world)?;
    world.shell(BY_IPV6)?;
    let agent = world.start_agent(&config(&forward("web", 2222, 23)))?;
    let line = "exec 3<>/dev/tcp/127.0.0.1/2222; echo ping >&3; read -t 5 a <&3; echo $a";
    for address in ["2001:db8::5", "2001:db8::6"] {
        let at = format!("[{address}]:23");
        world.shell(&format!(
            "ip -6 addr flush dev eth0 scope global
            ip addr add {address}/64 dev eth0 nodad
            ip -6 route replace default via 2001:db8::1 dev eth0"
        ))?;
        let _service = world.spawn_guest(&["/init", crate::ROLE, ECHO, &at], &[])?;
        self::at(world, &agent, address)?;
        let mut said = String::new();
        until("an echo by IPv6", LIMIT, || {
            said = world.guest(&["bash", "-c", line])?.stdout;
            Ok((said.trim() == "ping").then_some(()))
        })
        .with_context(|| said)?;
    }
    let status = agent.wait("the relay", |status| status.serves("relay", &["web"]))?;
    // Clients of the node come by IPv6, and it listens on 0.0.0.0.
    ensure!(status.problems() == ["forward-ipv6"], "{status:?}");
    // A first run asks for both families by itself.
    let setup = ["setup", "--dry-run", "--forward", "tcp:2223:23"];
    let found = world.cli(&setup)?.stdout;
    ensure!(found.contains("IPv6 too"), "{found}");
    agent.stop()
}
