//! What users' machines look like: each row is one of the kinds on which an
//! earlier version chose wrongly, with the right answer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, CONFIG, FILE, LIMIT, config, forward};
use crate::control::Status;
use crate::options::Options;
use crate::process::Process;
use crate::runner::{trial_alone, trial_with};
use crate::topology::{FIRST, Place};
use crate::wireguard::peer_key;
use crate::world::{World, until};

/// A network, and what `wslmesh apply` makes of it.
struct Row {
    name: &'static str,
    /// WSL's networking mode.
    mode: &'static str,
    /// Commands in the guest, before.
    setup: &'static str,
    /// Keys of the network file and their values, after; without any there is no file.
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
        name: "vpn_adapter_with_gateway",
        mode: "mirrored",
        setup: "ip route replace default via 172.28.16.1 dev eth0 metric 25
            ip route del default via 172.28.16.1 dev eth0 metric 0 2>/dev/null || true
            ip addr add 10.8.0.6/24 dev eth2
            ip route add default via 10.8.0.1 dev eth2 metric 1",
        expected: &[("WSL_IP", "10.8.0.6"), ("WSL_GATEWAY", "10.8.0.1")],
        said: "eth2 10.8.0.6/24 is used: its default route has metric 1, and that of eth0 has 25",
    },
    Row {
        name: "two_equal_routes",
        mode: "mirrored",
        setup: "ip addr add 10.8.0.6/24 dev eth2
            ip route append default via 10.8.0.1 dev eth2",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "eth2 has a default route of the same metric 0, and the first by name is taken",
    },
    Row {
        name: "one_route_over_two_links",
        mode: "mirrored",
        setup:
            "ip addr add 10.8.0.6/24 dev eth2
            ip route replace default nexthop via 10.8.0.1 dev eth2 nexthop via 172.28.16.1 dev eth0",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "eth2 has a default route of the same metric 0",
    },
    Row {
        name: "nexthop_object",
        mode: "nat",
        setup: "ip nexthop add id 7 via 172.28.16.1 dev eth0
            ip route replace default nhid 7",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "eth0 via 172.28.16.1",
    },
    Row {
        name: "nexthop_group",
        mode: "nat",
        setup: "ip addr add 10.8.0.6/24 dev eth2
            ip nexthop add id 7 via 172.28.16.1 dev eth0
            ip nexthop add id 8 via 10.8.0.1 dev eth2
            ip nexthop add id 9 group 7/8
            ip route replace default nhid 9",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "eth2 has a default route of the same metric 0",
    },
    Row {
        name: "gateway_reached_by_ipv6",
        mode: "mirrored",
        setup: "ip -4 route replace default via inet6 fe80::1 dev eth0
            ip addr add 10.8.0.6/24 dev eth2
            ip route add default via 10.8.0.1 dev eth2 metric 25",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "")],
        said: "its default route has metric 0, and that of eth2 has 25",
    },
    Row {
        name: "default_route_in_another_table",
        mode: "nat",
        setup: "ip route del default
            ip route add default via 172.28.16.1 dev eth0 table 100
            ip rule add pref 100 table 100",
        expected: &[],
        said: "there is no default route in the main table",
    },
    Row {
        name: "default_route_is_a_black_hole",
        mode: "nat",
        setup: "ip route replace blackhole default",
        expected: &[],
        said: "there is no default route in the main table",
    },
    Row {
        name: "black_hole_behind_the_default_route",
        mode: "nat",
        setup: "ip route add unreachable default metric 4278198272
            ip route add blackhole default metric 9000",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "eth0 via 172.28.16.1",
    },
    Row {
        name: "host_address_alone",
        mode: "nat",
        setup: "ip addr flush dev eth0
            ip addr add 172.28.16.5/32 dev eth0
            ip route add 172.28.16.1 dev eth0
            ip route add default via 172.28.16.1 dev eth0",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "eth0 looks like a VPN adapter with its address 172.28.16.5/32, but no better one has a default route",
    },
    Row {
        name: "provider_in_shared_address_space",
        mode: "mirrored",
        setup: "ip addr add 100.64.3.2/24 dev eth2
            ip route del default
            ip route add default via 100.64.3.1 dev eth2",
        expected: &[("WSL_IP", "100.64.3.2"), ("WSL_GATEWAY", "100.64.3.1")],
        said: "eth2 looks like a VPN adapter with its address 100.64.3.2/24",
    },
    Row {
        name: "tap_of_wsl_vpnkit",
        mode: "nat",
        setup: "ip tuntap add mode tap name wsltap && ip link set wsltap up
            ip addr add 192.168.127.2/24 dev wsltap
            ip route replace default via 192.168.127.1 dev wsltap",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_INTERFACE", "eth0")],
        said: "leads through wsltap",
    },
    Row {
        name: "link_local_address_only",
        mode: "nat",
        setup: "ip addr flush dev eth0
            ip addr add 169.254.7.7/16 dev eth0
            ip route add default dev eth0 scope link",
        expected: &[],
        said: "eth0 has no usable address: 169.254.7.7/16 is link-local",
    },
    Row {
        name: "full_tunnel_of_wg_quick",
        mode: "nat",
        setup: "ip tuntap add mode tun name tun0 && ip link set tun0 up mtu 1400
            ip addr add 10.5.0.2/32 dev tun0
            ip route add default dev tun0 table 51820
            ip rule add not fwmark 51820 table 51820
            ip rule add table main suppress_prefixlength 0",
        expected: &[("WSL_IP", "172.28.16.5"), ("WSL_GATEWAY", "172.28.16.1")],
        said: "eth0 via 172.28.16.1",
    },
    Row {
        name: "other_tunnels_are_named",
        mode: "nat",
        setup: "ip tuntap add mode tun name tun0 && ip link set tun0 up mtu 1400
            ip tuntap add mode tap name ztabc12345 && ip link set ztabc12345 up mtu 2800",
        expected: &[("WSL_IP", "172.28.16.5")],
        said: "tunnels that [mtu] interfaces does not name keep their MTU: tun0 1400, ztabc12345 2800",
    },
    Row {
        name: "second_address",
        mode: "nat",
        setup: "ip addr add 172.28.16.6/20 dev eth0",
        expected: &[("WSL_IP", "172.28.16.5")],
        said: "the interface also has 172.28.16.6/20 why: Everything that follows the address needs to know which one it is. `hostname -I` prints a list that includes docker's and the tunnel's. fix: Ignore this if Windows knows",
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
        name: "name_server_with_a_numbered_zone",
        mode: "nat",
        setup: "rm -f /etc/resolv.conf
            printf 'nameserver 9.9.9.9%%eth0\nnameserver fe80::1%%2\n' >/etc/resolv.conf",
        expected: &[("PRIMARY_DNS", "fe80::1%2")],
        said: "",
    },
    Row {
        name: "wsl_conf_in_utf_16",
        mode: "nat",
        setup: "printf '\\377\\376[\\0b\\0o\\0o\\0t\\0]\\0\\n\\0' >/etc/wsl.conf",
        expected: &[("WSL_IP", "172.28.16.5")],
        said: "the file is in a UTF-16 that WSL does not read; save it as UTF-8",
    },
    Row {
        name: "first_of_two_keys_is_wrong",
        mode: "nat",
        setup: "printf '[boot]\nsystemd=false\n[boot]\nsystemd=true\n' >/etc/wsl.conf",
        expected: &[("WSL_IP", "172.28.16.5")],
        said: "Run `sudo wslmesh wslconf set boot.systemd true`, which changes line 2",
    },
    Row {
        name: "key_in_another_section",
        mode: "nat",
        setup: "printf '[wsl2]\nsystemd=true\n' >/etc/wsl.conf",
        expected: &[("WSL_IP", "172.28.16.5")],
        said: "perhaps [boot] systemd is meant",
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
        quick("field::choice_is_explained_in_status", explained_in_status),
        quick("field::ipv6_alone_is_no_backend", ipv6_alone),
        quick("field::ipv6_way_of_a_peer", ipv6_way_of_a_peer),
        quick("field::ipv6_noise_is_no_pass", ipv6_noise),
        quick("field::second_forward_on_loopback", second_on_loopback),
        quick("field::port_of_a_container", port_of_a_container),
        quick("field::tunnel_over_a_tunnel", tunnel_over_a_tunnel),
        quick("field::wireguard_of_any_name", wireguard_of_any_name),
        quick("field::exit_node_comes_and_goes", exit_node_comes_and_goes),
    ];
    ROWS.iter().map(of_row).chain(others).collect()
}

