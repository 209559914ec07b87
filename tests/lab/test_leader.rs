//! One agent leads in each network namespace, another one is on standby, and
//! `wslmesh apply` refuses to run beside it.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::{Resource, getrlimit, setrlimit};

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
        quick("leader::old_version_leads", old_version),
        quick("leader::old_version_elsewhere", old_version_elsewhere),
        quick("leader::old_version_is_played", old_version_played),
        quick("leader::two_thousand_names", two_thousand_names),
        quick("leader::two_at_once_among_names", two_among_names),
        quick("leader::knocked_at", knocked_at),
    ]
}

/// The name of version 0.1.0.
const OLD_NAME: &str = "wslmesh/agent";
/// `@old`: an agent of version 0.1.0 as far as others see it.
pub(crate) const OLD: &str = "@old";
/// `@crafted COUNT`: so many names of agents, each with a full queue.
pub(crate) const CRAFTED: &str = "@crafted";
/// `@knock`: connects to the names of agents without end.
pub(crate) const KNOCK: &str = "@knock";

/// Runs the role [`OLD`] until it is killed.
pub(crate) fn old_role() -> ExitCode {
    let Err(error) = old();
    eprintln!("{error:#}");
    ExitCode::FAILURE
}

fn old() -> Result<std::convert::Infallible> {
    let name = SocketAddr::from_abstract_name(OLD_NAME)?;
    loop {
        if let Ok(listener) = UnixListener::bind_addr(&name) {
            eprintln!("it leads");
            let mut standbys = Vec::new();
            loop {
                standbys.push(listener.accept()?);
                standbys.truncate(64);
            }
        }
        eprintln!("on standby");
        // It waits for the leader's end; of one that does not answer it expects none.
        if let Ok(mut leader) = UnixStream::connect_addr(&name) {
            drop(leader.read(&mut [0; 1]));
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn unix_socket() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Runs the role [`CRAFTED`] until it is killed.
pub(crate) fn crafted_role(count: &str) -> ExitCode {
    let Err(error) = crafted(count);
    eprintln!("{error:#}");
    ExitCode::FAILURE
}

fn crafted(count: &str) -> Result<std::convert::Infallible> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let mut sockets = Vec::new();
    for number in 0..count.parse::<u32>()? {
        let name = format!("{OLD_NAME}/{number:032x}");
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
        let listener = unix_socket()?;
        bind(&listener, &address)?;
        listen(&listener, 0)?;
        sockets.push(listener);
        loop {
            let client = unix_socket()?;
            if connect(&client, &address).is_err() {
                break;
            }
            sockets.push(client);
        }
    }
    eprintln!("bound");
    loop {
        std::thread::park();
    }
}

/// Runs the role [`KNOCK`] until it is killed.
pub(crate) fn knock_role() -> ExitCode {
    let knock = || -> Result<()> {
        loop {
            let sockets = std::fs::read("/proc/net/unix")?;
            let sockets = String::from_utf8_lossy(&sockets).into_owned();
            let names = sockets.lines().filter_map(|line| line.split_once(" @"));
            let names = names.filter(|(_, name)| name.starts_with(OLD_NAME));
            for (_, name) in names.cycle().take(20_000) {
                let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
                connect(unix_socket()?, &address).unwrap_or_default();
            }
        }
    };
    eprintln!("bound");
    let knocks: Vec<_> = (0..2).map(|_| std::thread::spawn(knock)).collect();
    for knock in knocks {
        eprintln!("{:?}", knock.join());
    }
    ExitCode::FAILURE
}

/// A process that is no agent's: another user's where the lab may have one, which takes
/// root, else root's without any capability.
pub(crate) struct Stranger<'w> {
    _process: Option<Process<'w>>,
    outside: Option<Child>,
}

impl Drop for Stranger<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.outside {
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}

/// Starts a role as a stranger, and waits until its names are bound.
pub(crate) fn stranger<'w>(world: &'w World, role: &[&str]) -> Result<Stranger<'w>> {
    if !rustix::process::geteuid().is_root() {
        let contained = [
            "setpriv",
            "--bounding-set=-all",
            "--inh-caps=-all",
            "/init",
            crate::ROLE,
        ];
        let argv = [&contained[..], role].concat();
        let process = says(world.spawn_guest(&argv, &[])?, "bound")?;
        return Ok(Stranger {
            _process: Some(process),
            outside: None,
        });
    }
    let inside = world.spawn_guest(&["sleep", "60"], &[])?;
    let namespace = world.path(format!("/proc/{}/ns/net", inside.pid()));
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", namespace.display()));
    command.args(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]);
    command.args(["bash", "-c", "exec -a wslmesh-lab \"$@\"", "bash"]);
    command.arg(std::env::current_exe()?).args(role);
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut said = [0; 5];
    let stderr = child.stderr.as_mut().context("no standard error")?;
    let read = stderr.read_exact(&mut said);
    let stranger = Stranger {
        _process: None,
        outside: Some(child),
    };
    read.context("the stranger said nothing")?;
    ensure!(said == *b"bound", "{said:?}");
    Ok(stranger)
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
    let squat = ["/init", crate::ROLE, SQUAT, &own];
    let silent = says(world.spawn_guest(&squat, &[])?, "bound")?;
    let squatter = stranger(world, &[SQUAT, OLD_NAME])?;
    let agent = works_at_once(world, "wslmesh")?;
    let health = agent.raised("leader-untrusted")?;
    ensure!(
        health.severity == "info"
            && health.detail.contains("holds a leader-election socket")
            && health.detail.contains("1 leader-election socket without"),
        "{health:?}"
    );
    let doctor = world.wslmesh(&["doctor"])?;
    ensure!(doctor.stdout.contains("leader-untrusted"), "{doctor:?}");
    one_leads(world, agent)?;
    drop((squatter, silent));
    Ok(())
}

