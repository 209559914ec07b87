//! `wslmesh doctor mtu PEER` over real packets: Windows' side is a router between the
//! guest and a peer on the home network, which is made narrow, silent or both.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::{LIMIT, SSH, config};
use crate::control::Status;
use crate::options::{AGENT, Options};
use crate::process::{Output, Process};
use crate::runner::trial_with;
use crate::topology::{GATEWAY, Place};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("path::wide", wide),
        quick("path::a_hop_says_so", a_hop_says_so),
        quick("path::black_hole", black_hole),
        quick("path::own_interface", own_interface),
        quick("path::ipv6", ipv6),
        quick("path::without_echo", without_echo),
        quick("path::silent_peer", silent_peer),
        quick("path::without_rights", without_rights),
        quick("path::bad_input", bad_input),
    ]
}

const INT: i32 = 2;
pub(crate) const LAN: &str = "192.168.50.20";
const GUEST: &str = "10.88.0.1";
const PEER: &str = "10.88.0.2";

/// What a measurement must not change.
const STATE: &str = "ip -4 -o addr; ip -o link; ip -4 route show table all; ip rule; sysctl net.ipv4.conf net.ipv4.ping_group_range net.ipv4.ip_no_pmtu_disc";

/// A WireGuard tunnel from the guest to the home network, in the kernel where it has it.
pub(crate) struct Tunnel<'w> {
    _daemons: Vec<Process<'w>>,
    /// The peer's.
    pub(crate) key: String,
}

fn ip(world: &World, place: Place, lines: &str) -> Result<()> {
    let done = world.run(place, &["ip", "-batch", "-"], lines.as_bytes())?;
    done.ok().map(drop)
}

fn sysctl(world: &World, place: Place, setting: &str) -> Result<()> {
    world
        .run(place, &["sysctl", "-qw", setting], b"")?
        .ok()
        .map(drop)
}

/// Windows routes between both networks, by IPv4 and IPv6.
fn route(world: &World) -> Result<()> {
    for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        sysctl(world, Place::Windows, setting)?;
    }
    ip(
        world,
        Place::Lan,
        "route add 172.28.16.0/20 via 192.168.50.10\n\
         addr add fd50::20/64 dev eth0 nodad\nroute add fd28::/64 via fd50::10\n",
    )?;
    ip(
        world,
        Place::Windows,
        "addr add fd50::10/64 dev Ethernet nodad\naddr add fd28::1/64 dev vEthernet nodad\n",
    )?;
    ip(
        world,
        Place::Guest,
        "addr add fd28::5/64 dev eth0 nodad\nroute add default via fd28::1\n",
    )
}

pub(crate) fn tunnel<'w>(world: &'w World, endpoint: &str) -> Result<Tunnel<'w>> {
    route(world)?;
    let mut daemons = Vec::new();
    let mut keys = Vec::new();
    // Both ends share the folder of control sockets.
    let ends = [(Place::Guest, "wg0"), (Place::Lan, "far0")];
    for (place, name) in ends {
        daemons.extend(world.wireguard_device(place, name)?);
        keys.push(world.key()?);
    }
    let [near, far] = keys.as_slice() else {
        anyhow::bail!("two ends");
    };
    let near_conf = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = 51820\n[Peer]\nPublicKey = {}\n\
         AllowedIPs = {PEER}/32, fd88::2/128\nEndpoint = {endpoint}\n",
        near.0, far.1
    );
    let far_conf = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = 51821\n[Peer]\nPublicKey = {}\n\
         AllowedIPs = {GUEST}/32, fd88::1/128\n",
        far.0, near.1
    );
    let conf = [(near_conf, GUEST, "fd88::1"), (far_conf, PEER, "fd88::2")];
    for ((place, name), (conf, ipv4, ipv6)) in ends.into_iter().zip(conf) {
        let file = format!("/run/lab/{name}.conf");
        world.write(&file, conf)?;
        world
            .run(place, &["wg", "setconf", name, &file], b"")?
            .ok()?;
        let lines = format!(
            "addr add {ipv4}/24 dev {name}\naddr add {ipv6}/64 dev {name} nodad\n\
             link set {name} mtu 1280 up\n"
        );
        ip(world, place, &lines)?;
    }
    let key = far.1.clone();
    Ok(Tunnel {
        _daemons: daemons,
        key,
    })
}

fn asked(world: &World, peer: &str, more: &[&str]) -> Result<Output> {
    let arguments: Vec<&str> = ["doctor", "mtu", peer]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    let begun = Instant::now();
    let output = world.wslmesh(&arguments)?;
    let took = begun.elapsed();
    ensure!(took < 4 * LIMIT, "{took:?}");
    Ok(output)
}

