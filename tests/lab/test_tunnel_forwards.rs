//! Forwards by way of the tunnel's switch: clients on the home network reach services of the
//! guest through the switch's listeners in Windows' network.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::ROLE;
use crate::agent::{Agent, LIMIT, config};
use crate::net_client::{NET_CLIENT, TALK};
use crate::net_probe::NET_PROBE;
use crate::net_server::{NET_SERVER, READY, port};
use crate::options::Options;
use crate::process::{KILL, Process};
use crate::runner::trial_with;
use crate::topology::{GATEWAY, Place, SECOND, WINDOWS_ADDRESS};
use crate::tunneled::Tunneled;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("tunnel_forwards::lan_reaches_the_guest", lan_reaches),
        quick("tunnel_forwards::taken_refused_removed", taken_refused),
        quick("tunnel_forwards::api_of_gvproxy", api),
    ]
}

/// All ports of the server, by both protocols.
const ALL: &str = "[[forward]]\nname = \"all\"\nprotocol = \"tcp\"\nlisten-address = \"::\"\nlisten-port = \"7000-7010\"\nfirewall = \"none\"\nbackend = \"tunnel\"\n[[forward]]\nname = \"echo\"\nprotocol = \"udp\"\nlisten-address = \"::\"\nlisten-port = 7001\nfirewall = \"none\"\nbackend = \"tunnel\"\n";
const V6: &str = "2001:db8::10";

fn forward(name: &str, listen: u16, to: u16) -> String {
    format!(
        "[[forward]]\nname = \"{name}\"\nprotocol = \"tcp\"\nlisten-port = {listen}\nconnect-port = {to}\nfirewall = \"none\"\nbackend = \"tunnel\"\n"
    )
}

fn services<'w>(world: &'w World, addresses: &[&str]) -> Result<Vec<Process<'w>>> {
    let mut servers = Vec::new();
    for address in addresses {
        let argv = ["/init", ROLE, NET_SERVER, address];
        let server = world.spawn_guest(&argv, &[])?;
        until("a server", LIMIT, || {
            Ok(server.stdout()?.contains(READY).then_some(()))
        })
        .with_context(|| server.stderr().unwrap_or_default())?;
        servers.push(server);
    }
    Ok(servers)
}

/// A probe from the home network; the inner error is the network's.
fn probe(world: &World, name: &str, address: &str) -> Result<Result<String>> {
    let argv = ["/init", ROLE, NET_PROBE, name, address];
    let process = world.spawn(Place::Lan, &argv, &[])?;
    Ok(process.finish(LIMIT * 2)?.ok())
}

fn passes(world: &World, name: &str, address: &str) -> Result<()> {
    let seen = probe(world, name, address)?;
    seen.with_context(|| format!("{name} to {address}"))?;
    Ok(())
}

/// What `curl` on the home network ends with: 7 refused, 56 reset.
fn curl(world: &World, port: u16) -> Result<String> {
    let url = format!("http://{WINDOWS_ADDRESS}:{port}/");
    let script = format!("curl -sm5 -o /dev/null {url} || echo $?");
    let said = world.lan(&["sh", "-c", &script])?.ok()?;
    Ok(said.trim().to_owned())
}

fn start<'w>(world: &'w World, forwards: &str) -> Result<(Tunneled<'w>, Agent<'w>)> {
    world.windows().set_elevated(false)?;
    world.request_mode("nat")?;
    let tunnel = Tunneled::up(world, &[])?;
    let agent = world.start_agent(&config(forwards))?;
    Ok((tunnel, agent))
}

