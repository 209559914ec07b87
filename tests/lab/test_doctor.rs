//! `wslmesh doctor`: it finds nothing on a healthy machine, and when one thing breaks
//! it names that one and no other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::{Agent, CONFIG, FILE, SSH, config};
use crate::control::Status;
use crate::fault::Fault;
use crate::options::Options;
use crate::process::Process;
use crate::runner::trial_with;
use crate::talker;
use crate::topology::FIRST;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("doctor::healthy", healthy),
        quick("doctor::one_thing_breaks", one_thing_breaks),
        quick("doctor::wireguard_peers", peers),
        quick("doctor::fix_repairs", fix_repairs),
        quick("doctor::without_rights", without_rights),
        quick("doctor::silent_sources_do_not_delay", silent_sources),
        quick("doctor::keys_limits_and_drives", keys_limits_and_drives),
    ]
}

const STOP: i32 = 19;

/// Checks of what differs here from a WSL with systemd, whatever the trial does: they
/// are ignored.
const IGNORED: [&str; 13] = [
    "memory",
    "memory-pressure",
    "oom-kills",
    "limits",
    "disk-windows",
    "swap",
    "disk",
    "inodes",
    "inotify-watches",
    "clock-drift",
    "files-keys",
    "conflicts-pollers",
    "kernel-tun",
];

/// Verdict and detail by check.
type Verdicts = BTreeMap<String, (String, String)>;

fn at<'a>(found: &'a Verdicts, id: &str) -> Result<&'a (String, String)> {
    found.get(id).with_context(|| format!("there is no {id}"))
}

