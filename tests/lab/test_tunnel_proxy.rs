//! Ports that are published in another namespace, on localhost of the guest. The other
//! namespace is that of the lab's Windows, and the sender speaks as Rancher Desktop's guest
//! agent does.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::ROLE;
use crate::agent::LIMIT;
use crate::net_server::{NET_SERVER, READY, port};
use crate::options::{AGENT, Options};
use crate::process::{KILL, Process, TERM};
use crate::runner::trial_with;
use crate::topology::{GATEWAY, Place};
use crate::world::{World, until};

const SOCKET: &str = "/run/wslmesh-proxy.sock";
/// A port of the guest that another program has.
const TAKEN: u16 = 7100;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("tunnel_proxy::published_ports_are_on_localhost", published),
        quick("tunnel_proxy::bad_input_and_restarts", faults),
    ]
}

/// `wslmesh tunnel proxy`, once it listens.
fn proxy(world: &World) -> Result<Process<'_>> {
    let argv = [AGENT, "tunnel", "proxy", "--upstream", GATEWAY];
    let process = world.spawn_guest(&argv, &[])?;
    until("the proxy's socket", LIMIT, || {
        let connected = UnixStream::connect(world.path(SOCKET));
        Ok(connected.is_ok().then_some(()))
    })
    .with_context(|| process.stderr().unwrap_or_default())?;
    Ok(process)
}

fn server(world: &World) -> Result<Process<'_>> {
    let server = world.spawn(Place::Windows, &["/init", ROLE, NET_SERVER, GATEWAY], &[])?;
    until("a server", LIMIT, || {
        Ok(server.stdout()?.contains(READY).then_some(()))
    })
    .with_context(|| server.stderr().unwrap_or_default())?;
    Ok(server)
}

fn send(world: &World, text: &str) -> Result<()> {
    let mut stream = UnixStream::connect(world.path(SOCKET)).context("connecting")?;
    Ok(stream.write_all(text.as_bytes())?)
}