/// A tun device as Tailscale has one.
pub(crate) const TAILSCALE: &str =
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

/// The reason that doctor gives is in the status document and on its page, and goes
/// away with what was not obvious.
fn explained_in_status(world: &World) -> Result<()> {
    const REASON: &str = "eth2 has the better default route, but it looks like a VPN adapter with its address 198.18.0.1/30";
    world.shell(SECOND)?;
    world.shell(
        "ip addr add 198.18.0.1/30 dev eth2
        ip route replace default via 172.28.16.1 dev eth0 metric 25
        ip route del default via 172.28.16.1 dev eth0 metric 0
        ip route add default dev eth2",
    )?;
    let agent = world.start_agent(&config(""))?;
    let reason = || -> Result<Option<String>> {
        let text = world.wslmesh(&["status", "--json"])?.stdout;
        let document: serde_json::Value = serde_json::from_str(&text)?;
        let reason = document.get("interface-reason").cloned();
        Ok(reason.and_then(|reason| reason.as_str().map(str::to_owned)))
    };
    agent.has_written(FIRST)?;
    ensure!(reason()?.as_deref() == Some(REASON), "{:?}", reason()?);
    let page = world.wslmesh(&["status"])?.stdout;
    let words: Vec<&str> = page.split_whitespace().collect();
    let expected = format!("gateway 172.28.16.1 why eth0: {REASON} windows:");
    ensure!(words.join(" ").contains(&expected), "{page}");
    world.shell("ip link del eth2")?;
    until("no reason", LIMIT, || Ok(reason()?.is_none().then_some(())))
}