/// Verdicts by check; it must print JSON whatever it finds.
fn verdicts(world: &World, more: &[&str]) -> Result<Verdicts> {
    let mut arguments = vec!["doctor", "--json", "--config", CONFIG];
    arguments.extend(more);
    let output = world.wslmesh(&arguments)?;
    let report: Value =
        serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    let checks = report
        .get("checks")
        .and_then(Value::as_array)
        .context("no checks")?;
    let word = |check: &Value, key: &str| {
        let text = check.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let all = checks.iter().map(|check| {
        ensure!(
            !word(check, "why").is_empty() && !word(check, "remediation").is_empty(),
            "{check}"
        );
        Ok((
            word(check, "id"),
            (word(check, "verdict"), word(check, "detail")),
        ))
    });
    all.collect()
}

/// The checks with a warning or an error.
fn bad_checks(world: &World) -> Result<Vec<String>> {
    let found = verdicts(world, &[])?;
    let bad = found.iter().filter(|(id, (verdict, _))| {
        ["warning", "error"].contains(&verdict.as_str()) && !IGNORED.contains(&id.as_str())
    });
    Ok(bad
        .map(|(id, (verdict, detail))| format!("{id}: {verdict}: {detail}"))
        .collect())
}

/// The server of WSL's tunnel.
pub(crate) const TUNNEL: &str = "10.255.255.254";

/// How long a trial waits for what several runs of the doctor find. On a machine that is
/// busy one of them takes seconds, and some of its sources answer too late.
const SEVERAL: Duration = Duration::from_secs(60);

/// Waits until only these checks warn: the agent may have something to do first.
pub(crate) fn only(world: &World, expected: &[&str]) -> Result<()> {
    let mut found = Vec::new();
    let same = until(&format!("{expected:?} alone"), SEVERAL, || {
        found = bad_checks(world)?;
        let ids: Vec<&str> = found
            .iter()
            .filter_map(|line| line.split(':').next())
            .collect();
        Ok((ids == expected).then_some(()))
    });
    same.with_context(|| format!("{found:#?}"))
}

/// A WSL as a user has it.
pub(crate) fn usual(world: &World) -> Result<()> {
    world.write("/etc/wsl.conf", "[boot]\nsystemd=true\n")?;
    world.write(
        "/mnt/c/Users/lab/.wslconfig",
        "[general]\r\ninstanceIdleTimeout=-1\r\n",
    )?;
    world.shell("mkdir -p /run/systemd/system")?;
    world.dns_tunnel()
}

/// The same with a name server and a running agent.
fn stage(world: &World) -> Result<(Agent<'_>, Process<'_>)> {
    usual(world)?;
    let server = world.name_server(TUNNEL, "nxdomain")?;
    world.add_tunnel("wg9")?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    Ok((agent, server))
}

fn healthy(world: &World) -> Result<()> {
    let _stage = stage(world)?;
    only(world, &[])?;
    let calls = world.windows().calls()?.len();
    let begun = Instant::now();
    let found = verdicts(world, &[])?;
    ensure!(begun.elapsed() < SEVERAL, "{:?}", begun.elapsed());
    for id in [
        "wsl-mode",
        "network-file",
        "tunnel-mtu",
        "interop-socket",
        "ports-listening",
    ] {
        let verdict = at(&found, id)?;
        ensure!(verdict.0 == "ok", "{id}: {verdict:?}");
    }
    let after = world.windows().calls()?.len();
    ensure!(after == calls, "it called Windows");
    let page = |more: &[&str]| -> Result<String> {
        let mut arguments = vec!["doctor", "--config", CONFIG];
        arguments.extend(more);
        let page = world.wslmesh(&arguments)?.stdout;
        let wide = page.lines().find(|line| line.chars().count() > 80);
        ensure!(wide.is_none() && !page.contains('\x1b'), "{wide:?}");
        Ok(page)
    };
    let (short, all) = (page(&[])?, page(&["--all"])?);
    let last = short.lines().last().unwrap_or_default();
    ensure!(last.ends_with("skipped (--all shows them)"), "{short}");
    ensure!(
        !short.contains("  ok  ") && !short.contains("  skipped "),
        "{short}"
    );
    ensure!(
        all.contains("  ok      network-file")
            && all.contains("  skipped wireguard-answers   no WireGuard device"),
        "{all}"
    );
    let part = verdicts(world, &["mtu", "dns"])?;
    ensure!(part.len() == 8, "{part:?}");
    let wrong = world.wslmesh(&["doctor", "mtus"])?;
    ensure!(wrong.status == Status::Code(2), "{wrong:?}");
    Ok(())
}

/// Breaks something, checks that this and nothing else is named, and repairs it.
fn breaks(world: &World, expected: &[&str], broken: &str, repaired: &str) -> Result<()> {
    world.shell(broken)?;
    only(world, expected).with_context(|| broken.to_owned())?;
    world.shell(repaired)?;
    only(world, &[]).with_context(|| repaired.to_owned())
}

fn one_thing_breaks(world: &World) -> Result<()> {
    let (agent, _server) = stage(world)?;
    only(world, &[])?;
    // It must not repair what is broken next, and its document stays.
    agent.process().signal(STOP)?;
    breaks(
        world,
        &["tunnel-mtu"],
        "ip link set wg9 mtu 1400",
        "ip link set wg9 mtu 1280",
    )?;
    breaks(
        world,
        &["sysctl-values"],
        "sysctl -qw net.ipv4.tcp_keepalive_time=77",
        "sysctl -qw net.ipv4.tcp_keepalive_time=60",
    )?;
    breaks(
        world,
        &["network-file"],
        "cp /etc/wslmesh/wsl-network.conf /run/lab/kept; sed -i s/172.28.16.5/172.28.9.9/ /etc/wslmesh/wsl-network.conf",
        "cp /run/lab/kept /etc/wslmesh/wsl-network.conf",
    )?;
    breaks(
        world,
        &["files-own"],
        "chmod 775 /etc/wslmesh",
        "chmod 755 /etc/wslmesh",
    )?;
    // Anybody may have put another file there.
    breaks(
        world,
        &["configuration", "files-own"],
        "chmod 777 /etc/wslmesh",
        "chmod 755 /etc/wslmesh",
    )?;
    breaks(
        world,
        &["systemd-configured"],
        "printf '[network]\\ngenerateResolvConf = true\\n' >/etc/wsl.conf",
        "printf '[boot]\\nsystemd=true\\n' >/etc/wsl.conf",
    )?;
    breaks(
        world,
        &["wslconfig"],
        "printf '[wsl2]\\nnetworkingMode.excludedInterfaces={}\\n[general]\\ninstanceIdleTimeout=-1\\n' >/mnt/c/Users/lab/.wslconfig",
        "printf '[general]\\ninstanceIdleTimeout=-1\\n' >/mnt/c/Users/lab/.wslconfig",
    )?;
    breaks(
        world,
        &["lifetime-idle"],
        "mv /mnt/c/Users/lab/.wslconfig /run/lab/wslconfig",
        "mv /run/lab/wslconfig /mnt/c/Users/lab/.wslconfig",
    )?;
    // Without it there is no PRIMARY_DNS either, which a pass would write.
    breaks(
        world,
        &["network-file", "resolv-conf"],
        "mv /mnt/wsl/resolv.conf /mnt/wsl/away",
        "mv /mnt/wsl/away /mnt/wsl/resolv.conf",
    )?;
    breaks(
        world,
        // The name server of this trial now listens on a previous address.
        &["dns-answers", "dns-tunnelling", "old-listeners"],
        "ip addr del 10.255.255.254/32 dev lo",
        "ip addr add 10.255.255.254/32 dev lo",
    )?;
    breaks(
        world,
        &["conflicts-subnets"],
        "ip addr add 172.28.0.1/16 dev wg9",
        "ip addr del 172.28.0.1/16 dev wg9",
    )?;
    world.windows().set_fault(Fault::InteropGone)?;
    only(world, &["interop-socket"])?;
    world.windows().clear_fault()?;
    world.windows().set_fault(Fault::PowershellMissing)?;
    only(world, &["interop-powershell"])?;
    world.windows().clear_fault()?;
    old_listener(world)?;
    world.shell("rm /run/wslmesh/status.json")?;
    only(world, &["agent-health"])
}

/// A service that stays bound to an address that is removed.
fn old_listener(world: &World) -> Result<()> {
    world.shell("ip addr add 172.28.9.9/32 dev eth0")?;
    let service = world.spawn_guest(
        &["/init", crate::ROLE, talker::ANSWER, "172.28.9.9:8080"],
        &[],
    )?;
    until("the service", Duration::from_secs(10), || {
        let table = world.shell("cat /proc/net/udp")?;
        Ok(table.contains(":1F90").then_some(()))
    })?;
    only(world, &[])?;
    world.shell("ip addr del 172.28.9.9/32 dev eth0")?;
    only(world, &["old-listeners"])?;
    service.signal(crate::process::KILL)?;
    only(world, &[])
}

/// Peers without a keepalive, and one that never answers.
fn peers(world: &World) -> Result<()> {
    let (agent, _server) = stage(world)?;
    let wireguard = world.wireguard("wg0", 2)?;
    agent.says("wg0 keepalive 25 s on")?;
    only(world, &[])?;
    agent.process().signal(STOP)?;
    wireguard.set_keepalive(0, 0)?;
    only(world, &["wireguard-keepalive"])?;
    let text = verdicts(world, &["wireguard"])?;
    ensure!(
        at(&text, "wireguard-keepalive")?.1.contains("1 of 2"),
        "{text:?}"
    );
    wireguard.set_keepalive(0, 25)?;
    let key = crate::wireguard::peer_key(1);
    world.shell(&format!("wg set wg0 peer {key} endpoint 192.168.50.20:9"))?;
    only(world, &["wireguard-handshake"])
}

fn fix_repairs(world: &World) -> Result<()> {
    let (agent, _server) = stage(world)?;
    agent.stop()?;
    only(world, &["agent-health"])?;
    world.shell(
        "ip link set wg9 mtu 1400; chmod 775 /etc/wslmesh; rm /etc/wslmesh/wsl-network.conf
        sysctl -qw net.ipv4.tcp_keepalive_time=77; printf '[x]\\n' >/run/lab/before; cp /etc/wsl.conf /run/lab/wsl.conf",
    )?;
    only(
        world,
        &[
            "agent-health",
            "files-own",
            "network-file",
            "sysctl-values",
            "tunnel-mtu",
        ],
    )?;
    let said = world.wslmesh(&["doctor", "--fix", "--config", CONFIG])?;
    ensure!(said.status == Status::Code(3), "no agent runs: {said:?}");
    for done in [
        "fixed: wg9 mtu 1400 -> 1280",
        "fixed: create",
        "/etc/wslmesh has mode 755",
    ] {
        ensure!(said.stdout.contains(done), "{done}: {}", said.stdout);
    }
    only(world, &["agent-health"])?;
    ensure!(world.read(FILE)?.contains("172.28.16.5"));
    ensure!(world.read("/etc/wsl.conf")? == world.read("/run/lab/wsl.conf")?);
    // By the running agent, which is asked and does it itself.
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    only(world, &[])?;
    world.shell("rm /etc/wslmesh/wsl-network.conf")?;
    let said = world.wslmesh(&["doctor", "--fix", "--json", "--config", CONFIG])?;
    let report: Value = serde_json::from_str(&said.stdout)?;
    let list = |key: &str| report.get(key).map(Value::to_string).unwrap_or_default();
    ensure!(
        list("asked").contains("reloads its configuration"),
        "{report}"
    );
    ensure!(
        list("fixed") == "[]" && list("not-fixed") == "[]",
        "{report}"
    );
    world.states("WSL_IP", FIRST)?;
    only(world, &[])?;
    // It is not asked for another configuration than its own; what needs no agent is done.
    world.shell("chmod 775 /etc/wslmesh")?;
    let other = "[sysctl]\n\"net.ipv4.tcp_keepalive_time\" = 55\n";
    world.write("/run/lab/other.toml", other)?;
    let said = world.wslmesh(&["doctor", "--fix", "--config", "/run/lab/other.toml"])?;
    let said = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "fixed: /etc/wslmesh has mode 755",
        "not fixed: the agent (process",
        "reads another configuration than /run/lab/other.toml",
    ] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    ensure!(!said.contains("asked: "), "{said}");
    only(world, &[])
}

