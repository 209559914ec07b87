//! One agent leads in each network namespace, another one is on standby, and
//! `wslmesh apply` refuses to run beside it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, CONFIG, LIMIT, SSH, Setup, config};
use crate::control::Status;
use crate::options::{AGENT, Options};
use crate::process::{CONT, Process, STOP};
use crate::runner::trial_with;
use crate::topology::FIRST;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("leader::standby_takes_over", standby_takes_over),
        quick("leader::standby_ends_quietly", standby_ends),
        quick("leader::two_at_once", two_at_once),
        quick("leader::by_hand_beside_an_agent", by_hand_beside_an_agent),
        quick("leader::silent_stranger_is_ignored", silent_stranger),
        quick(
            "leader::root_in_a_container_is_ignored",
            root_in_a_container,
        ),
        quick("leader::slow_leader_overrules", slow_leader),
    ]
}

/// `@squat NAME...`: listens on these abstract sockets and never accepts.
pub(crate) const SQUAT: &str = "@squat";

/// Runs the role [`SQUAT`] until it is killed.
pub(crate) fn squat_role(names: &[&str]) -> ExitCode {
    let bound: std::io::Result<Vec<UnixListener>> = names
        .iter()
        .map(|name| UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?))
        .collect();
    match bound {
        Ok(_listeners) => {
            eprintln!("bound");
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts an agent in a folder of its own, which must work within a second.
fn works_at_once<'w>(world: &'w World, runtime: &str) -> Result<Agent<'w>> {
    let setup = Setup {
        runtime,
        ..Setup::default()
    };
    let begin = Instant::now();
    let agent = world.start_agent_with(&config(SSH), &setup)?;
    let took = begin.elapsed();
    let status = agent.status()?.context("no status")?;
    ensure!(status.role == "active" && status.passes > 0, "{status:?}");
    ensure!(took < Duration::from_secs(1), "{took:?}");
    Ok(agent)
}

fn says<'w>(process: Process<'w>, text: &str) -> Result<Process<'w>> {
    until(text, LIMIT, || {
        Ok(process.stderr()?.contains(text).then_some(()))
    })?;
    Ok(process)
}

/// Two agents beside strangers: one leads, the other takes over.
fn one_leads(world: &World, agent: Agent<'_>) -> Result<()> {
    agent.settled(FIRST)?;
    let setup = Setup {
        runtime: "second",
        ..Setup::default()
    };
    let second = world.start_agent_with(&config(SSH), &setup)?;
    let health = second.raised("standby")?;
    let pid = agent.process().pid().to_string();
    ensure!(health.detail.contains(&pid), "{health:?}");
    agent.kill()?;
    second.wait_for("the other to take over", Duration::from_secs(2), |status| {
        status.role == "active" && status.passes > 0
    })?;
    Ok(())
}

fn silent_stranger(world: &World) -> Result<()> {
    let own = format!("wslmesh/agent/{:032x}", 7);
    let squat = ["/init", crate::ROLE, SQUAT, "wslmesh/agent", &own];
    let squatter = says(world.spawn_guest(&squat, &[])?, "bound")?;
    let agent = works_at_once(world, "wslmesh")?;
    let health = agent.raised("leader-untrusted")?;
    ensure!(
        health.severity == "info" && health.detail.contains("2 leader-election sockets"),
        "{health:?}"
    );
    let doctor = world.wslmesh(&["doctor"])?;
    ensure!(doctor.stdout.contains("leader-untrusted"), "{doctor:?}");
    one_leads(world, agent)?;
    drop(squatter);
    Ok(())
}

fn root_in_a_container(world: &World) -> Result<()> {
    world.write(CONFIG, config(SSH))?;
    let wraps: [&[&str]; 2] = [
        &[
            "setpriv",
            "--bounding-set=-net_admin",
            "--inh-caps=-net_admin",
        ],
        &["unshare", "--user", "--map-root-user"],
    ];
    let contained = wraps.iter().zip(["third", "fourth"]).map(|(wrap, name)| {
        let argv = [wrap, &[AGENT, "run", "--config", CONFIG][..]].concat();
        let folder = format!("/run/{name}");
        std::fs::create_dir_all(world.path(&folder))?;
        let env = [
            ("RUNTIME_DIRECTORY", folder.as_str()),
            ("STATE_DIRECTORY", folder.as_str()),
        ];
        // Neither counts for the other.
        says(world.spawn_guest(&argv, &env)?, "started; configuration")
    });
    let contained = contained.collect::<Result<Vec<_>>>()?;
    let agent = works_at_once(world, "wslmesh")?;
    let health = agent.raised("leader-untrusted")?;
    for process in &contained {
        let who = format!("process {} of root", process.pid());
        ensure!(health.detail.contains(&who), "{health:?}");
    }
    ensure!(health.detail.contains("CAP_NET_ADMIN"), "{health:?}");
    one_leads(world, agent)
}

