//! What users' machines look like: each row is one of the kinds on which an
//! earlier version chose wrongly, with the right answer.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{CONFIG, config};
use crate::control::Status;
use crate::options::Options;
use crate::runner::{trial_alone, trial_with};
use crate::topology::FIRST;
use crate::wireguard::peer_key;
use crate::world::World;

/// A network, and what `wslmesh apply` makes of it.
struct Row {
    name: &'static str,
    /// WSL's networking mode.
    mode: &'static str,
    /// Commands in the guest, before.
    setup: &'static str,
    /// Keys of the network file and their values, after.
    expected: &'static [(&'static str, &'static str)],
    /// A part of what `wslmesh status` or `apply` says about it; empty for nothing.
    said: &'static str,
}

/// A second link that Windows shows as ethN in mirrored mode.
const SECOND: &str =
    "ip link add eth2 type veth peer name far2 && ip link set eth2 up && ip link set far2 up";

const ROWS: &[Row] = &[
    Row {
        name: "vpn_adapter_without_gateway",
        mode: "mirrored",
        setup: "ip route replace default via 172.28.16.1 dev eth0 metric 25
            ip route del default via 172.28.16.1 dev eth0 metric 0 2>/dev/null || true
            ip link set eth2 mtu 9000
            ip addr add 198.18.0.1/30 dev eth2
            ip route add default dev eth2",
        expected: &[
            ("WSL_IP", "172.28.16.5"),
            ("WSL_MTU", "1500"),
            ("WSL_GATEWAY", "172.28.16.1"),
        ],
        said: "198.18.0.1/30",
    },
    Row {
        name: "default_route_through_a_tun",
        mode: "nat",
        setup: "ip tuntap add mode tun name tun9 && ip link set tun9 up
            ip addr add 10.9.0.2/24 dev tun9
            ip route replace default dev tun9",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_INTERFACE", "eth0")],
        said: "leads through tun9",
    },
    Row {
        name: "bridge_before_eth0",
        mode: "nat",
        setup: "ip route del default
            ip link add docker0 type bridge && ip link set docker0 up
            ip addr add 172.17.0.1/16 dev docker0
            ip route add default via 172.17.0.9 dev docker0
            ip route append default via 172.28.16.1 dev eth0",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "docker0",
    },
    Row {
        name: "exit_node",
        mode: "nat",
        setup: "ip tuntap add mode tun name tailscale0 && ip link set tailscale0 up
            ip addr add 100.101.7.9/32 dev tailscale0
            ip route add default dev tailscale0 table 52
            ip rule add pref 5270 table 52",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "packets to the gateway 172.28.16.1 leave by tailscale0 and not by eth0",
    },
    Row {
        name: "exit_node_that_allows_the_lan",
        mode: "nat",
        setup: "ip tuntap add mode tun name tailscale0 && ip link set tailscale0 up
            ip addr add 100.101.7.9/32 dev tailscale0
            ip route add throw 172.28.16.0/20 table 52
            ip route add default dev tailscale0 table 52
            ip rule add pref 5270 table 52",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "eth0 via 172.28.16.1",
    },
    Row {
        name: "gateway_behind_a_kill_switch",
        mode: "nat",
        setup: "ip route add prohibit 172.28.16.1/32 table 99
            ip rule add pref 90 table 99
            ip -6 route add blackhole default",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "",
    },
    Row {
        name: "blackhole_to_the_gateway",
        mode: "nat",
        setup: "ip route add blackhole 172.28.16.1/32",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "",
    },
    Row {
        name: "route_with_a_type_of_service",
        mode: "nat",
        setup: "ip addr add 10.7.0.2/24 dev eth2
            ip route add default via 10.7.0.1 dev eth2 tos 0x10",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "",
    },
    Row {
        name: "name_server_with_a_zone",
        mode: "nat",
        setup: "rm -f /etc/resolv.conf
            printf '# f\\374r WSL\\nnameserver fe80::1%%eth0\\n' >/etc/resolv.conf",
        expected: &[("PRIMARY_DNS", "fe80::1%eth0")],
        said: "",
    },
    Row {
        name: "name_server_behind_latin_1",
        mode: "nat",
        setup: "rm -f /etc/resolv.conf
            printf 'search b\\374ro\\nnameserver 9.9.9.9\\n' >/etc/resolv.conf",
        expected: &[("PRIMARY_DNS", "9.9.9.9")],
        said: "",
    },
    Row {
        name: "name_server_file_is_a_pipe",
        mode: "nat",
        setup: "rm -f /etc/resolv.conf /etc/wsl.conf && mkfifo /etc/resolv.conf /etc/wsl.conf",
        expected: &[("WSL_IP", "172.28.16.5"), ("PRIMARY_DNS", "")],
        said: "",
    },
];

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let of_row = |row: &'static Row| {
        trial_alone(&format!("field::{}", row.name), move || {
            let world = World::start(&Options {
                mode: row.mode.to_owned(),
                ..Options::quick()
            })?;
            walk(&world, row)?;
            world.windows().check()
        })
    };
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    let others = [
        quick("field::tunnel_over_a_tunnel", tunnel_over_a_tunnel),
        quick("field::wireguard_of_any_name", wireguard_of_any_name),
        quick("field::exit_node_comes_and_goes", exit_node_comes_and_goes),
    ];
    ROWS.iter().map(of_row).chain(others).collect()
}