/// The JSON document, and the page as one line; both have this exit status.
fn measured(world: &World, peer: &str, status: i32) -> Result<(Value, String)> {
    let page = asked(world, peer, &[])?;
    let wide = page.stdout.lines().find(|line| line.chars().count() > 80);
    ensure!(
        wide.is_none() && page.status == Status::Code(status),
        "{page:?}"
    );
    let json = asked(world, peer, &["--json"])?;
    ensure!(json.status == Status::Code(status), "{json:?}");
    let json = serde_json::from_str(&json.stdout).with_context(|| format!("{json:?}"))?;
    let words = Vec::from_iter(page.stdout.split_whitespace()).join(" ");
    Ok((json, words))
}

fn is(json: &Value, path: &str, value: impl Into<Value>) -> Result<()> {
    let value = value.into();
    ensure!(
        json.pointer(path) == Some(&value),
        "{path} is not {value}: {json:#}"
    );
    Ok(())
}

fn endpoint() -> String {
    format!("{LAN}:51821")
}

/// Everything passes, asked for in every way.
fn wide(world: &World) -> Result<()> {
    let tunnel = tunnel(world, &endpoint())?;
    let before = world.shell(STATE)?;
    let (json, page) = measured(world, PEER, 0)?;
    is(&json, "/fits", true)?;
    is(&json, "/needed", 1340)?;
    is(&json, "/tunnel/passes", 1280)?;
    is(&json, "/underlay/passes", 1500)?;
    is(&json, "/underlay/interface", "eth0")?;
    is(&json, "/underlay/lost", Value::Null)?;
    is(&json, "/peer/endpoint", endpoint())?;
    ensure!(
        page.contains("1280 bytes pass: all that wg0 sends (MTU 1280)"),
        "{page}"
    );
    ensure!(page.contains("ok path-mtu MTU 1280 of wg0 fits"), "{page}");
    let short = tunnel.key.get(..6).context("a short key")?;
    for peer in [
        &*tunnel.key,
        short,
        &endpoint(),
        LAN,
        "fd88::2",
        "10.88.0.2/32",
    ] {
        let (json, _) = measured(world, peer, 0)?;
        let to = if peer == "fd88::2" { peer } else { PEER };
        is(&json, "/destination", to)?;
    }
    let after = world.shell(STATE)?;
    ensure!(before == after, "something was changed: {before}\n{after}");
    Ok(())
}

/// A router with a smaller MTU says so.
pub(crate) fn a_hop_says_so(world: &World) -> Result<()> {
    let _tunnel = tunnel(world, &endpoint())?;
    world.windows().set_lowest_mtu(Some(("Tailscale", 1280)))?;
    ip(world, Place::Windows, "link set Ethernet mtu 1300\n")?;
    let (json, page) = measured(world, PEER, 3)?;
    is(&json, "/fits", false)?;
    is(&json, "/underlay/passes", 1300)?;
    is(&json, "/underlay/lost", 1301)?;
    let says = format!("{GATEWAY} passes 1300 bytes on and says so");
    is(&json, "/underlay/lost-by", says.clone())?;
    is(&json, "/findings/0/code", "path-mtu")?;
    ensure!(
        page.contains(&format!("1300 bytes pass, 1301 are lost: {says}")),
        "{page}"
    );
    ensure!(
        page.contains("Set value = 1240 in the section [mtu]"),
        "{page}"
    );
    Ok(())
}

/// The far end of a link takes less than the router sends, which is its MTU and the four
/// bytes of a VLAN's tag: nothing says so.
fn black_hole(world: &World) -> Result<()> {
    let _tunnel = tunnel(world, &endpoint())?;
    ip(world, Place::Lan, "link set eth0 mtu 1296\n")?;
    let (json, page) = measured(world, PEER, 3)?;
    is(&json, "/underlay/passes", 1300)?;
    is(&json, "/underlay/lost", 1301)?;
    let hole = format!("a black hole beyond {GATEWAY}");
    is(&json, "/underlay/lost-by", hole.clone())?;
    ensure!(page.contains(&hole), "{page}");
    // 1300 less 60, in blocks of 16 bytes.
    is(&json, "/tunnel/passes", 1232)?;
    is(&json, "/findings/0/severity", "error")?;
    Ok(())
}