/// A service that listens on `::` for IPv6 alone does not answer Windows.
fn ipv6_alone(world: &World) -> Result<()> {
    let listen = |address: &str, only: &str| -> Result<Process<'_>> {
        world.shell(&format!("echo {only} >/proc/sys/net/ipv6/bindv6only"))?;
        world.echo(Place::Guest, address)
    };
    let _services = [
        listen("[::]:8080", "1")?,
        listen("[::]:8081", "0")?,
        listen("[::]:8082", "1")?,
        listen("0.0.0.0:8082", "1")?,
    ];
    let forwards = [("alone", 8080), ("both", 8081), ("two", 8082)];
    let forwards = forwards.map(|(name, port)| forward(name, port, port));
    let agent = world.start_agent(&config(&forwards.concat()))?;
    agent.wait("the forwards", |status| {
        status.serves("portproxy", &["alone", "both", "two"])
    })?;
    let page = world.wslmesh(&["status"])?.stdout;
    for part in ["8080 is open on :: only", "by portproxy: up, answers"] {
        ensure!(page.contains(part), "{part:?} is not in\n{page}");
    }
    ensure!(page.matches("up, answers").count() == 2, "{page}");
    let doctor = world.wslmesh(&["doctor", "--config", CONFIG])?.stdout;
    let doctor = Vec::from_iter(doctor.split_whitespace()).join(" ");
    let said = "warning ports-listening alone: the service listens on tcp [::]:8080 only, which packets to 172.28.16.5 do not reach why:";
    ensure!(doctor.contains(said), "{doctor}");
    Ok(())
}

/// Tailscale as the way to a peer of wg0 by IPv6, until a route or a rule for IPv6
/// alone leads another way.
fn ipv6_way_of_a_peer(world: &World) -> Result<()> {
    world.shell(TAILSCALE)?;
    world.shell(
        "ip -6 addr add fd00:1::5/64 dev eth0 nodad
        ip -6 addr add fd7a::9/128 dev tailscale0
        ip -6 route add fd00:9::/64 dev tailscale0",
    )?;
    let _wireguard = world.wireguard("wg0", 1)?;
    let endpoint = "[fd00:9::77]:51820";
    let peer = peer_key(0);
    world
        .guest(&["wg", "set", "wg0", "peer", &peer, "endpoint", endpoint])?
        .ok()?;
    let agent = world.start_agent(&config(""))?;
    agent.has_written(FIRST)?;
    for (change, mtu) in [
        ("true", 1200),
        ("ip -6 route add fd00:9::77 via fd00:1::1 dev eth0", 1280),
        ("ip -6 route add default dev tailscale0 table 52", 1280),
        ("ip -6 rule add to fd00:9::77 pref 90 table 52", 1200),
        ("ip -6 rule del pref 90", 1280),
    ] {
        world.shell(change)?;
        world.has_mtu("wg0", mtu).context(change)?;
        // What the agent changed brings a pass, which would find the next change.
        quiet(&agent)?;
    }
    Ok(())
}

