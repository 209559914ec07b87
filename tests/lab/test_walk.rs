//! One machine through the modes of WSL, and then with two distributions: after each step a
//! client in the LAN gets to its services.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{LIMIT, SSH, forward};
use crate::installed::{INSIDE, TUNNEL, both, policy, proxied};
use crate::options::Options;
use crate::runner::trial_with;
use crate::station::Station;
use crate::status::Status;
use crate::test_members::{agent, standby};
use crate::topology::{FIRST, Place, WINDOWS_ADDRESS};
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial_with(
        "walk::modes_and_distributions",
        Options::quick(),
        walk,
    )]
}

/// A client in the LAN, and the service behind the UDP forward.
struct Ends<'w> {
    world: &'w World,
    client: Station<'w>,
    service: Station<'w>,
}

impl Ends<'_> {
    /// Both forwards lead the client to their services at this address.
    fn meet(&self, address: &str, step: &str) -> Result<()> {
        let probe = self.world.probe(format!("{address}:2222").parse()?)?;
        probe.success_after(0, LIMIT)?;
        let to = format!("{address}:51820").parse()?;
        let heard = self.client.reaches(to, &self.service, step)?;
        let back = self.service.reaches(heard.from, &self.client, step)?;
        ensure!(back.from == to, "{step}: {back:?}");
        Ok(())
    }
}

fn relayed(status: &Status) -> bool {
    status.serves("relay", &["ssh", "wg"])
}

fn walk(world: &World) -> Result<()> {
    let ends = Ends {
        world,
        client: world.station(Place::Lan, "0.0.0.0:0")?,
        service: world.station(Place::Guest, INSIDE)?,
    };
    // Where the guest has Windows' addresses, Windows passes on what comes for it.
    world
        .host(&["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])?
        .ok()?;
    let route = [
        "ip",
        "route",
        "add",
        "172.28.16.0/20",
        "via",
        WINDOWS_ADDRESS,
    ];
    world.lan(&route)?.ok()?;
    let behind = both("auto");
    let shared = behind.replace("\"local\"", "\"none\"");

    // NAT, by the port proxy and then by the relay.
    world.windows().install(&proxied())?;
    let ported = behind.replace(
        "connect-port = 22\n",
        "connect-port = 22\nbackend = \"portproxy\"\n",
    );
    let first = world.start_agent(&ported)?;
    first.wait("the port proxy and the relay", |status| {
        status.serves("portproxy", &["ssh"]) && status.serves("relay", &["wg"])
    })?;
    ends.meet(WINDOWS_ADDRESS, "nat")?;
    first.stop()?;
    drop(first);
    world.forwards(&[(2222, FIRST, 22)])?;

    world.switch_mode("mirrored")?;
    world.mirror()?;
    let second = world.start_agent(&shared)?;
    second.wait("the relay in here", relayed)?;
    world.forwards(&[])?;
    ends.meet(FIRST, "mirrored")?;
    for flap in ["a flap", "another flap"] {
        world.give(FIRST)?;
        ends.meet(FIRST, flap)?;
    }
    second.stop()?;
    drop(second);

    world.switch_mode("consomme")?;
    let third = world.start_agent(&shared)?;
    third.wait("the relay in here", relayed)?;
    ends.meet(FIRST, "consomme")?;
    third.stop()?;
    drop(third);

    // Two distributions in NAT mode again; the leader is killed.
    world.switch_mode("nat")?;
    world.windows().install(&policy())?;
    let leader = agent(world, "Ubuntu", &forward("web", 8080, 22))?;
    let debian = standby(world, "Debian", &format!("{SSH}{TUNNEL}"))?;
    debian.wait("its forwards", relayed)?;
    ends.meet(WINDOWS_ADDRESS, "on standby")?;
    leader.kill()?;
    debian.wait("the lead", |status| {
        status.role == "active" && relayed(status)
    })?;
    ends.meet(WINDOWS_ADDRESS, "after the leader's end")?;
    debian.stop()?;
    for (kind, port) in [("t", 2222), ("u", 51820), ("t", 8080)] {
        world.closed(Place::Windows, kind, port)?;
        world.closed(Place::Guest, kind, port)?;
    }
    world.forwards(&[])
}
