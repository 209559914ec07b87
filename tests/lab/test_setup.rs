//! `wslmesh setup`: a fresh machine is brought up, at a terminal and without one.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{CONFIG, FILE, LIMIT};
use crate::options::Options;
use crate::runner::trial_with;
use crate::setup::{OPEN, others, said};
use crate::snapshot::Snapshot;
use crate::test_doctor::{TUNNEL, only, usual};
use crate::test_ipv6::{WINDOWS, add_addresses};
use crate::topology::Place;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("setup::fresh_machine", fresh_machine),
        quick("setup::at_a_terminal", at_a_terminal),
        quick("setup::keeps_it_running", keeps_it_running),
        quick("setup::elevated", elevated),
        quick("setup::both_families", both_families),
        quick("setup::bad_input", bad_input),
        quick("setup::what_it_finds", what_it_finds),
    ]
}

/// As on a machine that has no person to ask.
const TWO_FORWARDS: [&str; 6] = [
    "setup",
    "--yes",
    "--forward",
    "udp:51820",
    "--forward",
    "tcp:2222:22",
];

/// What a fresh machine's configuration says.
fn fresh() -> String {
    format!("[network]\nconfig-file = \"{FILE}\"\n")
}

/// The files of the configuration.
fn files(world: &World) -> Result<String> {
    world.shell(&format!(
        "cat {CONFIG} {CONFIG}.d/* 2>/dev/null; ls {CONFIG}.d 2>/dev/null; true"
    ))
}

fn fresh_machine(world: &World) -> Result<()> {
    others(world)?;
    usual(world)?;
    let agent = world.start_agent(&fresh())?;
    agent.wait("the mode", |status| status.mode == "nat")?;
    let _server = world.name_server(TUNNEL, "nxdomain")?;
    let wireguard = world.wireguard("wg0", 1)?;
    world.shell("ip addr add 10.99.0.1/24 dev wg0")?;
    let output = world.cli(&TWO_FORWARDS)?;
    let text = &output.stdout;
    for line in [
        "WireGuard wg0: up, UDP port 51820",
        "services on TCP port 22",
        "forward wg0: udp 51820 of Windows to 51820 here, for the local subnet",
        "forward-wg0.toml",
        "forward-ssh.toml",
        "installed on Windows",
    ] {
        ensure!(text.contains(line), "{line:?} is not in {output:?}");
    }
    only(world, &[])?;
    world.reached(2222)?;
    agent.wait("both", |status| status.serves("relay", &["ssh", "wg0"]))?;
    world.listener(Place::Windows, "u", 51820)?;
    until("the keepalives", LIMIT, || {
        let all = wireguard.keepalives()?.values().all(|has| *has == Some(25));
        Ok(all.then_some(()))
    })?;
    // Once more: nothing is left to do.
    let before = files(world)?;
    let again = world.cli(&["setup", "--yes"])?;
    for line in ["nothing to add", "the forwards are approved"] {
        ensure!(again.stdout.contains(line), "{again:?}");
    }
    ensure!(files(world)? == before);
    // What it made is removed as what `forward add` made.
    said(&world.cli(&["forward", "remove", "ssh"])?, 0, &["removed"])
}

