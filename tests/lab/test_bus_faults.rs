//! D-Bus that is not there, goes away, hangs, belongs to another, or is flooded.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use libtest_mimic::Trial;
use tokio::time::{MissedTickBehavior, interval};

use crate::agent::{Agent, SSH, Setup, config};
use crate::dbus::{
    BUS, NAME, PROPERTIES, answered, call, get, heard, listen, owner, refused, talk, wait,
};
use crate::options::Options;
use crate::process::{CONT, HUP, KILL, STOP};
use crate::runner::trial_with;
use crate::topology::FIRST;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("bus::absent_and_then_there", absent_and_then_there),
        quick("bus::slow_at_the_start", slow_at_the_start),
        quick("bus::restarted_under_us", restarted_under_us),
        quick("bus::hangs", hangs),
        quick("bus::name_taken", name_taken),
        quick("bus::standby", standby),
        quick("bus::standby_alone_on_its_bus", standby_alone_on_its_bus),
        quick("bus::flood", flood),
    ]
}

fn started(world: &World) -> Result<Agent<'_>> {
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    Ok(agent)
}

fn absent_and_then_there(world: &World) -> Result<()> {
    let agent = started(world)?;
    let status = agent.settled(FIRST)?;
    ensure!(status.problems().is_empty(), "{:?}", status.health);
    ensure!(
        !agent.log()?.to_lowercase().contains("bus"),
        "{}",
        agent.log()?
    );
    let _daemon = world.start_bus()?;
    agent.process().signal(HUP)?;
    talk(async { world.agent_on_the_bus().await.map(drop) })
}

/// A bus that takes the connection and says nothing is waited for, on a machine
/// where nothing happens too.
fn slow_at_the_start(world: &World) -> Result<()> {
    let daemon = world.start_bus()?;
    daemon.signal(STOP)?;
    let agent = started(world)?;
    agent.says("cannot join the system bus: ")?;
    daemon.signal(CONT)?;
    talk(async { world.agent_on_the_bus().await.map(drop) })
}

fn restarted_under_us(world: &World) -> Result<()> {
    let daemon = world.start_bus()?;
    let agent = started(world)?;
    talk(async { world.agent_on_the_bus().await.map(drop) })?;
    daemon.signal(KILL)?;
    agent.says("lost the system bus; reconnecting")?;
    world.change_address("172.28.27.77/20")?;
    agent.settled("172.28.27.77")?;
    let _daemon = world.start_bus()?;
    talk(async {
        let bus = world.agent_on_the_bus().await?;
        ensure!(get::<String>(&bus, "Address").await? == "172.28.27.77");
        let mut signals = listen(&bus).await?;
        world.change_address("172.19.3.4/20")?;
        heard(&mut signals, |name, _| name == "AddressChanged").await?;
        Ok(())
    })?;
    agent.says("on the system bus again")?;
    let log = agent.log()?;
    ensure!(log.matches("system bus").count() == 2, "{log}");
    Ok(())
}

/// A bus that stops in the middle: nothing else stops.
fn hangs(world: &World) -> Result<()> {
    let daemon = world.start_bus()?;
    let agent = started(world)?;
    talk(async { world.agent_on_the_bus().await.map(drop) })?;
    daemon.signal(STOP)?;
    for round in 1..=20 {
        let address = format!("172.28.27.{round}");
        world.change_address(&format!("{address}/20"))?;
        agent.has_written(&address)?;
    }
    daemon.signal(CONT)?;
    talk(async {
        let bus = world.agent_on_the_bus().await?;
        wait("the last address", async || {
            let address: String = get(&bus, "Address").await?;
            Ok((address == "172.28.27.20").then_some(()))
        })
        .await
    })
}

fn name_taken(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    talk(async {
        let taker = world.bus().await?;
        let name = async |method: &str, body: (&str, Option<u32>)| match body {
            (name, Some(flags)) => {
                taker
                    .call_method(Some(BUS), "/", Some(BUS), method, &(name, flags))
                    .await
            }
            (name, None) => {
                taker
                    .call_method(Some(BUS), "/", Some(BUS), method, &name)
                    .await
            }
        };
        // For good, whatever else asks for it.
        name("RequestName", (NAME, Some(0))).await?;
        let agent = world.start_agent(&config(SSH))?;
        let health = agent.raised("bus-taken")?;
        ensure!(
            health.severity == "warning" && health.detail.contains("of user 0 has it"),
            "{health:?}"
        );
        // It works all the same, and says it once.
        world.change_address("172.28.27.77/20")?;
        agent.has_written("172.28.27.77")?;
        ensure!(
            agent.log()?.matches("bus-taken").count() == 1,
            "{}",
            agent.log()?
        );
        name("ReleaseName", (NAME, None)).await?;
        agent.cleared("bus-taken")?;
        let bus = world.agent_on_the_bus().await?;
        ensure!(get::<String>(&bus, "HealthState").await? == "healthy");
        let log = agent.log()?;
        ensure!(
            log.contains("bus-taken (org.wslmesh.Agent1) cleared"),
            "{log}"
        );
        Ok(())
    })
}

