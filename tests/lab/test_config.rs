//! The configuration and the commands as a user meets them: bad input is named
//! with its place, and nothing is touched.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{CONFIG, FILE, LIMIT, SSH, config};
use crate::control::Status;
use crate::options::{AGENT, Options};
use crate::runner::trial_with;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("config::what_is_loaded", what_is_loaded),
        quick("config::bad_input", bad_input),
        quick("config::all_errors_at_once", all_errors_at_once),
        quick("config::run_touches_nothing", run_touches_nothing),
        quick("config::empty_means_defaults", empty_means_defaults),
        quick("config::usage", usage),
        quick("config::closed_pipe", closed_pipe),
        quick("config::plan_then_apply", plan_then_apply),
        quick("config::shown_is_read_again", shown_is_read_again),
    ]
}

/// Bad files: what is in them and what the message has to say.
const BAD: [(&str, &[u8], &[&str]); 14] = [
    ("unknown key", b"[network]\nconfig-fil = \"/x\"\n", &[":2:1:", "`config-fil`", "`config-file`"]),
    ("unknown table", b"[sysctls]\n", &[":1:", "`sysctls`", "`sysctl`"]),
    ("key of another table", b"[mtu]\nkeepalive = 1\n", &[":2:", "belongs in [wireguard]"]),
    ("wrong type", b"[mtu]\nvalue = \"big\"\n", &[":2:", "mtu.value", "string"]),
    ("MTU too small", b"[mtu]\nvalue = 575\n", &[":2:", "575", "from 576 to 65535"]),
    ("port 0", b"\n[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\nlisten-port = 0\n", &[":5:", "listen-port", "from 1 to 65535"]),
    ("port 65536", b"[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\nlisten-port = 65536\n", &[":4:", "65536", "from 1 to 65535"]),
    (
        "duplicate listen port",
        b"[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\nlisten-port = 80\n[[forward]]\nname = \"b\"\nprotocol = \"tcp\"\nlisten-port = 80\n",
        &[":5:", "listen-port 80", "\"a\"", ":1;"],
    ),
    ("no port", b"[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\n", &[":1:", "listen-port"]),
    ("rubbish", b"\0\x01\x02\xff\xfe\n", &[":1: is not UTF-8 text"]),
    ("rubbish later", b"[mtu]\nvalue = 1280\n# \xc3\x28\n", &[":3: is not UTF-8 text"]),
    ("no TOML", b"[network\ninterface = auto", &[":1:"]),
    ("a value for a shell", b"[network]\ninterface = \"eth0; reboot\"\n", &[":2:", "is no interface"]),
    ("a parameter outside the network", b"[sysctl]\n\"kernel.core_pattern\" = \"|/bin/sh\"\n", &[":2:", "kernel.core_pattern"]),
];

fn bad_input(world: &World) -> Result<()> {
    for (case, text, expected) in BAD {
        world.write(CONFIG, text)?;
        let output = world.wslmesh(&["config", "check", "--config", CONFIG])?;
        ensure!(
            output.status == Status::Code(1)
                && output.stdout.is_empty()
                && output.stderr.starts_with(&format!("wslmesh: {CONFIG}:")),
            "{case}: {output:?}"
        );
        for part in expected {
            ensure!(
                output.stderr.contains(part),
                "{case}: no {part:?} in {}",
                output.stderr
            );
        }
    }
    for (path, expected) in [
        ("/run/lab", "not a regular file"),
        ("/dev/null", "not a regular file"),
        ("/run/lab/none.toml", "there is no such file"),
    ] {
        let output = world.wslmesh(&["config", "check", "--config", path])?;
        ensure!(
            output.status == Status::Code(1)
                && output.stderr.contains(&format!("{path}: "))
                && output.stderr.contains(expected),
            "{path}: {output:?}"
        );
    }
    Ok(())
}