/// This machine's own interface is the narrow one, and Windows' adapter is the cause.
fn own_interface(world: &World) -> Result<()> {
    let _tunnel = tunnel(world, &endpoint())?;
    world.windows().set_lowest_mtu(Some(("Tailscale", 1280)))?;
    let agent = world.start_agent(&config(&format!("[mtu]\nunderlay = \"leave\"\n{SSH}")))?;
    agent.wait("Windows' answer", |status| status.windows_address.is_some())?;
    world.set_mtu(1280)?;
    let (json, page) = measured(world, PEER, 3)?;
    is(&json, "/underlay/passes", 1280)?;
    is(&json, "/underlay/lost", Value::Null)?;
    is(&json, "/windows-adapter/name", "Tailscale")?;
    for part in [
        "Windows the adapter \"Tailscale\" has the lowest MTU, 1280",
        "eth0 has MTU 1280; the Windows adapter \"Tailscale\" has MTU 1280, which WSL copies",
        "fix: Run `sudo wslmesh doctor --fix`, which raises eth0 where [mtu] underlay allows it",
    ] {
        ensure!(page.contains(part), "{part}: {page}");
    }
    Ok(())
}

fn ipv6(world: &World) -> Result<()> {
    let _tunnel = tunnel(world, "[fd50::20]:51821")?;
    let (json, _) = measured(world, "fd88::2", 0)?;
    is(&json, "/needed", 1360)?;
    is(&json, "/underlay/passes", 1500)?;
    ip(world, Place::Windows, "link set Ethernet mtu 1350\n")?;
    let (json, page) = measured(world, PEER, 3)?;
    is(&json, "/underlay/passes", 1350)?;
    is(&json, "/underlay/lost", 1351)?;
    is(
        &json,
        "/underlay/lost-by",
        "fd28::1 passes 1350 bytes on and says so",
    )?;
    ensure!(
        page.contains("Set value = 1270") && page.contains("IPv6 in the tunnel needs 1280"),
        "{page}"
    );
    ip(world, Place::Windows, "link set Ethernet mtu 1500\n")?;
    ip(world, Place::Lan, "link set eth0 mtu 1346\n")?;
    let (json, _) = measured(world, "fd88::2", 3)?;
    is(&json, "/underlay/passes", 1350)?;
    is(&json, "/underlay/lost-by", "a black hole beyond fd28::1")
}

/// A peer that answers no echo requests refuses datagrams all the same.
fn without_echo(world: &World) -> Result<()> {
    let _tunnel = tunnel(world, &endpoint())?;
    sysctl(world, Place::Lan, "net.ipv4.icmp_echo_ignore_all=1")?;
    let (json, _) = measured(world, PEER, 0)?;
    is(&json, "/tunnel/passes", 1280)?;
    is(&json, "/underlay/passes", 1500)?;
    is(&json, "/underlay/answered", LAN)?;
    ip(world, Place::Lan, "link set eth0 mtu 1296\n")?;
    // Refusals are few (icmp_ratelimit), so the search may end before it is exact.
    let (json, _) = measured(world, PEER, 3)?;
    let size = |path: &str| json.pointer(path).and_then(Value::as_u64);
    let passes = size("/underlay/passes").context("nothing passes")?;
    let lost = size("/underlay/lost").context("nothing is lost")?;
    ensure!(
        (1280..=1300).contains(&passes) && (1301..1350).contains(&lost),
        "{json:#}"
    );
    Ok(())
}

/// Nothing of a peer answers: the last router does. Ctrl-C ends it.
fn silent_peer(world: &World) -> Result<()> {
    let _tunnel = tunnel(world, &endpoint())?;
    ip(
        world,
        Place::Lan,
        "route replace blackhole 172.28.16.0/20\n",
    )?;
    let (json, page) = measured(world, PEER, 0)?;
    is(&json, "/underlay/answered", GATEWAY)?;
    is(&json, "/underlay/passes", 1500)?;
    is(&json, "/tunnel/passes", Value::Null)?;
    ensure!(
        page.contains(&format!(
            "1500 bytes pass as far as {GATEWAY}, the last that answers"
        )),
        "{page}"
    );
    ensure!(
        page.contains("through the tunnel nothing answers, so that is not proven"),
        "{page}"
    );
    // A job in the background of a script has SIGINT ignored, and so has what it starts.
    let command = ["env", "--default-signal=INT", AGENT, "doctor", "mtu", PEER];
    let running = world.spawn_guest(&command, &[])?;
    // Three packets that nothing answers take longer than this.
    let comm = format!("/proc/{}/comm", running.pid());
    until("the doctor", LIMIT, || {
        Ok((world.read(&comm)?.trim() == "wslmesh").then_some(()))
    })?;
    running.wait(Duration::from_millis(100))?;
    running.signal(INT)?;
    // It handles no signal: whatever it was at, this is its end.
    let ended = running.wait(LIMIT)?;
    ensure!(ended == Some(Status::Signal(INT)), "{ended:?}");
    // Nor does a router.
    world
        .host(&["sysctl", "-qw", "net.ipv4.ip_forward=0"])?
        .ok()?;
    ip(
        world,
        Place::Windows,
        "route add blackhole 172.28.16.5/32\n",
    )?;
    let none = asked(world, PEER, &[])?;
    ensure!(none.status == Status::Code(1), "{none:?}");
    ensure!(
        none.stderr
            .contains("nor 192.168.50.20 nor a router before it answers"),
        "{none:?}"
    );
    Ok(())
}

