//! The world itself: it looks like WSL, touches nothing of the machine and
//! leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::control::Status;
use crate::options::Options;
use crate::process::{KILL, TERM, USR1};
use crate::runner::{trial_alone, trial_with};
use crate::topology::Place;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_with("world::looks_like_wsl", Options::quick(), looks_like_wsl),
        trial_with("world::files", Options::quick(), files),
        trial_with(
            "world::machine_is_read_only",
            Options::quick(),
            machine_is_read_only,
        ),
        trial_with("world::agent_is_there", Options::quick(), agent_is_there),
        trial_with("world::processes", Options::quick(), processes),
        trial_alone("world::two_at_once", two_at_once),
        trial_alone("world::ends_when_dropped", ends_when_dropped),
        trial_alone("world::ends_when_the_test_is_killed", ends_when_killed),
    ]
}

fn looks_like_wsl(world: &World) -> Result<()> {
    let release = world.guest(&["cat", "/proc/sys/kernel/osrelease"])?.ok()?;
    ensure!(release.trim() == crate::root::RELEASE, "{release}");
    let whoami = world.guest(&["id", "-u"])?.ok()?;
    ensure!(whoami.trim() == "0", "{whoami}");
    if world.tools() {
        ensure!(world.guest(&["wslinfo", "--networking-mode", "-n"])?.ok()? == "nat");
        world.windows().set_networking_mode("mirrored")?;
        ensure!(world.guest(&["wslinfo", "--networking-mode"])?.ok()? == "mirrored\n");
        ensure!(world.guest(&["wslinfo", "--version"])?.ok()? == "2.6.3.0\n");
        // As the server of WSL's own answers, which does not look.
        let missing = world.guest(&["wslpath", "-w", "/no/such/file"])?.ok()?;
        ensure!(
            missing == "\\\\wsl.localhost\\Lab\\no\\such\\file\n",
            "{missing}"
        );
    }
    let mode = world
        .guest(&["bash", "-c", "exec -a wslinfo /init --networking-mode -n"])?
        .ok()?;
    ensure!(
        mode == if world.tools() { "mirrored" } else { "nat" },
        "{mode}"
    );
    world.write("/tmp/a b", "")?;
    ensure!(crate::caller::wslpath(world, "/tmp/a b")? == r"\\wsl.localhost\Lab\tmp\a b");
    ensure!(crate::caller::wslpath(world, "/mnt/c/Windows/System32")? == r"C:\Windows\System32");
    let net = world.guest(&["ls", "/sys/class/net"])?.ok()?;
    ensure!(
        net.split_whitespace().collect::<Vec<_>>() == ["eth0", "lo"],
        "/sys shows {net}"
    );
    Ok(())
}

fn files(world: &World) -> Result<()> {
    world.write("/etc/wslmesh/wslmesh.toml", "[network]\n")?;
    ensure!(world.guest(&["cat", "/etc/wslmesh/wslmesh.toml"])?.ok()? == "[network]\n");
    world
        .guest(&[
            "sh",
            "-c",
            "echo said > /var/lib/answer && ln -s /etc/hostname /etc/wslmesh/link",
        ])?
        .ok()?;
    ensure!(world.read("/var/lib/answer")? == "said\n");
    // The machine's own users and certificates are there to be read.
    world
        .guest(&["cat", "/etc/passwd", "/etc/os-release"])?
        .ok()?;
    Ok(())
}

fn machine_is_read_only(world: &World) -> Result<()> {
    for place in [
        "/usr",
        "/var",
        "/.machine-etc",
        "/usr/bin",
        "/proc/sys/kernel",
        "/sys",
    ] {
        let touched = world.guest(&["sh", "-c", "echo x > \"$0/wslmesh-lab\"", place])?;
        ensure!(!touched.success(), "{place} can be written");
    }
    for sysctl in ["vm/swappiness", "kernel/printk", "fs/file-max"] {
        let set = world.guest(&[
            "sh",
            "-c",
            "cat /proc/sys/$0 > /tmp/v && cat /tmp/v > /proc/sys/$0",
            sysctl,
        ])?;
        ensure!(!set.success(), "{sysctl} of the machine can be written");
    }
    // The network's sysctls belong to the guest's own namespace.
    world
        .guest(&[
            "sh",
            "-c",
            "echo 300 > /proc/sys/net/ipv4/tcp_keepalive_time",
        ])?
        .ok()?;
    let host = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_keepalive_time")?;
    ensure!(host.trim() != "300", "the machine's own sysctl was written");
    Ok(())
}

fn agent_is_there(world: &World) -> Result<()> {
    ensure!(world.has_agent(), "set WSLMESH_BIN to the agent's binary");
    let output = world
        .agent(&["--version"])?
        .finish(Duration::from_secs(10))?;
    ensure!(output.success(), "{output:?}");
    Ok(())
}