/// Drop-ins that others can write, that an editor made, and masks.
fn what_is_loaded(world: &World) -> Result<()> {
    let folder = format!("{CONFIG}.d");
    let drop_in = format!("{folder}/10.toml");
    let good = config(SSH);
    world.write(&drop_in, "[mtu]\nvalue = 1300\n")?;
    symlink("user@host.1:2", world.path(format!("{folder}/.#10.toml")))?;
    let agent = world.start_agent(&good)?;
    agent.settled("172.28.16.5")?;
    let mode = |mode| {
        let path = world.path(&drop_in);
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    mode(0o666)?;
    agent.reload(&good)?;
    let finding = agent.raised("config-rejected")?;
    ensure!(
        finding.detail.contains(&drop_in)
            && finding
                .detail
                .contains(&format!("others than root can write {drop_in} (mode 666)")),
        "{finding:?}"
    );
    mode(0o644)?;
    agent.reload(&good)?;
    agent.cleared("config-rejected")?;
    let value = || world.wslmesh(&["config", "show", "--config", CONFIG])?.ok();
    ensure!(value()?.contains("value = 1300"), "{}", value()?);
    fs::remove_file(world.path(&drop_in))?;
    symlink("/dev/null", world.path(&drop_in))?;
    ensure!(value()?.contains("value = 1280"), "{}", value()?);
    Ok(())
}

/// One look names every error of every file, and an agent says the same.
fn all_errors_at_once(world: &World) -> Result<()> {
    let drop_in = format!("{CONFIG}.d/10.toml");
    let good = config(SSH);
    let agent = world.start_agent(&good)?;
    agent.settled("172.28.16.5")?;
    world.write(&drop_in, "[host]\nbackend = \"best\"\n[hots]\n")?;
    agent.reload(&format!(
        "{good}[mtu]\nvalue = 1\nvaleu = 2\n[wireguard]\nkeepalive = \"x\"\n"
    ))?;
    let finding = agent.raised("config-rejected")?;
    ensure!(
        ["mtu.value", "`hots`", "5 errors in 2 files"]
            .iter()
            .all(|part| finding.detail.contains(part)),
        "{finding:?}"
    );
    let output = world.wslmesh(&["config", "check", "--config", CONFIG])?;
    let lines: Vec<&str> = output.stderr.lines().collect();
    let expected = [
        (CONFIG, "mtu.value: 1 is no MTU"),
        (CONFIG, "did you mean `value`?"),
        (CONFIG, "wireguard.keepalive: "),
        (
            drop_in.as_str(),
            ":2:11: host.backend: unknown variant `best`",
        ),
        (drop_in.as_str(), ":3:2: unknown key `hots` at the top"),
        ("", "wslmesh: 5 errors in 2 files"),
    ];
    ensure!(
        output.status == Status::Code(1) && lines.len() == expected.len(),
        "{output:?}"
    );
    for (line, (file, text)) in lines.iter().zip(expected) {
        ensure!(line.contains(file) && line.contains(text), "{output:?}");
    }
    agent.stop()
}

/// Everything an agent may change.
fn state(world: &World) -> Result<String> {
    let script = "ip -d link; ip addr; ip route show table all; \
        for f in /proc/sys/net/ipv4/tcp_* /proc/sys/net/ipv4/udp_* /proc/sys/net/core/*mem*; do echo $f; cat $f 2>/dev/null; done; \
        find /run /etc/wslmesh /var/lib -path /run/lab/out -prune -o -path /run/netns -prune -o -type f -print -exec cksum {} + | sort";
    let text = world.guest(&["sh", "-c", script])?.ok()?;
    // What is left of an address's life counts down.
    let text: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("valid_lft") && !line.contains("fe80"))
        .collect();
    Ok(format!(
        "{}\n{:?}",
        text.join("\n"),
        world.windows().table()?
    ))
}

