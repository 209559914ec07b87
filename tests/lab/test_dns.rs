//! Name resolution: servers that answer in each way, files that are none, and zones.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::{Agent, CONFIG, LIMIT, config};
use crate::options::Options;
use crate::resolved::{LinkState, Resolved};
use crate::runner::trial_with;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("dns::servers", servers),
        quick("dns::tunnel_comes_back", tunnel_comes_back),
        quick("dns::tunnel_elsewhere", tunnel_elsewhere),
        quick("dns::files_that_are_none", files_that_are_none),
        quick("dns::fix_and_restore", fix_and_restore),
        quick("dns::wsl_conf_keeps_its_bytes", wsl_conf_keeps_its_bytes),
        quick("dns::zone", zone),
        quick("dns::zone_of_another_program", zone_of_another_program),
        quick("dns::zone_without_resolved", zone_without_resolved),
    ]
}

/// What the status document has of name resolution.
fn dns(world: &World) -> Result<Value> {
    let text = world.read("/run/wslmesh/status.json")?;
    let document: Value = serde_json::from_str(&text)?;
    Ok(document.get("dns").cloned().unwrap_or_default())
}

/// Waits until the server was found to resolve, or not.
fn works(world: &World, expected: bool) -> Result<()> {
    until(&format!("works = {expected}"), LIMIT, || {
        let found = dns(world)?;
        Ok((found.get("works") == Some(&Value::Bool(expected))).then_some(()))
    })
    .with_context(|| format!("{:?}", dns(world)))
}

/// Each way to answer, and the finding.
const WAYS: &[(&str, Option<&str>)] = &[
    ("noerror", None),
    ("nxdomain", None),
    ("refused", None),
    ("cut", None),
    ("tcp", None),
    ("udp", None),
    ("servfail", Some("dns-unanswered")),
    ("silent", Some("dns-tunnel-dead")),
    ("garbage", Some("dns-tunnel-dead")),
    ("number", Some("dns-tunnel-dead")),
    ("late", Some("dns-tunnel-dead")),
];

fn servers(world: &World) -> Result<()> {
    world.dns_tunnel()?;
    let mut server = world.name_server("10.255.255.254", "noerror")?;
    let agent = world.start_agent(&config(""))?;
    for (how, code) in WAYS {
        drop(server);
        server = world.name_server("10.255.255.254", how)?;
        agent.reload(&config(""))?;
        match code {
            Some(code) => {
                let found = agent.ill(code).with_context(|| (*how).to_owned())?;
                ensure!(found.detail.contains("10.255.255.254"), "{found:?}");
            }
            None => {
                works(world, true).with_context(|| (*how).to_owned())?;
                agent.healthy()?;
            }
        }
        works(world, code.is_none())?;
    }
    // The page has it in one line.
    drop(server);
    let _server = world.name_server("10.255.255.254", "noerror")?;
    agent.reload(&config(""))?;
    works(world, true)?;
    let page = world.wslmesh(&["status"])?.stdout;
    let line = "dns: 10.255.255.254 (WSL's tunnel), answers in";
    ensure!(page.contains(line), "{page}");
    agent.stop()
}

fn tunnel_comes_back(world: &World) -> Result<()> {
    world.dns_tunnel()?;
    let server = world.name_server("10.255.255.254", "noerror")?;
    let agent = world.start_agent(&config(""))?;
    works(world, true)?;
    world.shell("ip addr del 10.255.255.254/32 dev lo")?;
    let found = agent.ill("dns-tunnel-dead")?;
    ensure!(found.detail.contains("which no interface has"), "{found:?}");
    ensure!(
        found.remediation.contains("wsl.exe --shutdown"),
        "{found:?}"
    );
    world.shell("ip addr add 10.255.255.254/32 dev lo")?;
    agent.healthy()?;
    // It ends, and a retry finds it again without an event.
    drop(server);
    agent.reload(&config(""))?;
    agent.ill("dns-tunnel-dead")?;
    let _server = world.name_server("10.255.255.254", "noerror")?;
    agent.healthy()?;
    works(world, true)?;
    agent.stop()
}

