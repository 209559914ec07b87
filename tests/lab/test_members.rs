//! Several distributions in one network namespace: one agent leads and serves the
//! forwards of all.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use rtnetlink::sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_ROUTE};

use crate::agent::{Agent, CONFIG, LIMIT, SSH, Setup, config, forward};
use crate::double::machine::ME;
use crate::installed::policy;
use crate::options::{AGENT, Options};
use crate::process::{CONT, Output, Process, STOP};
use crate::runner::trial_with;
use crate::setup::{OPEN, said};
use crate::status::Status;
use crate::topology::Place;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("members::leader_serves_all", leader_serves_all),
        quick("members::first_configured_wins", first_configured_wins),
        quick("members::five_leaders_killed", five_leaders_killed),
        quick("members::too_many_forwards", too_many_forwards),
        quick("members::strangers_register_nothing", strangers),
        quick("members::user_registers_nothing", user),
        quick("members::leader_hangs", leader_hangs),
        quick("members::leader_of_another_version", another_version),
        quick("members::sixty_five_standbys", sixty_five),
        quick("members::relay_not_installed", not_installed),
        quick("members::two_of_one_distribution", two_of_one),
        quick("members::planned_and_approved_for_all", for_all),
    ]
}

/// `@leader VERSION`: an agent of another version that leads, as far as others see it.
pub(crate) const LEADER: &str = "@leader";
/// `@register KIND`: a process that registers with the leader.
pub(crate) const REGISTER: &str = "@register";

/// Runs the role [`LEADER`] until it is killed.
pub(crate) fn leader_role(version: &str) -> ExitCode {
    let Err(error) = lead(version);
    eprintln!("{error:#}");
    ExitCode::FAILURE
}

fn lead(version: &str) -> Result<std::convert::Infallible> {
    let name = format!("wslmesh/agent/{:032x}", 7);
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    eprintln!("bound");
    let mut kept = Vec::new();
    loop {
        let (stream, _) = listener.accept()?;
        let mut request = String::new();
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut request)?;
        let (port, nonce) = request.trim_end().split_once(' ').context("no request")?;
        let socket = Socket::new(NETLINK_ROUTE)?;
        let proof = format!("wslmesh {nonce} {name}");
        socket.send_to(proof.as_bytes(), &NetlinkAddress::new(port.parse()?, 0), 0)?;
        let mut stream = reader.into_inner();
        stream.write_all(format!("wslmesh {version} and what it adds\n").as_bytes())?;
        kept.push(stream);
    }
}

/// Runs the role [`REGISTER`] until it is killed, or the leader ends.
pub(crate) fn register_role(kind: &str) -> ExitCode {
    match register(kind) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn register(kind: &str) -> Result<()> {
    let sockets = fs::read_to_string("/proc/net/unix")?;
    let names = sockets.lines().filter_map(|line| line.split_once(" @"));
    let mut names = names.filter(|(_, name)| name.starts_with("wslmesh/agent/"));
    let (_, name) = names.next().context("no leader")?;
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut writer, mut line) = (stream, String::new());
    // A leader that refuses the user ends the connection, at any of these two.
    let hello = writer
        .write_all(b"1 1\n")
        .and_then(|()| reader.read_line(&mut line));
    eprintln!("bound");
    hello?;
    let forward = |number: usize| {
        format!(
            r#"{{"name":"f{number}","protocol":"tcp","listen-address":"0.0.0.0","listen-port":{},"connect-port":22,"firewall":"none"}}"#,
            number % 60_000 + 1
        )
    };
    let registration = |count: usize| {
        let forwards: Vec<String> = (0..count).map(forward).collect();
        format!(
            "{{\"version\":1,\"distribution\":\"Evil\",\"forwards\":[{}]}}\n",
            forwards.join(",")
        )
    };
    let text = match kind {
        "one" => registration(1),
        "many" => registration(100_000),
        "half" => "{\"version\":1,".to_owned(),
        "endless" => loop {
            writer.write_all(&[b'x'; 65536])?;
        },
        other => bail!("no such kind: {other}"),
    };
    writer.write_all(text.as_bytes())?;
    line.clear();
    reader.read_line(&mut line)?;
    eprintln!("answer: {line}");
    while reader.read(&mut [0; 4096])? > 0 {}
    Ok(())
}

