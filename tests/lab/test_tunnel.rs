//! The tunnel from end to end: its process in the guest, its switch as a program of Windows,
//! NAT cut off, and what is reached by it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::options::Options;
use crate::runner::trial_with;
use crate::topology::{GATEWAY, Place};
use crate::tunneled::{LINK, NAMES, SERVER, SERVER_V6, Tunneled, is};
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("tunnel::downloads_names_ping_and_back", end_to_end),
        quick("tunnel::wireguard_handshakes", wireguard),
        quick("tunnel::gateway_is_the_name_server", by_port),
        quick("tunnel::windows_without_ipv6", without_ipv6),
    ]
}

fn end_to_end(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(true)?;
    let before = world.ways()?;
    ensure!(
        world.try_probe("refused", SERVER)?.is_err(),
        "there is another way"
    );
    let tunnel = Tunneled::up(world, &[])?;

    for (family, address, gateway) in [
        ("-4", SERVER, "via 192.168.127.1"),
        ("-6", SERVER_V6, "via fd77:736c:6d73::1"),
    ] {
        let way = world
            .guest(&["ip", family, "route", "get", address])?
            .ok()?;
        ensure!(way.contains(gateway) && way.contains(LINK), "{way}");
        // 8 MiB down and 5 MiB up, each compared.
        world.passes("close-down", address)?;
        world.passes("close-up", address)?;
        world.passes("refused", address)?;
    }
    world.passes("udp", SERVER)?;

    for (options, name) in [("", "by-udp.example"), ("use-vc", "by-tcp.example")] {
        let script = format!("RES_OPTIONS='{options}' getent ahosts {name}");
        let found = world.shell(&script)?;
        for address in [SERVER, SERVER_V6] {
            ensure!(found.contains(address), "{name}: {found}");
        }
    }
    let windows = world.shell("getent ahostsv4 host.wslmesh.internal")?;
    ensure!(windows.contains("192.168.127.254"), "{windows}");
    for gateway in ["192.168.127.1", "fd77:736c:6d73::1"] {
        world.guest(&["ping", "-c1", "-W2", gateway])?.ok()?;
    }

    let shown = tunnel.status()?;
    ensure!(is(&shown, "up", true), "{shown}");
    let servers = shown.pointer("/tunnel/nameservers");
    ensure!(servers == Some(&serde_json::json!([NAMES])), "{shown}");
    let page = world.wslmesh(&["tunnel", "status"])?.ok()?;
    for line in [
        "tunnel  up for ",
        "link    wslmesh0, 192.168.127.2/24, fd77:736c:6d73::2/64, MTU 1500",
        "routes  default for IPv4 and IPv6",
        "dns     Windows answers for 192.168.50.53",
    ] {
        ensure!(page.contains(line), "{line:?} in\n{page}");
    }
    // From the switch's side; counted once nothing passes any more.
    tunnel.state("counters", |state| {
        let count = |name| state.pointer(name).and_then(serde_json::Value::as_u64);
        count("/counters/dns-queries").is_some_and(|names| names >= 2)
            && count("/counters/bytes-out").is_some_and(|bytes| bytes > 16 << 20)
            && count("/counters/bytes-in").is_some_and(|bytes| bytes > 10 << 20)
    })?;

    tunnel.stop()?;
    world.ways_again(&before, Duration::ZERO)?;
    let page = world.wslmesh(&["tunnel", "status"])?;
    ensure!(
        page.status == crate::control::Status::Code(3) && page.stdout.contains("not running"),
        "{page:?}"
    );
    Ok(())
}

