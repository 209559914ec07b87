//! The port of WireGuard in the kernel, which Windows learns by a claim of the agent; and
//! the tracker that the claim is made to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, config};
use crate::kernel;
use crate::options::Options;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::topology::Place;
use crate::tracker::Ports;
use crate::wireguard::WireGuard;
use crate::world::World;

fn mode(mode: &str) -> Options {
    Options {
        mode: mode.to_owned(),
        ..Options::quick()
    }
}

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_with("claim::tracker", mode("mirrored"), tracker),
        trial_with(
            "claim::tracker_consomme",
            mode("consomme"),
            tracker_consomme,
        ),
        trial_with(
            "claim::userspace_is_left_alone",
            mode("mirrored"),
            userspace,
        ),
    ]
}

/// Those that need WireGuard in the kernel.
pub(crate) fn kernel_trials() -> Vec<Trial> {
    let trial = kernel::trial_with;
    vec![
        trial("claim::kernel_mirrored", mode("mirrored"), in_kernel),
        trial("claim::kernel_consomme", mode("consomme"), in_kernel),
        trial("claim::kernel_reserved", mode("mirrored"), reserved),
        trial("claim::kernel_refused", mode("mirrored"), refused),
        trial("claim::kernel_not_wanted", mode("mirrored"), not_wanted),
    ]
}

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Programs of the guest get what Windows does not have, and Windows forgets it with them.
fn tracker(world: &World) -> Result<()> {
    world.ports()?;
    world.windows_has(51821, true)?;
    let refused = world.guest(&["/init", crate::ROLE, crate::talker::ANSWER, "0.0.0.0:51821"])?;
    ensure!(
        !refused.success() && refused.stderr.contains("Address already in use"),
        "{refused:?}"
    );
    // The same port of another address, and one that Windows does not look at.
    for address in ["127.0.0.1:51822", "127.0.0.2:51821", "127.0.0.2:53"] {
        let station = world.station(Place::Guest, address)?;
        let ports = world.two_rounds()?;
        let own = ports.udp(51822) == [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        ensure!(
            own == address.starts_with("127.0.0.1"),
            "{address}: {ports:?}"
        );
        ensure!(
            ports.udp(53).is_empty() && ports.udp(51821).is_empty(),
            "{ports:?}"
        );
        drop(station);
        world.ports_become("the release", |ports| ports.udp(51822).is_empty())?;
    }
    // Windows' own programs are in another network.
    let _other = world.station(Place::Windows, "0.0.0.0:51823")?;
    ensure!(world.ports()?.asked_udp(51823) == 0, "{:?}", world.ports());
    Ok(())
}

/// One address of a port is released while another one stays.
fn tracker_consomme(world: &World) -> Result<()> {
    let first = world.station(Place::Guest, "127.0.0.1:51822")?;
    let _second = world.station(Place::Guest, "172.28.16.5:51822")?;
    ensure!(
        world.two_rounds()?.udp(51822).len() == 2,
        "{:?}",
        world.ports()
    );
    drop(first);
    world.ports_become("the release", |ports| {
        ports.udp(51822) == [IpAddr::from([172, 28, 16, 5])]
    })?;
    Ok(())
}

/// wireguard-go binds its port itself.
fn userspace(world: &World) -> Result<()> {
    world.ports()?;
    let wireguard = world.wireguard("wg0", 1)?;
    wireguard.only_userspace()?;
    let before = world.ports_become("its bind", |ports| !ports.udp(51820).is_empty())?;
    let agent = start(world, "")?;
    passes(&agent, 3)?;
    let after = world.ports()?;
    ensure!(
        after.asked_udp(51820) == before.asked_udp(51820),
        "{before:?}, {after:?}"
    );
    ensure!(
        agent
            .status()?
            .is_some_and(|status| status.problems().is_empty())
    );
    shown(world, "userspace", "wg0 51820: its program binds it")?;
    agent.stop()
}

/// `wslmesh status` says how Windows knows the port.
fn shown(world: &World, way: &str, text: &str) -> Result<()> {
    let page = world.wslmesh(&["status"])?;
    ensure!(page.stdout.contains(text), "{page:?}");
    let json = world.wslmesh(&["status", "--json"])?;
    let way = format!("\"way\": \"{way}\"");
    ensure!(json.stdout.contains(&way), "{json:?}");
    Ok(())
}

/// An agent that does not wait for more changes of the network.
fn start<'w>(world: &'w World, wireguard: &str) -> Result<Agent<'w>> {
    let settle = config("settle = \"20ms\"\n");
    let agent = world.start_agent(&format!("{settle}[wireguard]\n{wireguard}"))?;
    agent.wait("the mode", |status| status.mode != "pending")?;
    Ok(agent)
}

/// So many more passes, each by a signal.
fn passes(agent: &Agent, count: usize) -> Result<()> {
    for _ in 0..count {
        let before = agent.status()?.context("no status")?.passes;
        agent.process().signal(HUP)?;
        agent.pass_after(before)?;
    }
    Ok(())
}

/// WSL's range, without 51820.
fn range(world: &World) -> Result<()> {
    let set = "echo 40000 44095 >/proc/sys/net/ipv4/ip_local_port_range";
    world.shell(set).map(drop)
}

fn kernel_device(world: &World) -> Result<WireGuard<'_>> {
    let wireguard = world.wireguard("wg0", 1)?;
    ensure!(!wireguard.userspace(), "this kernel has no WireGuard");
    Ok(wireguard)
}