/// A distribution's agent.
pub(crate) fn agent<'w>(world: &'w World, name: &str, forwards: &str) -> Result<Agent<'w>> {
    let state = format!("/run/{name}");
    let setup = Setup {
        env: &[("WSL_DISTRO_NAME", name), ("STATE_DIRECTORY", &state)],
        runtime: name,
        ..Setup::default()
    };
    world.start_agent_with(&config(forwards), &setup)
}

/// The same, which must be on standby.
pub(crate) fn standby<'w>(world: &'w World, name: &str, forwards: &str) -> Result<Agent<'w>> {
    let agent = agent(world, name, forwards)?;
    agent.raised("standby")?;
    Ok(agent)
}

fn serves<'a>(names: &'a [&'a str]) -> impl Fn(&Status) -> bool + 'a {
    |status| status.served.len() == names.len() && status.serves("relay", names)
}

/// A TCP client in the LAN gets through.
fn reached(world: &World, port: u16) -> Result<()> {
    let probe = world.probe(format!("192.168.50.10:{port}").parse()?)?;
    probe.success_after(0, LIMIT).map(drop)
}

fn leader_serves_all(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let leader = agent(world, "Ubuntu", SSH)?;
    leader.wait("its own forward", serves(&["ssh"]))?;
    let debian = standby(world, "Debian", &forward("web", 8080, 22))?;
    leader.wait("both forwards", serves(&["ssh", "Debian/web"]))?;
    let status = debian.wait("its forward", serves(&["web"]))?;
    ensure!(
        status.role == "standby" && status.problems().is_empty(),
        "{status:?}"
    );
    ensure!(leader.healthy()?.role == "active");
    reached(world, 8080)?;
    reached(world, 2222)?;
    let one = world.listener(Place::Windows, "t", 2222)?;

    // Another forward instead; the leader's own keeps its listener.
    debian.reload(&config(&forward("web", 8081, 22)))?;
    world.closed(Place::Windows, "t", 8080)?;
    debian.wait("the new forward", |status| {
        status
            .served
            .iter()
            .any(|one| one.listen_port == 8081 && one.state == "up")
    })?;
    reached(world, 8081)?;
    // A bad configuration changes nothing.
    debian.reload("nonsense")?;
    debian.raised("config-rejected")?;
    reached(world, 8081)?;
    debian.reload(&config(&forward("web", 8081, 22)))?;
    debian.cleared("config-rejected")?;

    // Its restart cuts nothing.
    let before = world.listener(Place::Windows, "t", 8081)?;
    debian.stop()?;
    drop(debian);
    let debian = standby(world, "Debian", &forward("web", 8081, 22))?;
    debian.wait("its forward", serves(&["web"]))?;
    ensure!(world.listener(Place::Windows, "t", 8081)? == before);
    // Its end does.
    debian.kill()?;
    world.closed(Place::Windows, "t", 8081)?;
    leader.wait("its own forward alone", serves(&["ssh"]))?;
    ensure!(
        world.listener(Place::Windows, "t", 2222)? == one,
        "another listener"
    );
    ensure!(world.windows().relays()?.len() == 1, "two relays");
    Ok(())
}

fn first_configured_wins(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let leader = agent(world, "Ubuntu", SSH)?;
    let text = format!(
        "{}{}",
        forward("mine", 2222, 2022),
        forward("web", 8080, 22)
    );
    let debian = standby(world, "Debian", &text)?;
    let fedora = standby(world, "Fedora", &forward("www", 8080, 2022))?;
    // A leader that was alone until now does not know its own name at once.
    let owned = |agent: &Agent, subject: &str, detail: &str| {
        agent.wait(detail, |status| {
            status.finding("forward-owned").is_some_and(|one| {
                one.severity == "warning" && one.subject == subject && one.detail == detail
            })
        })
    };
    owned(&debian, "mine", "Ubuntu has tcp 0.0.0.0:2222")?;
    owned(&fedora, "www", "Debian has tcp 0.0.0.0:8080")?;
    let subjects = |status: &Status| {
        let owned = status
            .health
            .iter()
            .filter(|one| one.code == "forward-owned");
        owned.map(|one| one.subject.clone()).collect::<Vec<_>>()
    };
    leader.wait("both losers", |status| {
        subjects(status) == ["Debian/mine", "Fedora/www"]
            && status.serves("relay", &["ssh", "Debian/web"])
    })?;
    // The next one gets the port when it is free.
    debian.kill()?;
    fedora.cleared("forward-owned")?;
    leader.wait("the next owner", serves(&["ssh", "Fedora/www"]))?;
    leader.healthy().map(drop)
}

fn five_leaders_killed(world: &World) -> Result<()> {
    takeovers(world, 5, Duration::from_secs(1)).map(drop)
}

/// Kills the leader so many times, and starts a standby after each. Returns how long it took
/// from each kill to the first pass of the next leader, within a second.
pub(crate) fn takeovers(world: &World, count: usize, limit: Duration) -> Result<Vec<Duration>> {
    world.windows().install(&policy())?;
    let web = forward("web", 8080, 22);
    let of = |round: usize| {
        if round.is_multiple_of(2) {
            ("Ubuntu", SSH, "ssh")
        } else {
            ("Debian", web.as_str(), "web")
        }
    };
    let mut leader = agent(world, "Ubuntu", SSH)?;
    let mut times = Vec::with_capacity(count);
    for round in 1..=count {
        let (name, forwards, own) = of(round);
        let (_, _, theirs) = of(round + 1);
        let second = standby(world, name, forwards)?;
        let member = format!("{name}/{own}");
        leader.wait("both", serves(&[theirs, &member]))?;
        second.wait("its own", serves(&[own]))?;
        let begin = Instant::now();
        leader.kill()?;
        second.wait_for("the next leader", limit, |status| {
            status.role == "active" && status.passes > 0
        })?;
        times.push(begin.elapsed());
        second.wait("its own", serves(&[own]))?;
        leader = second;
    }
    Ok(times)
}

fn too_many_forwards(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let leader = agent(world, "Ubuntu", SSH)?;
    leader.wait("its own forward", serves(&["ssh"]))?;
    let many = |count: u16| {
        (1..=count)
            .map(|n| forward(&format!("f{n}"), n + 10_000, 22))
            .collect::<String>()
    };
    let debian = standby(world, "Debian", &many(257))?;
    let refused = debian.raised("forwards-refused")?;
    ensure!(refused.detail.contains("257 ports"), "{refused:?}");
    ensure!(refused.severity == "warning", "{refused:?}");
    // More than any distribution may have are not even registered.
    debian.reload(&config(&many(1_001)))?;
    let rejected = debian.raised("config-rejected")?;
    ensure!(rejected.detail.contains("1000 is the most"), "{rejected:?}");
    debian.reload(&config(&forward("web", 8080, 22)))?;
    debian.cleared("forwards-refused")?;
    leader
        .wait("both", serves(&["ssh", "Debian/web"]))
        .map(drop)
}

/// A process of root without capabilities.
fn stranger<'w>(world: &'w World, kind: &str) -> Result<Process<'w>> {
    let argv = [
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "/init",
        crate::ROLE,
        REGISTER,
        kind,
    ];
    let process = world.spawn_guest(&argv, &[])?;
    says(&process, "bound")?;
    Ok(process)
}