/// A peer on the home network, whose address the guest knows.
fn wireguard(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(false)?;
    let _inner = world.wireguard_device(Place::Guest, "wg0")?;
    let _outer = world.wireguard_device(Place::Lan, "wg1")?;
    let (guest, peer) = (world.key()?, world.key()?);
    let ends = [
        (
            Place::Guest,
            "wg0",
            &guest.0,
            &peer.1,
            "10.77.0.1",
            "10.77.0.2",
            "Endpoint = 192.168.50.20:51820\n",
        ),
        (
            Place::Lan,
            "wg1",
            &peer.0,
            &guest.1,
            "10.77.0.2",
            "10.77.0.1",
            "",
        ),
    ];
    for (place, device, private, public, own, other, endpoint) in ends {
        let file = format!("/run/lab/{device}.conf");
        let conf = format!(
            "[Interface]\nPrivateKey = {private}\nListenPort = 51820\n[Peer]\nPublicKey = {public}\nAllowedIPs = {other}/32\n{endpoint}"
        );
        world.write(&file, conf)?;
        world
            .run(place, &["wg", "setconf", device, &file], b"")?
            .ok()?;
        let lines = format!("addr add {own}/24 dev {device}\nlink set {device} mtu 1420 up\n");
        world
            .run(place, &["ip", "-batch", "-"], lines.as_bytes())?
            .ok()?;
    }
    let before = world.ways()?;
    let tunnel = Tunneled::up(world, &[])?;
    let ping = ["ping", "-c3", "-i0.2", "-W5", "10.77.0.2"];
    let said = world.guest(&ping)?.ok()?;
    ensure!(said.contains(" 0% packet loss"), "{said}");
    let shake = world
        .guest(&["wg", "show", "wg0", "latest-handshakes"])?
        .ok()?;
    let (_, seconds) = shake.trim().split_once('\t').context("no handshake")?;
    ensure!(seconds.parse::<u64>()? > 0, "{shake}");
    // The peer sees Windows, and reaches the guest by the way that this has opened.
    let seen = world.lan(&["wg", "show", "wg1", "endpoints"])?.ok()?;
    ensure!(seen.contains("192.168.50.10:"), "{seen}");
    let said = world.lan(&["ping", "-c1", "-W5", "10.77.0.1"])?.ok()?;
    ensure!(said.contains(" 0% packet loss"), "{said}");
    // Full packets of WireGuard.
    let large = ["ping", "-c1", "-W5", "-s1392", "-Mdo", "10.77.0.2"];
    world.guest(&large)?.ok()?;
    tunnel.stop()?;
    world.ways_again(&before, Duration::ZERO)
}

/// As with NAT without DNS tunnelling: port 53 of the gateway's address leads through the
/// tunnel, and nothing else of it.
fn by_port(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(false)?;
    let at = format!("{GATEWAY}:53");
    let argv = [
        "/init",
        crate::ROLE,
        crate::resolver::DNS,
        &at,
        "a=192.168.50.20",
    ];
    let _server = world.spawn(Place::Windows, &argv, &[])?;
    world.write("/etc/resolv.conf", format!("nameserver {GATEWAY}\n"))?;
    let before = world.ways()?;
    let tunnel = Tunneled::up(world, &[])?;
    let rules = world.guest(&["ip", "rule"])?.ok()?;
    for protocol in ["udp", "tcp"] {
        let rule = format!("to {GATEWAY} ipproto {protocol} dport 53 lookup 19216");
        ensure!(rules.contains(&rule), "{rule} in {rules}");
    }
    let way = world.guest(&["ip", "route", "get", GATEWAY])?.ok()?;
    ensure!(way.contains("dev eth0"), "{way}");
    for options in ["", "use-vc"] {
        let script = format!("RES_OPTIONS='{options}' getent ahostsv4 name.example");
        let found = world.shell(&script)?;
        ensure!(found.contains("192.168.50.20"), "{found}");
    }
    let page = world.wslmesh(&["tunnel", "status"])?.ok()?;
    ensure!(
        page.contains("172.28.16.1 (port 53 alone: it is the gateway)"),
        "{page}"
    );
    tunnel.stop()?;
    world.ways_again(&before, Duration::ZERO)
}

fn without_ipv6(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(false)?;
    let before = world.ways()?;
    let tunnel = Tunneled::up(world, &[])?;
    let routes = world
        .guest(&["ip", "-6", "route", "show", "default"])?
        .ok()?;
    ensure!(routes.is_empty(), "{routes}");
    let page = world.wslmesh(&["tunnel", "status"])?.ok()?;
    ensure!(
        page.contains(", without IPv6") && page.contains("routes  default for IPv4\n"),
        "{page}"
    );
    // Programs that try IPv6 first are not kept waiting.
    let tried = world.try_probe("refused", SERVER_V6)?;
    let why = tried.err().context("IPv6 leads somewhere")?.to_string();
    ensure!(why.contains("unreachable"), "{why}");
    world.passes("close-down", SERVER)?;
    // The switch itself has an address of IPv6, which needs none of Windows'.
    world
        .guest(&["ping", "-c1", "-W2", "fd77:736c:6d73::1"])?
        .ok()?;
    tunnel.stop()?;
    world.ways_again(&before, Duration::ZERO)
}