fn run_touches_nothing(world: &World) -> Result<()> {
    world.add_tunnel("tailscale0")?;
    world.write(CONFIG, config(&format!("{SSH}[mtu]\nvalue = 1\n")))?;
    // The kernel is up to a second late with a cable that was put in.
    until("eth0's carrier", LIMIT, || {
        let link = world.guest(&["ip", "link", "show", "eth0"])?.ok()?;
        Ok(link.contains("state UP").then_some(()))
    })?;
    let before = state(world)?;
    // systemd starts the service no more after 78.
    for (command, code) in [("run", 78), ("apply", 1), ("plan", 1)] {
        let output = world.wslmesh(&[command, "--config", CONFIG])?;
        ensure!(
            output.status == Status::Code(code) && output.stderr.contains(&format!("{CONFIG}:10:")),
            "{command}: {output:?}"
        );
    }
    let after = state(world)?;
    ensure!(before == after, "{before}\n---\n{after}");
    ensure!(world.windows().calls()?.is_empty());
    Ok(())
}

fn empty_means_defaults(world: &World) -> Result<()> {
    let nothing = world.wslmesh(&["config", "check"])?.ok()?;
    ensure!(nothing.contains("the defaults are in force"), "{nothing}");
    let defaults = world.wslmesh(&["config", "show"])?.ok()?;
    world.write(CONFIG, "")?;
    ensure!(
        world
            .wslmesh(&["config", "check", "--config", CONFIG])?
            .ok()?
            == format!("{CONFIG}: fine\n")
    );
    let shown = world
        .wslmesh(&["config", "show", "--config", CONFIG])?
        .ok()?;
    ensure!(shown == format!("# from {CONFIG}\n{defaults}"), "{shown}");
    for line in [
        "interface = \"auto\"",
        "value = 1280",
        "underlay = \"raise\"",
        "keepalive = 25",
        "backend = \"auto\"",
        "\"net.core.rmem_max\" = \"134217728\"",
    ] {
        ensure!(
            defaults.lines().any(|l| l == line),
            "no {line} in {defaults}"
        );
    }
    Ok(())
}

fn shown_is_read_again(world: &World) -> Result<()> {
    let text = config(&format!(
        "settle = \"70ms\"\n{SSH}[mtu]\nvalue = 1300\n[sysctl]\n\"net.ipv4.tcp_rmem\" = false\n[wireguard]\nkeepalive = 0\n"
    ));
    world.write(CONFIG, text)?;
    // A drop-in beats the file.
    world.write(format!("{CONFIG}.d/10.toml"), "[mtu]\nvalue = 1310\n")?;
    let shown = world
        .wslmesh(&["config", "show", "--config", CONFIG])?
        .ok()?;
    ensure!(
        shown.contains("value = 1310") && shown.contains("10.toml") && !shown.contains("tcp_rmem"),
        "{shown}"
    );
    world.write(
        "/run/lab/again.toml",
        format!("{shown}\n[sysctl.\"net.ipv4\"]\n"),
    )?;
    ensure!(
        !world
            .wslmesh(&["config", "check", "--config", "/run/lab/again.toml"])?
            .success(),
        "two tables of one name"
    );
    world.write("/run/lab/again.toml", &shown)?;
    let again = world
        .wslmesh(&["config", "show", "--config", "/run/lab/again.toml"])?
        .ok()?;
    let settings = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.contains("tcp_rmem"))
            .map(str::to_owned)
            .collect()
    };
    ensure!(
        settings(&shown) == settings(&again),
        "{shown}\n---\n{again}"
    );
    Ok(())
}