/// WSL's own files: what keeps this distribution running, and a boot without systemd.
fn keeps_it_running(world: &World) -> Result<()> {
    world.write(CONFIG, fresh())?;
    world.write("/etc/wsl.conf", "# mine\n[boot]\ncommand=true\n")?;
    let config = "/mnt/c/Users/lab/.wslconfig";
    world.write(config, "[wsl2]\r\nmemory=4GB # mine\r\n")?;
    let output = world.cli_at_terminal("setup", "none\nn\nn\n")?;
    for question in [
        "Set boot.systemd to true in",
        "Set general.instanceIdleTimeout to -1 in",
    ] {
        ensure!(output.stdout.contains(question), "{question}: {output:?}");
    }
    ensure!(world.read(config)? == "[wsl2]\r\nmemory=4GB # mine\r\n");
    let output = world.cli(&["setup", "--yes", "--no-keep-running"])?;
    ensure!(output.stdout.contains("wsl.exe --terminate"), "{output:?}");
    ensure!(!world.read(config)?.contains("instanceIdleTimeout"));
    let conf = world.read("/etc/wsl.conf")?;
    ensure!(
        conf.starts_with("# mine\n[boot]\n") && conf.contains("systemd=true\n"),
        "{conf}"
    );
    let output = world.cli(&["setup", "--yes"])?;
    ensure!(output.stdout.contains("wsl.exe --shutdown"), "{output:?}");
    let text = world.read(config)?;
    ensure!(
        text.starts_with("[wsl2]\r\nmemory=4GB # mine\r\n"),
        "{text:?}"
    );
    ensure!(
        text.contains("[general]\r\ninstanceIdleTimeout=-1\r\n"),
        "{text:?}"
    );
    // Nothing is left to set.
    let again = world.cli_at_terminal("setup", "none\n")?;
    ensure!(!again.stdout.contains("[y/N]"), "{again:?}");
    said(&world.cli(&["wslconfig", "rollback"])?, 0, &["as it was"])?;
    ensure!(world.read(config)? == "[wsl2]\r\nmemory=4GB # mine\r\n");
    Ok(())
}

/// Where WSL was started by an elevated program nothing needs to be approved.
fn elevated(world: &World) -> Result<()> {
    usual(world)?;
    let agent = world.start_agent(&fresh())?;
    agent.wait("the mode", |status| status.mode == "nat")?;
    let output = world.cli(&TWO_FORWARDS)?;
    said(
        &output,
        3,
        &["the forwards are approved on Windows", "relay-elevated"],
    )?;
    world.reached(2222)
}

/// With lan6 clients come by IPv6, and what Windows' administrator approves is that.
fn both_families(world: &World) -> Result<()> {
    others(world)?;
    usual(world)?;
    add_addresses(world)?;
    let agent = world.start_agent(&fresh())?;
    agent.wait("the mode", |status| status.mode == "nat")?;
    let output = world.cli(&[&TWO_FORWARDS[..], &["--reach", "lan6"]].concat())?;
    for line in [
        "forward ssh: tcp 2222 of Windows to 22 here, for the local subnet, IPv6 too",
        "on ::              from the local subnet",
        "installed on Windows",
    ] {
        ensure!(
            output.stdout.contains(line),
            "{line:?} is not in {output:?}"
        );
    }
    agent.wait("the relay", |status| status.serves("relay", &["ssh"]))?;
    world.reached(2222)?;
    let line = format!("exec 3<>/dev/tcp/{WINDOWS}/2222; echo ping >&3; read -t 5 a <&3; echo $a");
    until("an echo by IPv6", LIMIT, || {
        let said = world.lan(&["bash", "-c", &line])?.stdout;
        Ok((said.trim() == "ping").then_some(()))
    })?;
    // One that takes IPv4 alone is not made wider unasked.
    let alone = OPEN.replace("2222", "2223").replace("ssh", "old");
    let alone = fresh() + &alone;
    agent.reload(&alone)?;
    let again = ["--forward", "tcp:2223:22", "--reach", "lan6"];
    let output = world.cli(&[&["setup", "--yes"][..], &again].concat())?;
    said(&output, 1, &["\"old\" listens at 0.0.0.0 alone"])
}