fn processes(world: &World) -> Result<()> {
    let output = world.run(
        Place::Lan,
        &["sh", "-c", "cat; echo err >&2; exit 3"],
        b"in",
    )?;
    ensure!(
        output.status == Status::Code(3) && output.stdout == "in" && output.stderr == "err\n",
        "{output:?}"
    );
    let process = world.spawn_guest(
        &["sh", "-c", "echo $MARK; exec sleep 100"],
        &[("MARK", "here")],
    )?;
    until("the process's output", Duration::from_secs(5), || {
        Ok((process.stdout()? == "here\n").then_some(()))
    })?;
    until("the process under its pid", Duration::from_secs(5), || {
        let name = world.read(format!("/proc/{}/comm", process.pid()))?;
        Ok((name == "sleep\n").then_some(()))
    })?;
    ensure!(process.wait(Duration::ZERO)?.is_none(), "ended too early");
    let output = process.stop(Duration::from_secs(5))?;
    ensure!(output.status == Status::Signal(TERM), "{output:?}");
    process.signal(KILL)?;
    let process = world.spawn_guest(&["sleep", "100"], &[])?;
    // Not SIGHUP: below nohup that is ignored.
    process.signal(USR1)?;
    ensure!(process.wait(Duration::from_secs(5))? == Some(Status::Signal(USR1)));
    // An orphan is collected by PID 1.
    world
        .guest(&["sh", "-c", "(sleep 0.01 & ) ; exit 0"])?
        .ok()?;
    until("the end of all zombies", Duration::from_secs(5), || {
        let states = world
            .guest(&[
                "sh",
                "-c",
                "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ' Z '; true",
            ])?
            .ok()?;
        Ok((states.trim() == "0").then_some(()))
    })
}

fn two_at_once() -> Result<()> {
    let (one, two) = (
        World::start(&Options::quick())?,
        World::start(&Options::quick())?,
    );
    one.change_address("172.28.27.77/20")?;
    one.write("/run/mark", "")?;
    let addresses = two
        .guest(&["ip", "-4", "-br", "addr", "show", "eth0"])?
        .ok()?;
    ensure!(
        addresses.contains("172.28.16.5/20") && !two.path("/run/mark").exists(),
        "{addresses}"
    );
    Ok(())
}

/// What the machine sees of worlds: mounts, named network namespaces, and the
/// processes whose user namespace is the world's.
fn traces(namespace: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let link = std::fs::read_link(entry.path().join("ns/user"));
        if link.is_ok_and(|link| link.to_string_lossy() == namespace) {
            found.push(format!("process {}", entry.file_name().to_string_lossy()));
        }
    }
    for line in std::fs::read_to_string("/proc/self/mountinfo")?.lines() {
        if line.contains("/run/netns") || line.contains(" - tmpfs lab ") {
            found.push(line.to_owned());
        }
    }
    Ok(found)
}

fn namespace_of(launcher: u32) -> Result<String> {
    Ok(std::fs::read_link(format!("/proc/{launcher}/ns/user"))?
        .to_string_lossy()
        .into_owned())
}

fn ends_when_dropped() -> Result<()> {
    let world = World::start(&Options::quick())?;
    let namespace = namespace_of(world.launcher_id())?;
    let daemon = world.spawn_guest(
        &["sh", "-c", "trap '' TERM HUP; setsid sleep 100 & sleep 100"],
        &[],
    )?;
    let client = world.spawn(Place::Lan, &["sleep", "100"], &[])?;
    // Launcher, first process, server, shell, two sleepers, the client's.
    until("seven traces", Duration::from_secs(5), || {
        Ok((traces(&namespace)?.len() >= 7).then_some(()))
    })?;
    // Forgotten, so that only the world's end can end it.
    std::mem::forget((daemon, client));
    drop(world);
    let left = traces(&namespace)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// The role `@hold`: a test that holds a world and never ends by itself.
pub(crate) fn hold() -> ExitCode {
    match World::start(&Options::quick()) {
        Ok(world) => {
            println!("{}", world.launcher_id());
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn ends_when_killed() -> Result<()> {
    drop(World::start(&Options::quick())?);
    let mut test = Command::new("/proc/self/exe")
        .arg("@hold")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(test.stdout.take().context("no output")?).read_line(&mut line)?;
    let namespace = namespace_of(
        line.trim()
            .parse()
            .context("the world of the other process")?,
    )?;
    ensure!(
        traces(&namespace)?.len() >= 3,
        "the search for traces finds too little"
    );
    test.kill()?;
    test.wait()?;
    until("the end of the world", Duration::from_secs(10), || {
        Ok(traces(&namespace)?.is_empty().then_some(()))
    })
}
