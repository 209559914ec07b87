//! WSL's port tracker, as the lab has it.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::options::Options;
use crate::runner::trial_with;
use crate::topology::Place;
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
    ]
}

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