fn at_a_terminal(world: &World) -> Result<()> {
    usual(world)?;
    let agent = world.start_agent(&fresh())?;
    agent.wait("the mode", |status| status.mode == "nat")?;
    let before = Snapshot::take(world)?;
    for typed in ["\u{4}", "tcp:2222:22\n\u{4}", "tcp:2222:22\nlan\nn\n"] {
        let output = world.cli_at_terminal("setup", typed)?;
        said(
            &output,
            1,
            &["Ports to forward, or none? [none]", "nothing was changed"],
        )?;
        Snapshot::take(world)?.is(&before)?;
    }
    let typed = "22\ntcp:0\nsctp:1\ntcp:2222:22 tcp:8080:22\neveryone\nwindows\ny\n";
    let output = world.cli_at_terminal("setup --no-install", typed)?;
    for word in [
        "write it as",
        "is no port",
        "no protocol",
        "write lan, lan6 or windows",
        "forward ssh: tcp 2222 of Windows to 22 here, for this Windows alone",
        "forward ssh-2: tcp 8080 of Windows to 22 here, for this Windows alone",
        "later: wslmesh host install",
    ] {
        ensure!(
            output.stdout.contains(word),
            "{word:?} is not in {output:?}"
        );
    }
    let written = files(world)?;
    ensure!(
        written.contains("127.0.0.1") && written.contains("\"none\""),
        "{written}"
    );
    agent.wait("both", |status| {
        status.serves("portproxy", &["ssh", "ssh-2"])
    })?;
    world.listener(Place::Windows, "t", 2222)?;
    world.listener(Place::Windows, "t", 8080)?;
    Ok(())
}

fn bad_input(world: &World) -> Result<()> {
    world.write(CONFIG, fresh())?;
    let before = Snapshot::take(world)?;
    for (arguments, code, words) in [
        (&["setup"][..], 2, "there is no terminal"),
        (
            &["setup", "--yes", "--forward", "22"],
            2,
            "write it as udp:51820",
        ),
        (
            &["setup", "--yes", "--reach", "all"],
            2,
            "possible values: lan, lan6, windows",
        ),
        (
            &[
                "setup",
                "--yes",
                "--forward",
                "tcp:80:1",
                "--forward",
                "tcp:80:2",
            ],
            1,
            "has this port of Windows",
        ),
        (&["setup", "--dry-run"], 0, "Nothing was changed"),
    ] {
        said(&world.cli(arguments)?, code, &[words])?;
        Snapshot::take(world)?.is(&before)?;
    }
    world.write(CONFIG, "[mtu]\nvalue = 1\n")?;
    said(&world.cli(&["setup", "--yes"])?, 1, &["2:", "MTU"])?;
    // The system's configuration is root's.
    let user = [
        "setpriv",
        "--reuid=1000",
        "--clear-groups",
        crate::options::AGENT,
        "setup",
        "--yes",
    ];
    let output = world.guest(&user)?;
    said(&output, 1, &["sudo wslmesh setup"])
}

/// Stand-ins for Tailscale and NetBird: interfaces of their names.
fn what_it_finds(world: &World) -> Result<()> {
    world.write(CONFIG, fresh())?;
    said(
        &world.cli(&["setup", "--dry-run"])?,
        0,
        &["no WireGuard, Tailscale or NetBird"],
    )?;
    let _wireguard = world.wireguard("mesh0", 1)?;
    world.add_tunnel("wt0")?;
    world.shell(
        "ip tuntap add tailscale0 mode tun; ip addr add 100.101.102.103/32 dev tailscale0; ip link set tailscale0 up
        mkdir -p /etc/wireguard; touch /etc/wireguard/office.conf; chmod 600 /etc/wireguard/office.conf",
    )?;
    said(
        &world.cli(&["setup", "--dry-run"])?,
        0,
        &[
            "WireGuard mesh0: not up: sudo wg-quick up mesh0, UDP port 51820",
            "WireGuard office: not up: sudo systemctl enable --now wg-quick@office",
            "Tailscale tailscale0: up",
            "NetBird wt0: not up: sudo netbird up",
            "keepalives for the peers of mesh0",
        ],
    )?;
    let output = world.cli(&["setup", "--yes", "--no-install"])?;
    ensure!(output.stdout.contains("setup-wireguard.toml"), "{output:?}");
    let shown = world.cli(&["config", "show"])?.ok()?;
    ensure!(
        shown.contains("interfaces = [\"wg*\", \"mesh0\""),
        "{shown}"
    );
    let again = world.cli(&["setup", "--dry-run"])?;
    said(&again, 0, &["nothing to add"])
}