fn slow_leader(world: &World) -> Result<()> {
    let leader = world.start_agent(&config(SSH))?;
    leader.settled(FIRST)?;
    leader.process().signal(STOP)?;
    let second = works_at_once(world, "second")?;
    leader.process().signal(CONT)?;
    let ended = second.process().finish(LIMIT)?;
    ensure!(
        ended.status == Status::Code(1) && ended.stderr.contains("answered late"),
        "{ended:?}"
    );
    leader.healthy().map(drop)
}

fn standby_takes_over(world: &World) -> Result<()> {
    let leader = world.start_agent(&config(SSH))?;
    leader.settled(FIRST)?;
    let setup = Setup {
        runtime: "second",
        ..Setup::default()
    };
    let second = world.start_agent_with(&config(SSH), &setup)?;
    let health = second.raised("standby")?;
    ensure!(
        health.severity == "info" && health.detail.contains(&leader.process().pid().to_string()),
        "{health:?}"
    );
    ensure!(
        second
            .status()?
            .is_some_and(|status| status.role == "standby" && status.passes == 0)
    );
    ensure!(
        second
            .heard()
            .iter()
            .any(|line| line.starts_with("STATUS=standby"))
    );
    let calls = world.windows().calls()?.len();
    leader.kill()?;
    second.wait_for("the other to take over", Duration::from_secs(1), |status| {
        status.role == "active" && status.passes > 0
    })?;
    second.cleared("standby")?;
    world.change_address("172.28.27.77/20")?;
    second.settled("172.28.27.77")?;
    world.states("WSL_IP", "172.28.27.77")?;
    world.forwards(&[(2222, "172.28.27.77", 22)])?;
    ensure!(world.windows().calls()?.len() > calls);
    Ok(())
}

fn standby_ends(world: &World) -> Result<()> {
    let leader = world.start_agent(&config(SSH))?;
    let before = leader.settled(FIRST)?;
    // In the same folder: the leader's status stays.
    let second = world.start_agent(&config(SSH))?;
    second.says("leads")?;
    second.stop_within(Duration::from_secs(1))?;
    ensure!(
        leader
            .status()?
            .is_some_and(|status| status.pid == before.pid && status.role == "active")
    );
    let setup = Setup {
        runtime: "second",
        ..Setup::default()
    };
    let third = world.start_agent_with(&config(SSH), &setup)?;
    third.raised("standby")?;
    third.stop()?;
    ensure!(third.status()?.is_none(), "a stopped agent has a status");
    Ok(())
}

fn two_at_once(world: &World) -> Result<()> {
    world.write(CONFIG, config(SSH))?;
    let run = ["run", "--config", CONFIG];
    let both = [world.agent(&run)?, world.agent(&run)?];
    let leads = |index: usize| -> Result<bool> {
        Ok(both
            .get(index)
            .context("two")?
            .stderr()?
            .contains("started; configuration"))
    };
    until("one leader and one standby", LIMIT, || {
        let standing = both
            .iter()
            .map(|agent| agent.stderr())
            .collect::<Result<Vec<_>>>()?;
        let standing = standing
            .iter()
            .filter(|said| said.contains("standby"))
            .count();
        Ok((standing == 1 && leads(0)? != leads(1)?).then_some(()))
    })?;
    world.states("WSL_IP", FIRST)?;
    world.forwards(&[(2222, FIRST, 22)])?;
    let calls = world.windows().calls()?;
    ensure!(calls.len() == 1 && leads(0)? != leads(1)?, "{calls:?}");
    Ok(())
}

fn by_hand_beside_an_agent(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    let passes = agent.settled(FIRST)?.passes;
    let keepalive = world.sysctl("net.ipv4.tcp_keepalive_time")?;
    for command in [&["apply", "--config", CONFIG][..], &["restore"]] {
        let output = world.wslmesh(command)?;
        ensure!(
            output.status == Status::Code(1)
                && output.stdout.is_empty()
                && output
                    .stderr
                    .contains(&format!("process {}", agent.process().pid())),
            "{output:?}"
        );
    }
    ensure!(world.sysctl("net.ipv4.tcp_keepalive_time")? == keepalive && keepalive == "60");
    // Looking does no harm.
    let plan = world.wslmesh(&["plan", "--config", CONFIG])?;
    ensure!(plan.status == Status::Code(0), "{plan:?}");
    let status = world.wslmesh(&["status"])?.ok()?;
    ensure!(
        status.contains("1 -> 172.28.16.5") && status.contains("health: fine"),
        "{status}"
    );
    let json: crate::status::Status =
        serde_json::from_str(&world.wslmesh(&["status", "--json"])?.ok()?)?;
    ensure!(
        json.version == 1 && json.forwards.is_some_and(|f| f.count == 1),
        "{status}"
    );
    ensure!(json.windows_address == Some("192.168.50.10".parse()?));
    world.states("WINDOWS_HOST_IP", "192.168.50.10")?;
    ensure!(
        agent
            .status()?
            .is_some_and(|status| status.passes >= passes && status.role == "active")
    );
    Ok(())
}