/// A message with these ports.
fn message(remove: bool, address: &str, ports: &[(u16, &str)]) -> String {
    let ports: Vec<String> = ports
        .iter()
        .map(|(port, protocol)| {
            format!(r#""{port}/{protocol}":[{{"HostIp":"{address}","HostPort":"{port}"}}]"#)
        })
        .collect();
    let ports = ports.join(",");
    format!(
        r#"{{"remove":{remove},"ports":{{{ports}}},"connectAddrs":[{{"network":"tcp","addr":"10.4.0.2:80"}}]}}"#
    )
}

/// The ports on loopback, as the kernel has them.
fn listeners(world: &World) -> Result<Vec<String>> {
    let script = "ss -Hltun 'sport >= :7000 && sport <= :7200' | awk '{print $1, $5}' | sort";
    Ok(world.shell(script)?.lines().map(str::to_owned).collect())
}

fn wait_for_listeners(world: &World, proxy: &Process<'_>, expected: &[&str]) -> Result<()> {
    let mut found = Vec::new();
    until("the listeners", LIMIT, || {
        found = listeners(world)?;
        Ok((found == expected).then_some(()))
    })
    .with_context(|| {
        format!(
            "{found:?}, expected {expected:?}: {}",
            proxy.stderr().unwrap_or_default()
        )
    })
}

fn says(process: &Process<'_>, text: &str) -> Result<()> {
    until(text, LIMIT, || {
        Ok(process.stderr()?.contains(text).then_some(()))
    })
    .with_context(|| process.stderr().unwrap_or_default())
}

fn published(world: &World) -> Result<()> {
    let _server = server(world)?;
    let proxy = proxy(world)?;
    let mode = world.guest(&["stat", "-c", "%a %F", SOCKET])?.ok()?;
    ensure!(mode.trim() == "660 socket", "{mode}");
    ensure!(listeners(world)?.is_empty());

    let tcp = [port::ECHO, port::SINK, port::SOURCE, port::HALF].map(|port| (port, "tcp"));
    let mut all = tcp.to_vec();
    all.push((port::ECHO, "udp"));
    send(world, &message(false, "0.0.0.0", &all))?;
    // Two in one connection, of which the second was said before in part.
    let more = message(false, "::", &[(port::SOURCE, "tcp")])
        + "\n"
        + &message(
            false,
            "0.0.0.0",
            &[(port::RESET, "tcp"), (port::ECHO, "udp")],
        );
    send(world, &more)?;
    let mut expected = [
        "tcp 127.0.0.1:7001",
        "tcp 127.0.0.1:7003",
        "tcp 127.0.0.1:7004",
        "tcp 127.0.0.1:7005",
        "tcp 127.0.0.1:7008",
        "tcp [::1]:7004",
        "udp 127.0.0.1:7001",
    ];
    expected.sort_unstable();
    wait_for_listeners(world, &proxy, &expected)?;
    // Bytes are compared, and UDP's answers come back.
    for (probe, address) in [
        ("close-up", "127.0.0.1"),
        ("close-down", "127.0.0.1"),
        ("close-down", "::1"),
        ("half-guest", "127.0.0.1"),
        ("udp", "127.0.0.1"),
    ] {
        world.passes(probe, address)?;
    }

    let removed = [
        (port::SINK, "tcp"),
        (port::ECHO, "udp"),
        (port::HALF, "udp"),
    ];
    send(world, &message(true, "0.0.0.0", &removed))?;
    let left: Vec<&str> = expected
        .into_iter()
        .filter(|one| !["tcp 127.0.0.1:7003", "udp 127.0.0.1:7001"].contains(one))
        .collect();
    wait_for_listeners(world, &proxy, &left)?;
    world.passes("close-down", "127.0.0.1")?;

    proxy.signal(TERM)?;
    let output = proxy.finish(LIMIT)?;
    ensure!(output.success(), "{output:?}");
    ensure!(!world.path(SOCKET).exists(), "the socket's file is left");
    until("no listener", LIMIT, || {
        Ok(listeners(world)?.is_empty().then_some(()))
    })
}

fn faults(world: &World) -> Result<()> {
    let _server = server(world)?;
    let at = format!("127.0.0.1:{TAKEN}");
    let other = world.echo(Place::Guest, &at)?;
    let first = proxy(world)?;
    let second = world.wslmesh(&["tunnel", "proxy", "--upstream", GATEWAY])?;
    ensure!(
        !second.success() && second.stderr.contains("another program serves it"),
        "{second:?}"
    );

    // What is wrong is said, and the rest is served.
    send(world, "GET / HTTP/1.1\r\n\r\n")?;
    says(&first, "given up: it is no message of ports")?;
    send(
        world,
        r#"{"ports":{"80/sctp":[{"HostPort":"80"}],"81/tcp":[{"HostPort":"99999"}]}}"#,
    )?;
    says(&first, "not on localhost: 80/sctp: neither TCP nor UDP")?;
    says(&first, "HostPort \"99999\" is no port (1 to 65535)")?;
    let ports = [(TAKEN, "tcp"), (port::SOURCE, "tcp")];
    send(world, &message(false, "127.0.0.1", &ports))?;
    says(
        &first,
        "another program has the port: `wslmesh port 7100` says which",
    )?;
    let both = ["tcp 127.0.0.1:7004", "tcp 127.0.0.1:7100"];
    wait_for_listeners(world, &first, &both)?;
    world.passes("close-down", "127.0.0.1")?;
    // It is tried again, and served once the port is free.
    other.signal(KILL)?;
    other.finish(LIMIT)?;
    says(&first, "tcp 127.0.0.1:7100 is on localhost now")?;

    // The relay is killed, and started again.
    let children = format!("cat /proc/{0}/task/{0}/children", first.pid());
    let relay = world.shell(&children)?;
    world.shell(&format!("kill -KILL {relay}"))?;
    says(&first, "the relay is started again")?;
    until("another relay", LIMIT, || {
        let now = world.shell(&children)?;
        Ok((!now.trim().is_empty() && now != relay).then_some(()))
    })?;
    wait_for_listeners(world, &first, &both)?;
    world.passes("close-down", "127.0.0.1")?;

    // Killed itself: its ports go, and the next one takes the place of its socket.
    first.signal(KILL)?;
    first.finish(LIMIT)?;
    until("no listener", LIMIT, || {
        Ok(listeners(world)?.is_empty().then_some(()))
    })?;
    ensure!(world.path(SOCKET).exists(), "there is nothing in the way");
    let third = proxy(world)?;
    third.stop(Duration::from_secs(5))?;
    // A file that is no socket is left alone.
    world.write(SOCKET, "mine")?;
    let refused = world.wslmesh(&["tunnel", "proxy", "--upstream", GATEWAY])?;
    ensure!(
        refused.stderr.contains("a file that is no socket"),
        "{refused:?}"
    );
    ensure!(world.read(SOCKET)? == "mine");
    Ok(())
}
