//! The end of a leader: what the next one finds on Windows stays until the other
//! distributions have registered again, and never do two lead.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, LIMIT, PROXY, SSH, forward};
use crate::contract::Sync;
use crate::installed::{policy, proxied};
use crate::options::Options;
use crate::runner::trial_with;
use crate::status::Status;
use crate::test_members::{agent, standby};
use crate::topology::{FIRST, Place};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("takeover::rules_of_the_living_stay", rules_stay),
        quick("takeover::rules_stay_where_elevated", rules_stay_elevated),
        quick("takeover::leader_starts_again", starts_again),
        quick("takeover::listeners_of_the_living_stay", listeners_stay),
        quick("takeover::rules_of_the_dead_go", rules_of_the_dead_go),
        quick("takeover::one_of_eight_leads", one_of_eight_leads),
    ]
}

/// What a leader logs when it begins.
const STARTED: &str = "started; configuration";

/// What it says that leads beside another one, before it ends.
const LATE: &str = "answered late";

/// The ports that each call to Windows so far asked for.
fn asked(world: &World) -> Result<Vec<BTreeSet<u64>>> {
    let calls = world.windows().calls()?.into_iter();
    let requests = calls.filter(|call| !call.request.is_empty());
    let ports = requests.map(|call| {
        let sync: Sync = serde_json::from_str(&call.request)?;
        Ok(sync.forwards.iter().map(|one| one.listen_port).collect())
    });
    ports.collect()
}

/// Each call after the first `before` asked for the rules of these ports.
fn asked_for(world: &World, before: usize, ports: &[u64]) -> Result<()> {
    let all = asked(world)?;
    let after = all.get(before..).context("calls are gone")?;
    ensure!(!after.is_empty(), "Windows was not asked");
    let lacks = |asked: &&BTreeSet<u64>| !ports.iter().all(|port| asked.contains(port));
    ensure!(after.iter().find(lacks).is_none(), "{after:?}");
    Ok(())
}