fn listen_on(world: &World, port: u16) -> Result<()> {
    let port = port.to_string();
    let set = world.guest(&["wg", "set", "wg0", "listen-port", &port])?;
    set.ok().map(drop)
}

fn claimed(port: u16) -> impl Fn(&Ports) -> bool {
    move |ports| ports.udp(port) == [ANY, ANY6]
}

/// Claimed once for each time the port is opened, whatever else happens, and kept.
fn in_kernel(world: &World) -> Result<()> {
    range(world)?;
    let _wireguard = kernel_device(world)?;
    ensure!(world.ports()?.asked_udp(51820) == 0, "the kernel asked");
    let agent = start(world, "")?;
    world.ports_become("the claim", claimed(51820))?;
    agent.says("claim UDP port 51820 of wg0 from Windows")?;
    passes(&agent, 10)?;
    world.two_rounds()?;
    let once = |ports: &Ports| claimed(51820)(ports) && ports.asked_udp(51820) == 2;
    ensure!(
        once(&world.ports()?),
        "after 10 passes: {:?}",
        world.ports()
    );
    ensure!(
        agent
            .status()?
            .is_some_and(|status| status.problems().is_empty())
    );
    let doctor = world.wslmesh(&["doctor", "--all"])?;
    ensure!(
        doctor.stdout.contains("wg0 51820 (claimed from Windows"),
        "{doctor:?}"
    );
    shown(world, "claimed", "wg0 51820: claimed from Windows")?;
    agent.stop()?;
    let agent = start(world, "")?;
    passes(&agent, 2)?;
    ensure!(
        once(&world.ports()?),
        "after a restart: {:?}",
        world.ports()
    );

    listen_on(world, 51821)?;
    passes(&agent, 1)?;
    world.ports_become("the second port", claimed(51821))?;
    world.two_rounds()?;
    world.ports_become("the release", |ports| ports.udp(51820).is_empty())?;
    // The first one again is a new socket, and so is each after the device was down.
    listen_on(world, 51820)?;
    passes(&agent, 1)?;
    world.ports_become("the first port", claimed(51820))?;
    world.two_rounds()?;
    world.shell("ip link set wg0 down")?;
    world.ports_become("the release", |ports| ports.udp(51820).is_empty())?;
    world.shell("ip link set wg0 up")?;
    world.ports_become("the third claim", claimed(51820))?;
    passes(&agent, 2)?;
    ensure!(world.ports()?.asked_udp(51820) == 6, "{:?}", world.ports());
    agent.stop()
}

/// Windows has reserved the port already.
fn reserved(world: &World) -> Result<()> {
    world.shell("echo 50000 54095 >/proc/sys/net/ipv4/ip_local_port_range")?;
    let _wireguard = kernel_device(world)?;
    let agent = start(world, "")?;
    passes(&agent, 3)?;
    ensure!(world.ports()?.asked_udp(51820) == 0, "{:?}", world.ports());
    let doctor = world.wslmesh(&["doctor", "--all"])?;
    ensure!(
        doctor.stdout.contains("Windows reserves 50000 to 54095"),
        "{doctor:?}"
    );
    shown(world, "reserved", "Windows reserves 50000 to 54095")?;
    agent.stop()
}

/// A program of Windows has the port: said once, and tried again on a reload.
fn refused(world: &World) -> Result<()> {
    range(world)?;
    world.windows_has(51820, true)?;
    let _wireguard = kernel_device(world)?;
    let agent = start(world, "")?;
    let found = agent.raised("wireguard-port-refused")?;
    ensure!(
        found.detail.contains("Windows refused UDP 0.0.0.0:51820"),
        "{found:?}"
    );
    for address in ["10.1.0.1/32", "10.1.0.2/32", "10.1.0.3/32"] {
        let before = agent.status()?.context("no status")?.passes;
        world.shell(&format!("ip addr add {address} dev lo"))?;
        agent.pass_after(before)?;
    }
    ensure!(world.ports()?.asked_udp(51820) == 1, "{:?}", world.ports());
    let doctor = world.wslmesh(&["doctor"])?;
    ensure!(doctor.stdout.contains("40000 to 44095"), "{doctor:?}");
    shown(world, "refused", "wg0 51820: Windows refused UDP")?;
    world.windows_has(51820, false)?;
    passes(&agent, 1)?;
    world.ports_become("the claim", claimed(51820))?;
    agent.cleared("wireguard-port-refused")?;
    ensure!(world.ports()?.asked_udp(51820) == 3, "{:?}", world.ports());
    agent.stop()
}

/// Not in NAT, and not where the configuration does not want it.
fn not_wanted(world: &World) -> Result<()> {
    range(world)?;
    let _wireguard = kernel_device(world)?;
    for (mode, wireguard) in [("nat", ""), ("mirrored", "claim-port = false\n")] {
        world.windows().set_networking_mode(mode)?;
        let agent = start(world, wireguard)?;
        passes(&agent, 3)?;
        ensure!(
            world.ports()?.asked_udp(51820) == 0,
            "{mode}: {:?}",
            world.ports()
        );
        agent.stop()?;
    }
    let doctor = world.wslmesh(&["doctor"])?;
    ensure!(doctor.stdout.contains("claim-port = false"), "{doctor:?}");
    Ok(())
}