/// Without capabilities echo requests are sent as ping(8) does.
fn without_rights(world: &World) -> Result<()> {
    let _tunnel = tunnel(world, &endpoint())?;
    let without = [
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        AGENT,
        "doctor",
        "mtu",
        PEER,
    ];
    sysctl(world, Place::Guest, "net.ipv4.ping_group_range=1 0")?;
    let refused = world.guest(&without)?;
    ensure!(refused.status == Status::Code(1), "{refused:?}");
    ensure!(
        refused.stderr.contains("run it as root (sudo)"),
        "{refused:?}"
    );
    sysctl(world, Place::Guest, "net.ipv4.ping_group_range=0 0")?;
    let page = world.guest(&without)?.ok()?;
    ensure!(
        page.contains("1280 bytes pass") && page.contains("1500 bytes pass"),
        "{page}"
    );
    Ok(())
}

/// What is no peer, and no path.
fn bad_input(world: &World) -> Result<()> {
    let fails = |peer: &str, status: i32, parts: &[&str]| -> Result<()> {
        let said = asked(world, peer, &[])?;
        ensure!(said.status == Status::Code(status), "{said:?}");
        for part in parts {
            ensure!(said.stderr.contains(part), "{part}: {said:?}");
        }
        Ok(())
    };
    fails(
        "10.88.0.2",
        1,
        &[
            "not reached through a tunnel, but by eth0",
            "no WireGuard peer was found",
        ],
    )?;
    let tunnel = tunnel(world, &endpoint())?;
    let short = tunnel.key.get(..8).context("a short key")?;
    fails(
        "laptop",
        1,
        &[
            "is no IP address",
            "names are not looked up",
            short,
            "10.88.0.2/32",
        ],
    )?;
    fails("$(touch /run/lab/made)", 1, &["is no IP address"])?;
    fails("-1", 2, &["unexpected argument"])?;
    fails("", 1, &["is no IP address"])?;
    fails("\u{1b}[2J", 1, &["\\u{1b}[2J"])?;
    fails("127.0.0.1", 1, &["but by lo"])?;
    fails(
        "192.168.50.1",
        1,
        &["not reached through a tunnel, but by eth0", short],
    )?;
    for (index, endpoint) in [("1", None), ("2", Some(LAN)), ("3", Some("192.168.50.21"))] {
        let key = format!("many{index:0>38}A=");
        let allowed = format!("10.88.0.{index}0/32");
        let mut set = vec!["wg", "set", "wg0", "peer", &key, "allowed-ips", &allowed];
        let at = endpoint.map(|endpoint| format!("{endpoint}:9"));
        set.extend(at.iter().flat_map(|at| ["endpoint", at]));
        world.guest(&set)?.ok()?;
    }
    fails(
        "many",
        1,
        &["fits several peers", "10.88.0.10/32", "10.88.0.20/32"],
    )?;
    fails(LAN, 1, &["fits several peers"])?;
    fails(
        "10.88.0.10",
        1,
        &["has no endpoint", "has not connected yet"],
    )?;
    world
        .guest(&[
            "wg",
            "set",
            "wg0",
            "peer",
            &tunnel.key,
            "allowed-ips",
            "10.99.0.0/24",
        ])?
        .ok()?;
    ip(
        world,
        Place::Guest,
        "route add unreachable 192.168.50.21/32\n",
    )?;
    fails(
        "10.88.0.30",
        1,
        &["endpoint 192.168.50.21:9 of the peer has no route"],
    )?;
    ip(
        world,
        Place::Guest,
        "route add 192.168.50.21/32 dev wg0 metric 1\nroute del unreachable 192.168.50.21/32\n",
    )?;
    fails(
        "10.88.0.30",
        1,
        &["192.168.50.21:9 of the peer is reached by wg0 itself"],
    )?;
    fails(short, 1, &["none of the allowed IPs", "10.99.0.0/24"])?;
    fails("10.99.0.7", 1, &["is reached by eth0", "ip route"])?;
    ensure!(!world.path("/run/lab/made").exists(), "a shell ran it");
    for (arguments, part) in [
        (&["doctor", "mtus"][..], "possible values"),
        (&["doctor", "dns", PEER], "possible values"),
        (&["doctor", "mtu", PEER, "dns"], "possible values"),
        (&["doctor", "mtu", PEER, "--fix"], "not for `mtu PEER`"),
    ] {
        let said = world.wslmesh(arguments)?;
        ensure!(
            said.status == Status::Code(2) && said.stderr.contains(part),
            "{said:?}"
        );
    }
    Ok(())
}