fn usage(world: &World) -> Result<()> {
    for arguments in [
        &[][..],
        &["no-such"],
        &["run", "--no-such"],
        &["config"],
        &["status", "--json", "x"],
    ] {
        let output = world.wslmesh(arguments)?;
        ensure!(
            output.status == Status::Code(2)
                && output.stdout.is_empty()
                && output.stderr.contains("Usage: wslmesh"),
            "{arguments:?}: {output:?}"
        );
    }
    let output = world.wslmesh(&["status"])?;
    ensure!(
        output.status == Status::Code(1) && output.stderr.contains("the agent is not running"),
        "{output:?}"
    );
    let json = world.wslmesh(&["status", "--json"])?;
    ensure!(
        json.status == Status::Code(1) && json.stdout.is_empty(),
        "{json:?}"
    );
    // The status of an agent that was killed is none.
    let agent = world.start_agent(&config(""))?;
    ensure!(world.wslmesh(&["status"])?.stdout.contains("process"));
    agent.kill()?;
    ensure!(
        world.path("/run/wslmesh/status.json").exists()
            && world.wslmesh(&["status"])?.status == Status::Code(1)
    );
    ensure!(world.wslmesh(&["--version"])?.ok()?.starts_with("wslmesh "));
    Ok(())
}

fn closed_pipe(world: &World) -> Result<()> {
    for command in ["config show", "config check", "plan", "--help"] {
        // The reader has ended before the first byte.
        let script = format!(
            "{{ sleep 0.05; {AGENT} {command} 2>/run/lab/said; echo $? >/run/lab/code; }} | true"
        );
        world.guest(&["sh", "-c", &script])?.ok()?;
        let (said, code) = (world.read("/run/lab/said")?, world.read("/run/lab/code")?);
        ensure!(said.is_empty() && code == "0\n", "{command}: {code}{said}");
    }
    Ok(())
}

fn plan_then_apply(world: &World) -> Result<()> {
    world.add_tunnel("tailscale0")?;
    world.set_mtu(1300)?;
    world.write(CONFIG, config(SSH))?;
    let before = state(world)?;
    let plan = world.wslmesh(&["plan", "--config", CONFIG])?.ok()?;
    let after = state(world)?;
    ensure!(before == after, "{before}\n---\n{after}");
    ensure!(world.windows().calls()?.is_empty() && !world.path(FILE).exists());
    let announced: Vec<&str> = plan
        .lines()
        .filter_map(|line| line.strip_prefix("would do: "))
        .collect();
    ensure!(announced.len() >= 9, "{plan}");
    world.guest(&["mkdir", "/run/wslmesh"])?.ok()?;
    let apply = world.wslmesh(&["apply", "--config", CONFIG])?.ok()?;
    let done: Vec<&str> = apply
        .lines()
        .filter_map(|line| line.strip_prefix("done: "))
        .collect();
    for line in announced {
        // What may be done there is asked first.
        if line.starts_with("ask ") {
            let made = "Windows forward 0.0.0.0:2222 -> 172.28.16.5: 1 set";
            ensure!(done.iter().any(|done| done.starts_with(made)), "{apply}");
        } else {
            ensure!(
                done.contains(&line),
                "{line:?} was announced, and this was done:\n{apply}"
            );
        }
    }
    ensure!(
        done.iter()
            .any(|line| line.starts_with("tailscale0 mtu 1500 -> 1280")),
        "{apply}"
    );
    ensure!(world.mtu("tailscale0")? == 1280 && world.mtu("eth0")? == 1340);
    world.forwards(&[(2222, "172.28.16.5", 22)])?;
    world.states("WINDOWS_HOST_IP", "192.168.50.10")?;
    ensure!(
        !world.path("/run/wslmesh/status.json").exists(),
        "a status of no agent"
    );
    let rest = world.wslmesh(&["plan", "--config", CONFIG])?.ok()?;
    let rest: Vec<&str> = rest
        .lines()
        .filter(|line| line.starts_with("would do"))
        .collect();
    // Windows alone knows whether its forwards are installed.
    ensure!(
        rest == ["would do: ask Windows for 1 forward -> 172.28.16.5"],
        "{rest:?}"
    );
    let again = world.wslmesh(&["apply", "--config", CONFIG])?.ok()?;
    ensure!(
        again.lines().next().context("nothing said")? == "nothing to do",
        "{again}"
    );
    Ok(())
}