fn lan_reaches(world: &World) -> Result<()> {
    let script = "ip addr add 2001:db8::20/64 dev eth0 nodad";
    world.lan(&["sh", "-c", script])?.ok()?;
    let script = "ip addr add 2001:db8::10/64 dev Ethernet nodad";
    world.host(&["sh", "-c", script])?.ok()?;
    let (_tunnel, agent) = start(world, ALL)?;
    let _services = services(world, &["192.168.127.2", "fd77:736c:6d73::2"])?;
    agent.wait("the forwards", |status| {
        status.serves("tunnel", &["all", "echo"])
    })?;
    let list = world.wslmesh(&["forward", "list"])?.ok()?;
    ensure!(list.contains("tunnel"), "{list}");

    for address in [WINDOWS_ADDRESS, V6] {
        for name in ["close-up", "close-down", "half-guest", "half-server", "udp"] {
            passes(world, name, address)?;
        }
    }
    for name in ["reset-server", "reset-guest", "slow-server"] {
        passes(world, name, WINDOWS_ADDRESS)?;
    }

    // The service sees the gateway, whoever its client is; another address of the guest ends
    // nothing.
    let at = format!("{WINDOWS_ADDRESS}:{}", port::ECHO);
    let talk = world.spawn(
        Place::Lan,
        &["/init", ROLE, NET_CLIENT, TALK, &at, "10"],
        &[],
    )?;
    until("a connection", LIMIT, || {
        Ok(talk.stdout()?.contains("ready").then_some(()))
    })?;
    let peers = world
        .guest(&["ss", "-Htn", "state", "established", "sport", "=", ":7001"])?
        .ok()?;
    ensure!(peers.contains("192.168.127.1:"), "{peers}");
    // The tunnel has the first default route.
    world.shell(&format!(
        "ip addr flush dev eth0; ip addr add {SECOND}/20 dev eth0; ip route append default via {GATEWAY}"
    ))?;
    agent.wait("the new address", |status| {
        status.address == SECOND.parse().ok() && status.serves("tunnel", &["all", "echo"])
    })?;
    for name in ["close-down", "udp"] {
        passes(world, name, WINDOWS_ADDRESS)?;
    }
    let still = world
        .guest(&["ss", "-Htn", "state", "established", "sport", "=", ":7001"])?
        .ok()?;
    let port = |text: &str| text.split("192.168.127.1:").nth(1).map(str::to_owned);
    ensure!(port(&still) == port(&peers), "{peers}{still}");
    ensure!(
        talk.wait(std::time::Duration::ZERO)?.is_none(),
        "the connection ended"
    );
    Ok(())
}

fn taken_refused(world: &World) -> Result<()> {
    let other = world.echo(Place::Windows, "0.0.0.0:8001")?;
    let both = forward("closed", 8000, 9) + &forward("taken", 8001, port::BANNER);
    let (tunnel, agent) = start(world, &both)?;
    let _services = services(world, &["192.168.127.2"])?;
    let found = agent.raised("forward-taken")?;
    ensure!(found.detail.contains("8001 is in use"), "{found:?}");
    agent.wait("the other forward", |status| {
        status.serves("tunnel", &["closed"]) && !status.serves("tunnel", &["taken"])
    })?;
    tunnel.says("Windows does not listen on tcp 0.0.0.0:8001: another program has the port")?;
    // The guest refuses: a reset, and no end as of an empty answer (52). One that comes before
    // curl has looked at its connection is 7.
    let ended = curl(world, 8000)?;
    ensure!(
        ["7", "56"].contains(&ended.as_str()),
        "curl ended with {ended:?}"
    );

    other.signal(KILL)?;
    other.finish(LIMIT)?;
    agent.cleared("forward-taken")?;
    agent.wait("the port", |status| status.serves("tunnel", &["taken"]))?;
    tunnel.says("Windows listens on tcp 0.0.0.0:8001 now")?;
    ensure!(curl(world, 8001)? != "7", "it is refused");

    agent.reload(&config(&forward("taken", 8001, port::BANNER)))?;
    until("the end of a listener", LIMIT, || {
        Ok((curl(world, 8000)? == "7").then_some(()))
    })?;
    ensure!(curl(world, 8001)? != "7", "the other one went too");
    // The tunnel ends, and with it its forwards.
    tunnel.stop()?;
    let found = agent.raised("forward-tunnel-down")?;
    ensure!(
        found.detail.contains("\"taken\"") || found.detail.contains("taken"),
        "{found:?}"
    );
    ensure!(curl(world, 8001)? == "7", "it still listens");
    Ok(())
}