fn up<'a>(names: &'a [&'a str]) -> impl Fn(&Status) -> bool + 'a {
    |status| {
        let state = |name: &&str| {
            let mut served = status.served.iter();
            served.any(|one| one.name == **name && one.state == "up")
        };
        status.served.len() == names.len() && names.iter().all(state)
    }
}

fn web(name: &str, port: u16) -> String {
    forward(name, port, 22)
}

/// The one of these that leads, and the other.
fn next_leader<'a, 'w>(both: [&'a Agent<'w>; 2]) -> Result<(&'a Agent<'w>, &'a Agent<'w>)> {
    let [one, two] = both;
    let leads = |agent: &Agent| {
        let status = agent.status()?;
        Ok::<_, anyhow::Error>(status.is_some_and(|status| status.role == "active"))
    };
    until("the next leader", LIMIT, || {
        Ok(match (leads(one)?, leads(two)?) {
            (true, _) => Some((one, two)),
            (_, true) => Some((two, one)),
            _ => None,
        })
    })
}

/// Kills the leader of three. Rules of the port proxy serve without any agent, so nothing of
/// the living closes.
fn three(world: &World, backend: &str) -> Result<()> {
    let with = |text: &str| format!("[host]\nbackend = \"{backend}\"\n{text}");
    let ubuntu = agent(world, "Ubuntu", &with(SSH))?;
    let debian = standby(world, "Debian", &with(&web("web", 8080)))?;
    let fedora = standby(world, "Fedora", &with(&web("www", 8081)))?;
    ubuntu.wait("all three", up(&["ssh", "Debian/web", "Fedora/www"]))?;
    debian.wait("its own", up(&["web"]))?;
    fedora.wait("its own", up(&["www"]))?;
    let listeners = || {
        let at = |port| world.listener(Place::Windows, "t", port);
        Ok::<_, anyhow::Error>((at(8080)?, at(8081)?))
    };
    let (before, sockets) = (asked(world)?.len(), listeners()?);
    ubuntu.kill()?;
    let (leader, other) = next_leader([&debian, &fedora])?;
    let is_up = |status: &Status| status.served.iter().all(|one| one.state == "up");
    leader.wait("two forwards", |status| {
        status.served.len() == 2 && is_up(status)
    })?;
    other.wait("its own", |status| {
        status.role == "standby" && status.served.len() == 1 && is_up(status)
    })?;
    // That of the dead one goes, once it has had the time to start again.
    world.closed(Place::Windows, "t", 2222)?;
    asked_for(world, before, &[8080, 8081])?;
    ensure!(listeners()? == sockets, "other listeners");
    leader.healthy().map(drop)
}

fn rules_stay(world: &World) -> Result<()> {
    world.windows().install(&proxied())?;
    three(world, "portproxy")
}

/// Nothing is installed; who may use the port proxy is known by asking Windows alone.
fn rules_stay_elevated(world: &World) -> Result<()> {
    three(world, "auto")
}

/// As an upgrade does it: it may lead again before the others have heard of its end.
fn starts_again(world: &World) -> Result<()> {
    world.windows().install(&proxied())?;
    let proxy = |text: &str| format!("{PROXY}{text}");
    let ubuntu = agent(world, "Ubuntu", &proxy(SSH))?;
    let debian = standby(world, "Debian", &proxy(&web("web", 8080)))?;
    ubuntu.wait("both", up(&["ssh", "Debian/web"]))?;
    let sockets = || {
        let at = |port| world.listener(Place::Windows, "t", port);
        Ok::<_, anyhow::Error>((at(2222)?, at(8080)?))
    };
    let (before, listening) = (asked(world)?.len(), sockets()?);
    ubuntu.stop()?;
    let ubuntu = agent(world, "Ubuntu", &proxy(SSH))?;
    let (leader, other) = next_leader([&ubuntu, &debian])?;
    leader.wait("both", |status| {
        status.served.len() == 2 && status.served.iter().all(|one| one.state == "up")
    })?;
    other.wait("its own", |status| {
        status.role == "standby" && status.served.iter().any(|one| one.state == "up")
    })?;
    asked_for(world, before, &[2222, 8080])?;
    ensure!(sockets()? == listening, "other listeners");
    leader.healthy().map(drop)
}

/// The relay ends with its agent where no unit of systemd keeps it; the next one begins with
/// the forwards of all.
fn listeners_stay(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let ubuntu = agent(world, "Ubuntu", SSH)?;
    let debian = standby(world, "Debian", &web("web", 8080))?;
    let fedora = standby(world, "Fedora", &web("www", 8081))?;
    ubuntu.wait("all three", up(&["ssh", "Debian/web", "Fedora/www"]))?;
    debian.wait("its own", up(&["web"]))?;
    fedora.wait("its own", up(&["www"]))?;
    let before = world.windows().relays()?.len();
    ubuntu.kill()?;
    let (leader, other) = next_leader([&debian, &fedora])?;
    leader.wait("two forwards", |status| {
        status.served.len() == 2 && status.served.iter().all(|one| one.state == "up")
    })?;
    other.wait("its own", |status| {
        status.role == "standby" && status.served.iter().any(|one| one.state == "up")
    })?;
    world.closed(Place::Windows, "t", 2222)?;
    let relays = world.windows().relays()?.split_off(before);
    let commands = relays.iter().flat_map(|relay| &relay.commands);
    let sets: Vec<&String> = commands
        .filter(|command| command.contains("set-forwards"))
        .collect();
    ensure!(!sets.is_empty(), "{relays:?}");
    let has = |set: &&&String, port: u16| set.contains(&format!("\"listen-port\":{port}"));
    let lacks = |set: &&&String| !has(set, 8080) || !has(set, 8081);
    ensure!(sets.iter().find(lacks).is_none(), "{sets:?}");
    Ok(())
}

/// The next leader wants nothing of Windows itself.
fn rules_of_the_dead_go(world: &World) -> Result<()> {
    world.windows().install(&proxied())?;
    let ubuntu = agent(world, "Ubuntu", &format!("{PROXY}{SSH}"))?;
    ubuntu.wait("its own", up(&["ssh"]))?;
    let debian = standby(world, "Debian", "")?;
    debian.wait("the leader", |status| status.leader.is_some())?;
    world.forwards(&[(2222, FIRST, 22)])?;
    ubuntu.kill()?;
    world.forwards(&[])?;
    debian.healthy().map(drop)
}

/// Who leads never stops leading, so of the living one alone may ever have begun; but on a
/// machine that is too busy for answers one may begin that hears of the leader too late, and
/// ends.
fn one_of_eight_leads(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let names: Vec<String> = (0..8).map(|number| format!("D{number}")).collect();
    let mut living = Vec::new();
    for (name, port) in names.iter().zip(8080..) {
        living.push((u64::from(port), agent(world, name, &web("web", port))?));
    }
    for _ in 0..4 {
        let leader = until("one leader, who serves all", LIMIT, || {
            let (mut leaders, mut others) = (Vec::new(), 0);
            for (index, (_, agent)) in living.iter().enumerate() {
                let log = agent.log()?;
                if log.contains(LATE) {
                    others += 1;
                } else if log.contains(STARTED) {
                    leaders.push(index);
                } else if agent.status()?.is_some_and(|status| up(&["web"])(&status)) {
                    others += 1;
                }
            }
            let all = leaders.len() + others == living.len();
            Ok(leaders
                .first()
                .copied()
                .filter(|_| all && leaders.len() == 1))
        })?;
        // The others find it by its name, and have none themselves.
        let ports: BTreeSet<u64> = living.iter().map(|(port, _)| *port).collect();
        let (_, leader) = living.swap_remove(leader);
        let own = format!("pid={},", leader.process().pid());
        until("one name", LIMIT, || {
            let sockets = world.guest(&["ss", "-Hxlp"])?.ok()?;
            let names: Vec<&str> = (sockets.lines())
                .filter(|line| line.contains("@wslmesh/agent/"))
                .collect();
            Ok(matches!(names.as_slice(), [one] if one.contains(&own)).then_some(()))
        })?;
        until("a call for the living", 4 * LIMIT, || {
            Ok((asked(world)?.last() == Some(&ports)).then_some(()))
        })?;
        leader.kill()?;
    }
    Ok(())
}