/// .wslconfig names another address for the tunnel (experimental.dnsTunnelingIpAddress).
fn tunnel_elsewhere(world: &World) -> Result<()> {
    world.dns_tunnel()?;
    world.shell(
        "echo 'nameserver 10.9.9.9' >/mnt/wsl/resolv.conf; ip addr add 10.9.9.9/32 dev lo",
    )?;
    let server = world.name_server("10.9.9.9", "noerror")?;
    let agent = world.start_agent(&config(""))?;
    works(world, true)?;
    agent.healthy()?;
    let page = world.wslmesh(&["status"])?.stdout;
    ensure!(
        page.contains("dns: 10.9.9.9 (WSL's tunnel), answers in"),
        "{page}"
    );
    drop(server);
    agent.reload(&config(""))?;
    let found = agent.ill("dns-tunnel-dead")?;
    ensure!(found.detail.contains("10.9.9.9"), "{found:?}");
    agent.stop()
}

fn files_that_are_none(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(""))?;
    agent.healthy()?;
    for (what, make, part) in [
        ("a folder", "mkdir /etc/resolv.conf", "a folder"),
        ("a pipe", "mkfifo /etc/resolv.conf", "a pipe"),
        (
            "10 MB",
            "head -c 10000000 /dev/zero >/etc/resolv.conf",
            "too large",
        ),
        ("nothing", "true", "does not exist"),
        (
            "dangling",
            "ln -s /mnt/wsl/none /etc/resolv.conf",
            "a link to /mnt/wsl/none",
        ),
        ("empty", ": >/etc/resolv.conf", "is empty"),
        (
            "no server",
            "echo 'search lan' >/etc/resolv.conf",
            "no line",
        ),
        ("a device", "ln -s /dev/zero /etc/resolv.conf", "a device"),
    ] {
        world.shell(&format!("rm -rf /etc/resolv.conf; {make}"))?;
        agent.reload(&config(""))?;
        until(what, LIMIT, || {
            let status = agent.status()?;
            let found = status.and_then(|status| status.finding("resolv-conf-broken").cloned());
            Ok(found.filter(|one| one.detail.contains(part)).map(drop))
        })
        .with_context(|| agent.log().unwrap_or_default())?;
        let said = world.wslmesh(&["doctor", "dns"])?.stdout;
        ensure!(said.contains(part), "{what}: {said}");
    }
    world.shell("rm -f /etc/resolv.conf; echo 'nameserver 192.0.2.53' >/etc/resolv.conf")?;
    agent.reload(&config(""))?;
    agent.healthy()?;
    agent.stop()
}

fn fix_and_restore(world: &World) -> Result<()> {
    world.dns_tunnel()?;
    let conf = "[boot]\nsystemd=true\n";
    world.write("/etc/wsl.conf", conf)?;
    world.shell("rm /etc/resolv.conf; ln -s /mnt/wsl/gone /etc/resolv.conf")?;
    let link = || Ok::<_, anyhow::Error>(fs::read_link(world.path("/etc/resolv.conf"))?);
    let said = world.wslmesh(&["doctor", "--fix", "dns"])?.stdout;
    ensure!(
        said.contains("is a link to /mnt/wsl/resolv.conf now"),
        "{said}"
    );
    ensure!(
        link()? == std::path::Path::new("/mnt/wsl/resolv.conf"),
        "{:?}",
        link()?
    );
    let said = world.wslmesh(&["restore", "--keep-resolv-conf"])?.ok()?;
    ensure!(!said.contains("resolv.conf"), "{said}");
    let said = world.wslmesh(&["restore"])?.ok()?;
    ensure!(said.contains("restored: /etc/resolv.conf"), "{said}");
    ensure!(
        link()? == std::path::Path::new("/mnt/wsl/gone"),
        "{:?}",
        link()?
    );

    // Where WSL is configured not to write it, or has none, nothing is linked.
    world.write("/etc/wsl.conf", "[network]\ngenerateResolvConf = false\n")?;
    let said = world.wslmesh(&["doctor", "--fix", "dns"])?.stdout;
    ensure!(
        said.contains("wslconf set network.generateResolvConf true"),
        "{said}"
    );
    ensure!(link()? == std::path::Path::new("/mnt/wsl/gone"), "{said}");
    world.write("/etc/wsl.conf", conf)?;
    world.shell("rm /mnt/wsl/resolv.conf")?;
    let said = world.wslmesh(&["doctor", "--fix", "dns"])?.stdout;
    ensure!(said.contains("wsl.exe --shutdown"), "{said}");
    ensure!(link()? == std::path::Path::new("/mnt/wsl/gone"), "{said}");
    ensure!(world.read("/etc/wsl.conf")? == conf, "it is not touched");
    // A public server is never written.
    let all = world.shell("grep -r 8.8.8.8 /etc/resolv.conf /etc/wsl.conf 2>/dev/null || true")?;
    ensure!(all.is_empty(), "{all}");
    Ok(())
}