fn old_version(world: &World) -> Result<()> {
    let old = || world.spawn_guest(&["/init", crate::ROLE, OLD], &[]);
    let leader = says(old()?, "it leads")?;
    let agent = world.start_agent(&config(SSH))?;
    let health = agent.raised("leader-outdated")?;
    ensure!(
        health.severity == "warning" && health.detail.contains(&leader.pid().to_string()),
        "{health:?}"
    );
    let status = agent.status()?.context("no status")?;
    ensure!(status.role == "standby" && status.passes == 0, "{status:?}");
    let doctor = world.wslmesh(&["doctor"])?;
    ensure!(doctor.stdout.contains("leader-outdated"), "{doctor:?}");
    let apply = world.wslmesh(&["apply", "--config", CONFIG])?;
    ensure!(apply.status == Status::Code(1), "{apply:?}");
    ensure!(world.windows().calls()?.is_empty(), "both wrote");
    drop(leader);
    agent.wait_for("the end of 0.1.0", Duration::from_secs(2), |status| {
        status.role == "active" && status.passes > 0
    })?;
    agent.cleared("leader-outdated")?;

    // The other way round.
    let later = says(old()?, "on standby")?;
    agent.healthy()?;
    // Longer than 0.1.0 takes to lead.
    std::thread::sleep(Duration::from_secs(1));
    ensure!(!later.stderr()?.contains("it leads"), "two lead");
    agent.stop()?;
    says(later, "it leads").map(drop)
}

/// No process of another distribution has a number here. It may be a container's, so this
/// agent works beside it, with a warning until it ends.
fn old_version_elsewhere(world: &World) -> Result<()> {
    let old = says(
        world.spawn_guest(&["/init", crate::ROLE, OLD], &[])?,
        "it leads",
    )?;
    world.write(CONFIG, config(SSH))?;
    let run = [
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        AGENT,
        "run",
        "--config",
        CONFIG,
    ];
    let agent = says(world.spawn_guest(&run, &[])?, "started; configuration")?;
    let warning = "leader-election socket, that of version 0.1.0; ignored";
    says(agent, warning)?;
    drop(old);
    Ok(())
}