/// `curl` as gvproxy's README has it.
fn ask(world: &World, request: &str) -> Result<String> {
    world.shell(&format!(
        "curl -sm8 -w '%{{http_code}}' --unix-socket /run/wslmesh-tunnel/api.sock http:/unix{request}"
    ))
}

fn api(world: &World) -> Result<()> {
    let (tunnel, _agent) = start(world, &forward("own", 7100, port::BANNER))?;
    let _services = services(world, &["192.168.127.2"])?;
    let order = |what: &str, body: &str| {
        ask(
            world,
            &format!("/services/forwarder/{what} -X POST -d '{body}'"),
        )
    };
    let mode =
        world.shell("stat -c %a /run/wslmesh-tunnel/api.sock /run/wslmesh-tunnel/agent.sock")?;
    ensure!(mode == "660\n600\n", "{mode}");
    let sink = r#"{"local":":7003","remote":"192.168.127.2:7003"}"#;
    ensure!(order("expose", sink)? == "200");
    for udp in ["7001", "7002"] {
        let body =
            format!(r#"{{"local":":{udp}","remote":"192.168.127.2:7001","protocol":"udp"}}"#);
        ensure!(order("expose", &body)? == "200");
    }
    passes(world, "close-up", WINDOWS_ADDRESS)?;
    passes(world, "udp", WINDOWS_ADDRESS)?;
    let all = ask(world, "/services/forwarder/all")?;
    let all: Value = serde_json::from_str(all.trim_end_matches("200"))?;
    ensure!(all.as_array().is_some_and(|all| all.len() == 3), "{all}");
    let stats = ask(world, "/stats")?;
    let stats: Value = serde_json::from_str(stats.trim_end_matches("200"))?;
    ensure!(stats.get("BytesSent").is_some_and(Value::is_u64), "{stats}");

    for (body, said) in [
        (sink, "proxy already running"),
        (
            r#"{"local":":7100","remote":"192.168.127.2:7100"}"#,
            "of the configuration",
        ),
        (
            r#"{"local":":1","remote":"10.0.0.1:1"}"#,
            "is not this distribution's address",
        ),
        ("nonsense", "the body is not as"),
    ] {
        let answer = order("expose", body)?;
        ensure!(
            answer.contains(said) && !answer.ends_with("200"),
            "{body}: {answer}"
        );
    }
    let _other = world.echo(Place::Windows, "0.0.0.0:7200")?;
    let taken = order(
        "expose",
        r#"{"local":":7200","remote":"192.168.127.2:7000"}"#,
    )?;
    ensure!(taken.contains("another program has the port"), "{taken}");

    // The next switch gets the list again.
    let switch = world.switch()?.context("no switch")?;
    world
        .guest(&["kill", "-9", &switch.pid.to_string()])?
        .ok()?;
    world.next_switch(switch.pid)?;
    until("the port again", LIMIT, || {
        Ok(probe(world, "close-up", WINDOWS_ADDRESS)?.ok())
    })?;

    ensure!(order("unexpose", r#"{"local":":7003"}"#)? == "200");
    ensure!(order("unexpose", r#"{"local":":7003"}"#)?.ends_with("404"));
    until("the end of a listener", LIMIT, || {
        Ok((curl(world, 7003)? == "7").then_some(()))
    })?;
    passes(world, "udp", WINDOWS_ADDRESS)?;
    tunnel.stop()?;
    let left = world.shell("ls /run/wslmesh-tunnel 2>/dev/null || true")?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}