fn wsl_conf_keeps_its_bytes(world: &World) -> Result<()> {
    for (before, after) in [
        ("", "[network]\ngenerateResolvConf=true\n"),
        ("# mine\n", "# mine\n[network]\ngenerateResolvConf=true\n"),
        // In no section it is none of WSL's.
        (
            "generateResolvConf=false\n",
            "generateResolvConf=false\n[network]\ngenerateResolvConf=true\n",
        ),
        (
            "[boot]\r\nsystemd=true\r\n[network]\r\ngenerateResolvConf = false\r\n",
            "[boot]\r\nsystemd=true\r\n[network]\r\ngenerateResolvConf = true\r\n",
        ),
        (
            "[network]\ngenerateResolvConf = false # no\n[boot]\nsystemd=true\n[network]\nhostname=x",
            "[network]\ngenerateResolvConf = true # no\n[boot]\nsystemd=true\n[network]\nhostname=x",
        ),
        (
            "[network]\nhostname=x\n[boot]\nsystemd=true\n[network]\ngenerateResolvConf=false\n",
            "[network]\nhostname=x\n[boot]\nsystemd=true\n[network]\ngenerateResolvConf=true\n",
        ),
    ] {
        world.write("/etc/wsl.conf", before)?;
        let set = ["wslconf", "set", "network.generateResolvConf", "true"];
        world.wslmesh(&set)?.ok()?;
        let found = world.read("/etc/wsl.conf")?;
        ensure!(found == after, "{before:?}: {found:?}");
        world.wslmesh(&["wslconf", "rollback"])?.ok()?;
        ensure!(world.read("/etc/wsl.conf")? == before, "{before:?}");
    }
    Ok(())
}

/// A tunnel to 10.10.0.0/24, and programs that ask systemd-resolved.
fn tunnel(world: &World) -> Result<i32> {
    world.shell(
        "ip tuntap add mode tun name tun7 && ip link set tun7 up
        ip addr add 10.10.0.2/24 dev tun7
        rm -f /etc/nsswitch.conf; echo 'hosts: files resolve dns' >/etc/nsswitch.conf",
    )?;
    Ok(world
        .shell("cat /sys/class/net/tun7/ifindex")?
        .trim()
        .parse()?)
}

/// A configuration with a zone.
fn with_zone(server: &str) -> String {
    config(&format!(
        "[dns]\nzones = {{ \"mesh.internal\" = [\"{server}\"] }}\n"
    ))
}

/// Waits until a link has these settings.
fn has(agent: &Agent, resolved: &Resolved, index: i32, expected: &str) -> Result<()> {
    until(expected, LIMIT, || {
        Ok((resolved.link(index) == expected).then_some(()))
    })
    .with_context(|| {
        format!(
            "{:?}: {}",
            resolved.link(index),
            agent.log().unwrap_or_default()
        )
    })
}