/// Waits until nothing brings a pass any more; returns how many there were.
fn quiet(agent: &Agent<'_>) -> Result<u64> {
    let mut before = 0;
    until("a quiet agent", LIMIT, || {
        let last = std::mem::replace(&mut before, agent.healthy()?.passes);
        std::thread::sleep(Duration::from_millis(300));
        Ok((last == before).then_some(before))
    })
}

/// What a router's advertisements renew, and routes of IPv6 that lead no peer's packets.
fn ipv6_noise(world: &World) -> Result<()> {
    world.shell("ip -6 addr add fd00:1::5/64 dev eth0 nodad")?;
    let agent = world.start_agent(&config(""))?;
    agent.has_written(FIRST)?;
    until("addresses in use", LIMIT, || {
        let tentative = world.guest(&["ip", "-6", "addr", "show", "tentative"])?;
        Ok(tentative.ok()?.is_empty().then_some(()))
    })?;
    let renew = "ip -6 addr change fd00:1::5/64 dev eth0 valid_lft 900 preferred_lft 600";
    world.shell(renew)?;
    let passes = quiet(&agent)?;
    for noise in [
        renew,
        "ip -6 route add fd00:9::/64 via fd00:1::1 dev eth0",
        "ip -6 route change fd00:9::/64 via fd00:1::2 dev eth0",
        "ip -6 rule add pref 90 table 52",
        renew,
    ] {
        world.shell(noise)?;
        ensure!(quiet(&agent)? == passes, "a pass by {noise}");
    }
    world.shell("ip -6 addr add fd00:1::6/64 dev eth0 nodad")?;
    let passes = agent.pass_after(passes)?.passes;
    world.shell("ip -6 addr del fd00:1::6/64 dev eth0")?;
    agent.pass_after(passes)?;
    Ok(())
}

/// Two forwards of one port that the relay, which is not installed, can only serve at
/// 127.0.0.1.
fn second_on_loopback(world: &World) -> Result<()> {
    let at = |name: &str, address: &str| {
        format!(
            "[[forward]]\nname = \"{name}\"\nprotocol = \"udp\"\nlisten-address = \"{address}\"\nlisten-port = 5300\nfirewall = \"none\"\n"
        )
    };
    world.windows().set_elevated(false)?;
    let both = [at("lan", "192.168.50.10"), at("other", "192.168.60.10")].concat();
    let agent = world.start_agent(&config(&both))?;
    let status = agent.wait("both forwards", |status| {
        status.finding("relay-loopback").is_some() && status.serves("relay", &["lan"])
    })?;
    let said: Vec<&str> = status
        .health
        .iter()
        .filter(|one| one.code == "relay-loopback")
        .map(|one| one.detail.as_str())
        .collect();
    ensure!(
        said == [
            "127.0.0.1 on Windows alone reaches lan",
            "forward \"lan\" has udp 127.0.0.1:5300 on Windows, so this one is not served",
        ],
        "{said:?}"
    );
    Ok(())
}

/// A port that a rule alone passes on has no socket here: where that may be, there is no
/// warning.
fn port_of_a_container(world: &World) -> Result<()> {
    world.write(CONFIG, config(&forward("web", 8080, 8080)))?;
    world.shell("echo 1 >/proc/sys/net/ipv4/ip_forward")?;
    let no_service = "warning ports-listening web: no service listens on tcp port 8080 why:";
    let perhaps = "info ports-listening web: no service listens on tcp port 8080, unless a rule";
    for (setup, said) in [
        ("true", no_service),
        ("ip link add docker0 type bridge", perhaps),
        ("ip link del docker0", no_service),
        (
            "ip link add cali0123456789a type veth peer name far9",
            perhaps,
        ),
        ("echo 0 >/proc/sys/net/ipv4/ip_forward", no_service),
    ] {
        world.shell(setup)?;
        let doctor = world.wslmesh(&["doctor", "ports", "--config", CONFIG])?;
        let text = Vec::from_iter(doctor.stdout.split_whitespace()).join(" ");
        ensure!(text.contains(said), "{setup}: {text}");
    }
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
    if keys.is_empty() {
        ensure!(!world.path(FILE).exists(), "an address was found");
    } else {
        let sourced = world.sourced(&keys)?;
        ensure!(sourced == values, "{keys:?}: {sourced:?}");
    }
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