fn says(process: &Process<'_>, text: &str) -> Result<String> {
    until(text, LIMIT, || {
        let said = process.stderr()?;
        Ok(said.contains(text).then_some(said))
    })
}

fn strangers(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let leader = agent(world, "Ubuntu", SSH)?;
    leader.wait("its own forward", serves(&["ssh"]))?;
    let before = leader.peak()?;
    let one = stranger(world, "one")?;
    let said = says(&one, "answer: ")?;
    ensure!(said.contains("CAP_NET_ADMIN"), "{said}");
    let many = stranger(world, "many")?;
    let said = says(&many, "answer: ")?;
    ensure!(said.contains("bytes"), "{said}");
    let strangers = ["half", "endless", "endless"].map(|kind| stranger(world, kind));
    let strangers = strangers.into_iter().collect::<Result<Vec<_>>>()?;
    // Another agent is served all the same.
    let debian = standby(world, "Debian", &forward("web", 8080, 22))?;
    debian.wait("its forward", serves(&["web"]))?;
    let status = leader.wait("both", serves(&["ssh", "Debian/web"]))?;
    ensure!(status.problems().is_empty(), "{status:?}");
    let grown = leader.peak()?.saturating_sub(before);
    ensure!(grown < 8 * 1024, "{grown} kB more");
    drop((one, many, strangers));
    Ok(())
}