fn standby(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let leader = started(world)?;
    let setup = Setup {
        runtime: "second",
        ..Setup::default()
    };
    talk(async {
        let bus = world.agent_on_the_bus().await?;
        let first = owner(&bus).await?.context("an owner")?;
        let second = world.start_agent_with(&config(SSH), &setup)?;
        second.raised("standby")?;
        // On one bus the leader keeps the name, without a finding.
        wait("two agents on the bus", async || {
            let queue = bus.call_method(Some(BUS), "/", Some(BUS), "ListQueuedOwners", &NAME);
            let queue: Vec<String> = queue.await?.body().deserialize()?;
            Ok((queue.len() == 2).then_some(()))
        })
        .await?;
        ensure!(owner(&bus).await? == Some(first.clone()));
        ensure!(get::<String>(&bus, "Role").await? == "active");
        // A standby that has the name gives it back to a leader that reconnects.
        leader.kill()?;
        second.wait("the other to take over", |status| status.role == "active")?;
        let taken = async || Ok(owner(&bus).await?.filter(|owner| *owner != first));
        wait("the name's new owner", taken).await?;
        wait("its role", async || {
            Ok((get::<String>(&bus, "Role").await? == "active").then_some(()))
        })
        .await?;
        call::<_, ()>(&bus, "Reload", &()).await
    })?;
    Ok(())
}

/// In a distribution of its own, with a bus of its own, which the leader is not on.
fn standby_alone_on_its_bus(world: &World) -> Result<()> {
    let leader = started(world)?;
    let setup = Setup {
        runtime: "second",
        ..Setup::default()
    };
    let _daemon = world.start_bus()?;
    let second = world.start_agent_with(&config(SSH), &setup)?;
    second.raised("standby")?;
    talk(async {
        let bus = world.agent_on_the_bus().await?;
        ensure!(get::<String>(&bus, "Role").await? == "standby");
        ensure!(get::<String>(&bus, "HealthState").await? == "healthy");
        let leads = format!("process {} leads", leader.process().pid());
        let error = refused(&bus, "Reapply", &()).await?;
        ensure!(
            error.contains("Error.Busy") && error.contains(&leads),
            "{error}"
        );
        // Its own configuration it reads.
        call::<_, ()>(&bus, "Reload", &()).await?;
        // The leader comes to this bus too, and the standby gives it the name.
        let before = owner(&bus).await?;
        leader.process().signal(HUP)?;
        wait("the leader", async || {
            Ok(owner(&bus)
                .await?
                .filter(|now| Some(now) != before.as_ref()))
        })
        .await?;
        ensure!(get::<String>(&bus, "Role").await? == "active");
        // Both distributions want the same port.
        leader.ill("forward-owned").map(drop)
    })
}

/// 1,000 calls a second for ten seconds, while the address changes and another
/// caller is served.
fn flood(world: &World) -> Result<()> {
    const LONG: Duration = Duration::from_secs(10);
    let _daemon = world.start_bus()?;
    let agent = started(world)?;
    talk(async { world.agent_on_the_bus().await.map(drop) })?;
    let resident = || -> Result<u64> {
        let status = world.read(format!("/proc/{}/status", agent.process().pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("VmRSS")?.parse()?)
    };
    let outage = |round: usize| -> Result<Duration> {
        let address = format!("172.28.{}.{}", 17 + round % 2, 20 + round);
        let begun = Instant::now();
        world.change_address(&format!("{address}/20"))?;
        agent.has_written(&address)?;
        Ok(begun.elapsed())
    };
    let quiet = (0..5).map(&outage).max_by_key(took).context("five")??;
    let before = resident()?;
    let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut slowest, mut longest) = (Duration::ZERO, Duration::ZERO);
    let mut most = before;
    let begun = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let flooding = scope.spawn(|| {
            talk(async {
                let callers = join_all((0..10).map(|_| world.bus())).await;
                let callers = callers.into_iter().collect::<Result<Vec<_>>>()?;
                let mut tick = interval(Duration::from_millis(10));
                tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
                while begun.elapsed() < LONG {
                    tick.tick().await;
                    let calls = callers.iter().enumerate().map(async |(at, bus)| match at {
                        0 => answered(bus, NAME, "Describe", &()).await,
                        1 => answered(bus, PROPERTIES, "GetAll", &NAME).await,
                        2 | 3 => answered(bus, NAME, "RemoveForward", &"missing").await,
                        4 => answered(bus, NAME, "NoSuchMethod", &()).await,
                        _ => answered(bus, PROPERTIES, "Get", &(NAME, "Health")).await,
                    });
                    for answer in join_all(calls).await {
                        answer?;
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                }
                over.store(true, Ordering::Relaxed);
                Ok(())
            })
        });
        let mut round = 5;
        while !over.load(Ordering::Relaxed) && !flooding.is_finished() {
            slowest = slowest.max(outage(round)?);
            let asked = Instant::now();
            talk(async { call::<_, Vec<String>>(&world.bus().await?, "Reapply", &()).await })?;
            longest = longest.max(asked.elapsed());
            most = most.max(resident()?);
            round = (round + 1) % 100;
            std::thread::sleep(Duration::from_millis(200));
        }
        flooding
            .join()
            .map_err(|_| anyhow::anyhow!("it panicked"))?
    })?;
    let answers = answers.into_inner();
    let after = resident()?;
    println!(
        "{answers} calls in {:.1} s; address to file: {quiet:?} before, {slowest:?} at most meanwhile; another's Reapply {longest:?} at most; RSS {before} kB before, {most} kB at most, {after} kB after",
        begun.elapsed().as_secs_f64()
    );
    // A slow machine may not manage all; the flood is one all the same.
    ensure!(answers > 5_000, "only {answers} calls");
    ensure!(longest < Duration::from_secs(3), "{longest:?}");
    ensure!(slowest < Duration::from_secs(3), "{slowest:?}");
    ensure!(
        most < before + 16_384 && after < before + 8_192,
        "{before} kB before, {most} kB at most, {after} kB after"
    );
    until("an agent that is well", Duration::from_secs(15), || {
        Ok(agent.healthy().is_ok().then_some(()))
    })?;
    Ok(())
}

fn took(result: &Result<Duration>) -> Duration {
    result.as_ref().copied().unwrap_or(Duration::MAX)
}