fn without_rights(world: &World) -> Result<()> {
    let _stage = stage(world)?;
    let _wireguard = world.wireguard("wg0", 1)?;
    only(world, &[])?;
    // A world has one user, root: without capabilities the checks are the same.
    let output = world.guest(&[
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        crate::options::AGENT,
        "doctor",
        "--json",
        "--config",
        CONFIG,
    ])?;
    let report: Value =
        serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    let checks = report
        .get("checks")
        .and_then(Value::as_array)
        .context("no checks")?;
    ensure!(checks.len() > 50, "{} checks", checks.len());
    for id in [
        "interface",
        "network-file",
        "interop-powershell",
        "files-own",
    ] {
        let check = checks
            .iter()
            .find(|check| check.get("id").is_some_and(|found| found == id));
        ensure!(
            check.is_some_and(|check| check.get("verdict").is_some_and(|found| found == "ok")),
            "{check:?}"
        );
    }
    Ok(())
}

/// Neither a name server nor Windows holds doctor up.
fn silent_sources(world: &World) -> Result<()> {
    let (agent, server) = stage(world)?;
    agent.stop()?;
    drop(server);
    let _silent = world.station(crate::topology::Place::Guest, "10.255.255.254:53")?;
    world.windows().set_fault(Fault::InteropSilent)?;
    let begun = Instant::now();
    let found = verdicts(world, &[])?;
    let took = begun.elapsed();
    ensure!(
        at(&found, "dns-answers")?.1.contains("did not answer"),
        "{:?}",
        at(&found, "dns-answers")?
    );
    ensure!(took < SEVERAL, "{took:?}");
    world.windows().clear_fault()
}