/// A tun device as Tailscale has one.
const TAILSCALE: &str =
    "ip tuntap add mode tun name tailscale0 && ip link set tailscale0 up mtu 1280
    ip addr add 100.101.7.9/32 dev tailscale0";

/// `wslmesh apply`, which may also say that something is wrong.
fn apply(world: &World) -> Result<()> {
    world.write(CONFIG, config(""))?;
    let done = world.wslmesh(&["apply", "--config", CONFIG])?;
    ensure!(matches!(done.status, Status::Code(0 | 3)), "{done:?}");
    Ok(())
}

/// A peer of wg0 is behind Tailscale: wg0's packets must fit in there.
fn tunnel_over_a_tunnel(world: &World) -> Result<()> {
    world.shell(TAILSCALE)?;
    world.shell("ip route add 100.64.0.0/10 dev tailscale0")?;
    let _wireguard = world.wireguard("wg0", 1)?;
    let peer = peer_key(0);
    let endpoint = [
        "wg",
        "set",
        "wg0",
        "peer",
        &peer,
        "endpoint",
        "100.64.0.77:51820",
    ];
    world.guest(&endpoint)?.ok()?;
    world.shell("ip link set wg0 mtu 1220")?;
    apply(world)?;
    ensure!(world.mtu("wg0")? == 1220, "it was raised over its carrier");
    world.shell("ip link set wg0 mtu 1420")?;
    apply(world)?;
    ensure!(world.mtu("wg0")? == 1220 && world.mtu("tailscale0")? == 1280);
    // Another way to the same peer, and the node's interface carries it.
    world.shell("ip route replace 100.64.0.77 via 172.28.16.1")?;
    apply(world)?;
    ensure!(world.mtu("wg0")? == 1280);
    Ok(())
}

/// As NetBird names its device.
fn wireguard_of_any_name(world: &World) -> Result<()> {
    let _wireguard = world.wireguard("wt0", 1)?;
    world.shell("ip link set wt0 mtu 1280 && ip link set eth0 mtu 1280")?;
    apply(world)?;
    ensure!(world.mtu("eth0")? == 1340 && world.mtu("wt0")? == 1280);
    let keepalive = world
        .guest(&["wg", "show", "wt0", "persistent-keepalive"])?
        .ok()?;
    ensure!(
        keepalive.trim().ends_with("off"),
        "its peers were changed: {keepalive}"
    );
    Ok(())
}

/// A rule alone changes the way of packets, and brings a pass.
fn exit_node_comes_and_goes(world: &World) -> Result<()> {
    world.shell(TAILSCALE)?;
    world.shell("ip route add default dev tailscale0 table 52")?;
    let agent = world.start_agent(&config(""))?;
    agent.has_written(FIRST)?;
    world.shell("ip rule add pref 5270 table 52")?;
    let health = agent.raised("gateway-route")?;
    ensure!(health.subject == "tailscale0", "{health:?}");
    world.shell("ip rule del pref 5270")?;
    agent.cleared("gateway-route")?;
    Ok(())
}

fn walk(world: &World, row: &Row) -> Result<()> {
    world.shell(SECOND)?;
    world.shell(row.setup).context("the network of the row")?;
    apply(world)?;
    let keys: Vec<&str> = row.expected.iter().map(|(key, _)| *key).collect();
    let values: Vec<&str> = row.expected.iter().map(|(_, value)| *value).collect();
    ensure!(
        world.sourced(&keys)? == values,
        "{keys:?}: {:?}",
        world.sourced(&keys)?
    );
    let doctor = world.wslmesh(&["doctor", "--all", "--config", CONFIG])?;
    let address = doctor.stdout.lines().filter(|line| !line.trim().is_empty());
    let address: Vec<&str> = address.map(str::trim).collect();
    let text = address.join(" ");
    ensure!(
        text.contains(row.said),
        "{:?} is not said: {text}",
        row.said
    );
    Ok(())
}
