//! Mirrored mode's network as WSL makes it: several adapters, flaps, all links down, names
//! that change.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{FILE, SSH, config};
use crate::options::Options;
use crate::runner::trial_with;
use crate::status::Status;
use crate::test_mirrored::connects;
use crate::topology::{FIRST, Place, SECOND};
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let options = Options {
        mode: "mirrored".to_owned(),
        ..Options::quick()
    };
    vec![trial_with("mirrored_network::walk", options, walk)]
}

fn at(address: &'static str) -> impl Fn(&Status) -> bool {
    move |status| {
        status.address.is_some_and(|own| own.to_string() == address)
            && status.serves("relay", &["ssh"])
    }
}

/// Everything that WSL does to the network of a distribution in mirrored mode, one after the
/// other; what WSL owns stays as it is.
fn walk(world: &World) -> Result<()> {
    world.mirror()?;
    let owned = world.owned_by_wsl()?;
    let agent = world.start_agent(&config(SSH))?;
    agent.wait("the relay in here", at(FIRST))?;
    world.states("WSL_INTERFACE", "eth0")?;
    world.states("WSL_GATEWAY", "172.28.16.1")?;
    connects(world, FIRST)?;
    agent.healthy()?;

    // The same address, removed and added.
    let file = world.read(FILE)?;
    let passes = agent.status()?.map_or(0, |status| status.passes);
    world.give(FIRST)?;
    agent.pass_after(passes)?;
    ensure!(world.read(FILE)? == file, "a flap changed the file");
    connects(world, FIRST)?;

    // Windows moved to another network.
    world.give(SECOND)?;
    agent.wait("the new address", at(SECOND))?;
    connects(world, SECOND)?;

    // Windows prefers its other adapter for a while.
    world.shell("ip route add default via 192.168.77.1 dev eth1 metric 10")?;
    agent.wait("the other adapter", at("192.168.77.23"))?;
    world.states("WSL_INTERFACE", "eth1")?;
    world.shell("ip route del default via 192.168.77.1 dev eth1 metric 10")?;
    agent.wait("the first adapter again", at(SECOND))?;

    // Windows was updated: all links are down, and stay so for a while.
    // The one in use goes last: between the two the other one would be taken.
    world.shell("ip link set eth1 down; ip link set eth0 down")?;
    agent.raised("no-interface")?;
    world.states("WSL_IP", SECOND)?;
    world.shell("ip link set eth1 up; ip link set eth0 up")?;
    world.give(FIRST)?;
    agent.wait("the first address again", at(FIRST))?;
    agent.cleared("no-interface")?;

    // The names follow the kernel's order, not the adapters.
    world.shell("ip link set eth0 down; ip link set eth0 name eth7; ip link set eth7 up")?;
    world.shell(&format!(
        "ip -4 addr flush dev eth7; ip addr add {SECOND}/20 dev eth7 noprefixroute
        ip route add 172.28.16.0/20 dev eth7 metric 281
        ip route add default via 172.28.16.1 dev eth7 metric 25"
    ))?;
    agent.wait("the adapter by its new name", at(SECOND))?;
    world.states("WSL_INTERFACE", "eth7")?;
    connects(world, SECOND)?;
    agent.healthy()?;
    agent.stop()?;
    world.closed(Place::Guest, "t", 2222)?;
    let now = world.owned_by_wsl()?;
    // A rule of a link that is gone is WSL's to remove.
    let same = |text: &str| text.replace("eth0 [detached]", "eth0");
    ensure!(same(&now) == same(&owned), "{now}\nwas\n{owned}");
    Ok(())
}