/// Who cannot be an agent keeps none from leading, whatever name it has.
fn old_version_played(world: &World) -> Result<()> {
    let capless = [
        "setpriv",
        "--bounding-set=-net_admin",
        "--inh-caps=-net_admin",
    ];
    let argv = [&capless[..], &["/init", crate::ROLE, OLD]].concat();
    let root = says(world.spawn_guest(&argv, &[])?, "it leads")?;
    let agent = works_at_once(world, "wslmesh")?;
    let health = agent.raised("leader-untrusted")?;
    let who = format!("process {} of root", root.pid());
    ensure!(
        health.detail.contains(&who) && health.detail.contains("CAP_NET_ADMIN"),
        "{health:?}"
    );
    // A stranger's end leaves the name to the agent, not to a real 0.1.0.
    drop(root);
    until("the agent to take the name", LIMIT, || {
        let sockets = world.read(format!("/proc/{}/net/unix", agent.process().pid()))?;
        let is_old = |line: &str| line.ends_with(&format!("@{OLD_NAME}"));
        Ok(sockets.lines().any(is_old).then_some(()))
    })?;
    let later = says(
        world.spawn_guest(&["/init", crate::ROLE, OLD], &[])?,
        "on standby",
    )?;
    agent.healthy()?;
    drop(later);
    one_leads(world, agent)
}

fn two_thousand_names(world: &World) -> Result<()> {
    let crafted = stranger(world, &[CRAFTED, "2000"])?;
    let agent = works_at_once(world, "wslmesh")?;
    let health = agent.raised("leader-untrusted")?;
    ensure!(
        health.detail.contains("2000 leader-election sockets"),
        "{health:?}"
    );
    one_leads(world, agent)?;
    drop(crafted);
    Ok(())
}

fn two_among_names(world: &World) -> Result<()> {
    let crafted = stranger(world, &[CRAFTED, "2000"])?;
    two_at_once(world)?;
    drop(crafted);
    Ok(())
}

/// The leader's queue is always full.
fn knocked_at(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    let knocking = stranger(world, &[KNOCK])?;
    for name in ["second", "third", "fourth"] {
        let setup = Setup {
            runtime: name,
            ..Setup::default()
        };
        // systemd starts one again that has heard of the leader too late.
        let mut starts = 0;
        loop {
            let other = world.start_agent_with(&config(SSH), &setup)?;
            let standby = other.raised("standby");
            starts += 1;
            let late = other.process().stderr()?.contains("answered late");
            if standby.is_ok() {
                break;
            }
            ensure!(late && starts < 5, "{standby:?}");
        }
    }
    world.change_address("172.28.27.77/20")?;
    agent.settled("172.28.27.77")?;
    drop(knocking);
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
    const STARTED: &str = "started; configuration";
    world.write(CONFIG, config(SSH))?;
    let run = ["run", "--config", CONFIG];
    let mut both = [world.agent(&run)?, world.agent(&run)?];
    let mut late = 0;
    until("one leader and one standby", LIMIT, || {
        let (mut leaders, mut standbys) = (0, 0);
        for agent in &mut both {
            let said = agent.stderr()?;
            // systemd starts one again that has heard of the leader too late.
            if said.contains("answered late") && late < 5 {
                late += 1;
                *agent = world.agent(&run)?;
            } else if said.contains(STARTED) {
                leaders += 1;
            } else if said.contains("standby") {
                standbys += 1;
            }
        }
        Ok((leaders == 1 && standbys == 1).then_some(()))
    })?;
    world.states("WSL_IP", FIRST)?;
    world.forwards(&[(2222, FIRST, 22)])?;
    // One that was late had called Windows. What may be done there is asked first.
    let calls = world.windows().calls()?;
    let expected = 2..=2 + 2 * late;
    ensure!(expected.contains(&calls.len()), "{late} {calls:?}");
    let said = [both[0].stderr()?, both[1].stderr()?];
    let leaders = said.iter().filter(|said| said.contains(STARTED)).count();
    ensure!(leaders == 1, "{said:?}");
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