/// Waits until a check says this.
fn says(world: &World, id: &str, verdict: &str, text: &str) -> Result<()> {
    let mut last = None;
    let said = until(&format!("{id}: {text}"), SEVERAL, || {
        let found = verdicts(world, &[])?;
        let found = at(&found, id)?;
        last = Some(found.clone());
        Ok((found.0 == verdict && found.1.contains(text)).then_some(()))
    });
    said.with_context(|| format!("{last:?}"))
}

/// A key that others can read, a service at its limit of open files, and a drive of Windows
/// without space: all of them real.
fn keys_limits_and_drives(world: &World) -> Result<()> {
    usual(world)?;
    world.write(CONFIG, "")?;
    let state = "/var/lib/tailscale/tailscaled.state";
    world.write(state, "{}")?;
    world.shell(&format!("chmod 644 {state}"))?;
    says(
        world,
        "files-keys",
        "warning",
        &format!("others can read {state} (mode 644)"),
    )?;
    world.shell(&format!("chmod 600 {state}"))?;
    let keys = verdicts(world, &["files"])?;
    ensure!(!at(&keys, "files-keys")?.1.contains(state), "{keys:?}");
    ensure!(at(&keys, "files-metadata")?.0 == "ok", "{keys:?}");
    // As many as it has.
    let service = world.spawn_guest(&["sleep", "600"], &[])?;
    let pid = service.pid();
    world.write("/run/lab/cgroup", "0::/system.slice/full.service\n")?;
    let count = world.shell(&format!(
        "mount --bind /run/lab/cgroup /proc/{pid}/cgroup; n=$(ls /proc/{pid}/fd | wc -l); prlimit --pid {pid} --nofile=$n:; echo $n"
    ))?;
    let count = count.trim();
    let full = format!("a process of full.service has {count} of {count} open files");
    says(world, "limits", "warning", &full)?;
    world.shell(&format!("prlimit --pid {pid} --nofile=1024:"))?;
    let found = verdicts(world, &["resources"])?;
    ensure!(
        !at(&found, "limits")?.1.contains("full.service"),
        "{found:?}"
    );
    world.shell(&format!("umount /proc/{pid}/cgroup"))?;
    // The drive that has Windows' users.
    world.shell("mount -t tmpfs -o size=100m none /mnt/c; mkdir /mnt/c/Users")?;
    let text = " of 100 MiB free on Windows' drive (/mnt/c)";
    says(world, "disk-windows", "warning", text)?;
    world.shell("umount /mnt/c").map(drop)
}