/// Who is not root, where the lab may have another user, does not even get a hello.
fn user(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let leader = agent(world, "Ubuntu", SSH)?;
    leader.wait("its own forward", serves(&["ssh"]))?;
    let user = crate::test_leader::stranger(world, &[REGISTER, "one"])?;
    let debian = standby(world, "Debian", &forward("web", 8080, 22))?;
    debian.wait("its forward", serves(&["web"]))?;
    leader.wait("both", serves(&["ssh", "Debian/web"]))?;
    ensure!(leader.healthy()?.served.len() == 2, "more are served");
    drop(user);
    Ok(())
}

fn leader_hangs(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let leader = agent(world, "Ubuntu", SSH)?;
    leader.wait("its own forward", serves(&["ssh"]))?;
    let setup = Setup {
        env: &[("WSL_DISTRO_NAME", "Debian"), ("WATCHDOG_USEC", "800000")],
        runtime: "Debian",
        ..Setup::default()
    };
    let debian = world.start_agent_with(&config(&forward("web", 8080, 22)), &setup)?;
    debian.wait("its forward", serves(&["web"]))?;
    leader.process().signal(STOP)?;
    let health = debian.raised("leader-silent")?;
    ensure!(
        health.severity == "warning" && health.detail.contains("Ubuntu"),
        "{health:?}"
    );
    // It may go on at any moment: none takes its place.
    let status = debian.status()?.context("no status")?;
    ensure!(status.role == "standby", "{status:?}");
    leader.process().signal(CONT)?;
    debian.cleared("leader-silent")?;
    debian.healthy().map(drop)
}

fn another_version(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let leader = world.spawn_guest(&["/init", crate::ROLE, LEADER, "2"], &[])?;
    says(&leader, "bound")?;
    let debian = standby(world, "Debian", SSH)?;
    let health = debian.raised("leader-version")?;
    ensure!(
        health.severity == "warning" && health.detail.contains("version 2"),
        "{health:?}"
    );
    ensure!(world.windows().calls()?.is_empty(), "two lead");
    drop(leader);
    debian.wait("its own forward", serves(&["ssh"]))?;
    debian.cleared("leader-version").map(drop)
}

/// What keeps the LAN out is said in both distributions.
fn not_installed(world: &World) -> Result<()> {
    world.windows().set_elevated(false)?;
    let leader = agent(world, "Ubuntu", "")?;
    let debian = standby(world, "Debian", &forward("web", 8080, 22))?;
    leader.raised("relay-loopback")?;
    // Until the relay serves it there, the leader's own finding is the reason.
    let why = |status: &Status| {
        let health = status.finding("forward-unserved");
        health.is_some_and(|one| one.subject == "web" && one.detail.contains("127.0.0.1:8080"))
    };
    debian.wait("the reason", why).map(drop)
}

/// An agent that is started by hand beside the service has the same forwards.
fn two_of_one(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let leader = agent(world, "Ubuntu", SSH)?;
    leader.wait("its own forward", serves(&["ssh"]))?;
    let second = agent(world, "Ubuntu", SSH)?;
    second.says("leads")?;
    // It has registered when a third one has.
    let debian = standby(world, "Debian", &forward("web", 8080, 22))?;
    debian.wait("its forward", serves(&["web"]))?;
    let status = leader.wait("both", serves(&["ssh", "Debian/web"]))?;
    ensure!(status.problems().is_empty(), "{status:?}");
    Ok(())
}

/// The leader keeps 64; one more waits its turn, and then serves as the others do.
fn sixty_five(world: &World) -> Result<()> {
    world.windows().install(&policy())?;
    let leader = agent(world, "Ubuntu", SSH)?;
    leader.wait("its own forward", serves(&["ssh"]))?;
    let held = (0..64).map(|_| stranger(world, "half"));
    let mut held = held.collect::<Result<Vec<_>>>()?;
    // One that does not try again is let go.
    let output = stranger(world, "half")?.finish(LIMIT)?;
    ensure!(!output.stderr.contains("answer:"), "{output:?}");
    let debian = standby(world, "Debian", &forward("web", 8080, 22))?;
    ensure!(leader.healthy()?.served.len() == 1);
    held.pop();
    debian.wait("its forward", serves(&["web"]))?;
    leader
        .wait("both", serves(&["ssh", "Debian/web"]))
        .map(drop)
}