const SET: &str = "10.10.0.1 ~mesh.internal";

fn zone(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let resolved = world.start_resolved()?;
    let index = tunnel(world)?;
    let agent = world.start_agent(&with_zone("10.10.0.1"))?;
    has(&agent, &resolved, index, SET)?;
    agent.says("tun7 name servers 10.10.0.1 ~mesh.internal")?;
    agent.healthy()?;
    let page = world.wslmesh(&["status"])?.stdout;
    let line = "mesh.internal by 10.10.0.1 through tun7";
    ensure!(
        page.contains(line) && !page.contains("does not resolve"),
        "{page}"
    );

    // The tunnel goes, and comes again with another index.
    world.shell("ip link del tun7")?;
    agent.ill("zone-unreached")?;
    let index = tunnel(world)?;
    has(&agent, &resolved, index, SET)?;
    agent.healthy()?;

    // The agent stops and goes on; without the zone it takes its servers back.
    agent.stop()?;
    ensure!(resolved.link(index) == SET, "a restart cuts no one off");
    let agent = world.start_agent(&config(""))?;
    has(&agent, &resolved, index, "")?;
    agent.reload(&with_zone("10.10.0.1"))?;
    has(&agent, &resolved, index, SET)?;
    agent.stop()?;
    let said = world.wslmesh(&["restore"])?.ok()?;
    ensure!(said.contains("restored: tun7 name servers none"), "{said}");
    ensure!(resolved.link(index).is_empty(), "{}", resolved.link(index));
    let said = world.wslmesh(&["restore"])?.ok()?;
    ensure!(said.contains("nothing to restore"), "{said}");

    // A pass by hand does the same.
    let said = world.wslmesh(&["apply", "--config", CONFIG])?;
    ensure!(resolved.link(index) == SET, "{said:?}");
    Ok(())
}

fn zone_of_another_program(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let resolved = world.start_resolved()?;
    let index = tunnel(world)?;
    let theirs = LinkState {
        servers: vec![(2, vec![10, 9, 9, 9])],
        domains: vec![("corp.example".to_owned(), false)],
        default_route: true,
    };
    resolved.set(index, theirs.clone());
    let agent = world.start_agent(&with_zone("10.10.0.1"))?;
    let found = agent.ill("zone-taken")?;
    ensure!(
        found.detail.contains("tun7 has 10.9.9.9 corp.example"),
        "{found:?}"
    );
    ensure!(
        resolved.link(index) == "10.9.9.9 corp.example default",
        "it stays"
    );
    // It lets go, and the agent takes over; then it takes it back, and keeps it.
    resolved.set(index, LinkState::default());
    has(&agent, &resolved, index, SET)?;
    agent.healthy()?;
    resolved.set(index, theirs);
    agent.reload(&config(""))?;
    agent.healthy()?;
    agent.stop()?;
    world.wslmesh(&["restore"])?.ok()?;
    ensure!(
        resolved.link(index) == "10.9.9.9 corp.example default",
        "it stays"
    );
    Ok(())
}

fn zone_without_resolved(world: &World) -> Result<()> {
    let daemon = world.start_bus()?;
    tunnel(world)?;
    let agent = world.start_agent(&with_zone("10.10.0.1"))?;
    agent.ill("zone-no-resolved")?;
    // It comes, with programs that do not ask it.
    world.write("/etc/nsswitch.conf", "hosts: files dns\n")?;
    let resolved = world.start_resolved()?;
    agent.ill("zone-unused")?;
    world.write("/etc/nsswitch.conf", "hosts: files resolve dns\n")?;
    agent.reload(&with_zone("10.10.0.1"))?;
    agent.healthy()?;
    drop(resolved);
    // A server behind Windows and not behind the tunnel.
    agent.reload(&with_zone("192.168.50.20"))?;
    let found = agent.raised("zone-unreached")?;
    ensure!(
        found.detail.contains("through eth0, which is no tunnel"),
        "{found:?}"
    );
    drop(daemon);
    agent.stop()
}