/// The program as a person calls it in that distribution, which has this configuration.
fn cli(world: &World, name: &str, forwards: &str, arguments: &[&str]) -> Result<Output> {
    world.write(CONFIG, config(forwards))?;
    let argv = [&[AGENT, "--config", CONFIG], arguments].concat();
    let runtime = format!("/run/{name}");
    let process = world.spawn_guest(&argv, &[("RUNTIME_DIRECTORY", &runtime)])?;
    process.finish(crate::world::TIMEOUT)
}

/// What is approved on Windows, by its ports to listen on.
fn approved(world: &World) -> Result<Vec<u16>> {
    let machine = world.windows().view()?.machine;
    let policy = machine.policy(ME).context("no policy")?;
    Ok(policy.grants.iter().map(|one| one.listen_ports.0).collect())
}

/// A plan and an installation at the leader have the forwards of all; one elsewhere says
/// that it does not know them, and a distribution that is gone keeps its ports until the
/// next installation, which says so.
fn for_all(world: &World) -> Result<()> {
    world.windows().set_elevated(false)?;
    let web = forward("web", 8080, 22).replace("none", "local");
    let leader = agent(world, "Ubuntu", OPEN)?;
    let debian = standby(world, "Debian", &web)?;
    leader.wait("both forwards", |status| status.served.len() == 2)?;
    debian.wait("the leader's name", |status| {
        status.leader.as_deref() == Some("Ubuntu")
    })?;
    let plan = cli(world, "Ubuntu", OPEN, &["plan"])?;
    said(&plan, 0, &["for Debian: web (tcp 0.0.0.0:8080 -> 22)"])?;
    ensure!(!plan.stdout.contains("not known"), "{plan:?}");
    let elsewhere = cli(world, "Debian", &web, &["plan"])?;
    let unknown = "the agent of Ubuntu leads; run `sudo wslmesh plan` there";
    said(&elsewhere, 0, &[unknown])?;
    ensure!(!elsewhere.stdout.contains("for "), "{elsewhere:?}");

    let install = ["host", "install", "--yes"];
    let output = cli(world, "Ubuntu", OPEN, &install)?;
    let plain = output
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let grants = [
        "tcp 2222 -> 22 on 0.0.0.0 from the local subnet, for Lab tcp 8080",
        "tcp 8080 -> 22 on 0.0.0.0 from the local subnet, for Debian networks:",
    ];
    for grant in grants {
        ensure!(plain.contains(grant), "{grant:?} is not in {plain}");
    }
    said(&output, 0, &["installed on Windows"])?;
    ensure!(approved(world)? == [2222, 8080], "{:?}", approved(world));
    leader.wait("both", serves(&["ssh", "Debian/web"]))?;
    world.reached(2222)?;
    world.reached(8080)?;
    said(
        &cli(world, "Ubuntu", OPEN, &install)?,
        0,
        &["nothing to do"],
    )?;
    let dry = ["host", "install", "--dry-run"];
    let unknown = "the agent of Ubuntu leads; run `sudo wslmesh host install` there";
    said(&cli(world, "Debian", &web, &dry)?, 0, &[unknown, "- tcp"])?;
    // What asks for more than is approved is not taken from the others.
    let more = "forward add more --protocol tcp --listen-port 9000 --yes";
    let more: Vec<&str> = more.split(' ').collect();
    said(&cli(world, "Debian", &web, &more)?, 3, &["run in Ubuntu: "])?;
    std::fs::remove_dir_all(world.path(format!("{CONFIG}.d")))?;
    ensure!(approved(world)? == [2222, 8080], "{:?}", approved(world));

    debian.kill()?;
    leader.wait("its own alone", serves(&["ssh"]))?;
    ensure!(approved(world)? == [2222, 8080], "{:?}", approved(world));
    let output = cli(world, "Ubuntu", OPEN, &install)?;
    let texts = [
        "keep it with --ports tcp:8080:22",
        "whose agent is not running are not known",
        "installed on Windows",
    ];
    said(&output, 0, &texts)?;
    ensure!(approved(world)? == [2222], "{:?}", approved(world));
    leader.stop()?;
    let plan = cli(world, "Ubuntu", OPEN, &["plan"])?;
    said(&plan, 0, &["the agent is not running here"])
}
