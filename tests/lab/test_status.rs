//! What a person sees of a running agent.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::agent::{CONFIG, LIMIT, SSH, config};
use crate::control::Status;
use crate::dbus::talk;
use crate::options::{AGENT, Options};
use crate::process::{CONT, HUP, STOP};
use crate::runner::trial_with;
use crate::topology::{FIRST, Place};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("status::shows_peers_and_their_handshakes", peers),
        quick("status::says_which_forwards_answer", answers),
        quick("status::monitor_follows_agents", monitor),
        quick("status::monitor_ends_with_its_reader", closed_pipe),
        quick("status::says_what_is_missing_without_a_bus", without_bus),
        quick("status::leaves_out_a_device_that_hangs", hanging_device),
    ]
}

/// The page, which fits a terminal.
fn page(world: &World) -> Result<String> {
    let output = world.wslmesh(&["status"])?;
    ensure!(output.stderr.is_empty(), "{output:?}");
    let wide = output.stdout.lines().find(|line| line.chars().count() > 80);
    ensure!(wide.is_none(), "{wide:?}");
    ensure!(!output.stdout.contains('\x1b'), "colours in a pipe");
    Ok(output.stdout)
}

fn as_json(world: &World) -> Result<Value> {
    let output = world.wslmesh(&["status", "--json"])?;
    serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))
}

/// Makes the two devices peers of each other, and returns their public keys.
fn meet(world: &World) -> Result<(String, String)> {
    let script = "umask 077; cd /run/lab; for d in wg0 wg1; do wg genkey >$d.key; wg set $d private-key $d.key; done
        one=$(wg pubkey <wg0.key) two=$(wg pubkey <wg1.key)
        wg set wg0 peer $two endpoint 127.0.0.1:51820 persistent-keepalive 1
        wg set wg1 peer $one allowed-ips 10.99.0.1/32
        echo $one $two";
    let keys = world.shell(script)?;
    let (one, two) = keys.trim().split_once(' ').context("two keys")?;
    Ok((one.to_owned(), two.to_owned()))
}

fn peers(world: &World) -> Result<()> {
    let _first = world.wireguard("wg0", 0)?;
    world.shell("wg set wg0 listen-port 51821")?;
    let _second = world.wireguard("wg1", 0)?;
    let agent = world.start_agent(&config(&format!("[mtu]\nvalue = 1300\n{SSH}")))?;
    agent.settled(FIRST)?;
    let (_, key) = meet(world)?;
    let peer = until("a handshake", LIMIT, || {
        let peer = as_json(world)?.pointer("/wireguard/0/peers/0").cloned();
        let met = |peer: &Value| peer.get("latest-handshake-unix") != Some(&Value::Null);
        Ok(peer.filter(met))
    })?;
    ensure!(
        peer.get("public-key") == Some(&json!(key))
            && peer.get("endpoint") == Some(&json!("127.0.0.1:51820"))
            && peer.get("keepalive") == Some(&json!(1))
            && peer.get("sent-bytes").and_then(Value::as_u64) > Some(0),
        "{peer:#}"
    );
    let at = world.shell("wg show wg0 latest-handshakes | cut -f 2")?;
    let shown = peer.get("latest-handshake-unix").and_then(Value::as_u64);
    // A new key may have been agreed on in between.
    ensure!(
        shown > Some(0) && shown <= at.trim().parse().ok(),
        "{shown:?}"
    );
    let mtus = |status: &Value| {
        let links = status.get("links").and_then(Value::as_array).cloned();
        let links = links.unwrap_or_default();
        let link = |link: &Value| Some((link.get("name")?.clone(), link.get("mtu")?.clone()));
        links.iter().filter_map(link).collect::<Vec<_>>()
    };
    let wanted = [("eth0", 1500), ("wg0", 1300), ("wg1", 1300)];
    let wanted = wanted.map(|(name, mtu)| (json!(name), json!(mtu)));
    until("the MTUs", LIMIT, || {
        Ok((mtus(&as_json(world)?) == wanted).then_some(()))
    })?;
    let text = page(world)?;
    for part in [
        "agent: active (process ",
        "mtu: eth0 1500, wg0 1300, wg1 1300\n",
        "wireguard: wg0, port 51821, 1 peer\n",
        &format!("           {key}  handshake "),
        "             127.0.0.1:51820, keepalive 1 s, in ",
    ] {
        ensure!(text.contains(part), "{part:?} is not in\n{text}");
    }
    // What changes all the time is not in the file.
    let file = world.read("/run/wslmesh/status.json")?;
    ensure!(
        file.contains("\"links\"") && !file.contains("\"wireguard\":"),
        "{file}"
    );
    Ok(())
}

/// What behind which forward: sshd on all addresses, a program on loopback alone,
/// no service, and WireGuard's own socket.
fn answers(world: &World) -> Result<()> {
    let forward = |name: &str, protocol: &str, port: u16, connect: u16| {
        format!(
            "[[forward]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nlisten-port = {port}\nconnect-port = {connect}\nfirewall = \"none\"\n"
        )
    };
    let forwards = [
        forward("ssh", "tcp", 2222, 22),
        forward("local", "tcp", 8080, 8080),
        forward("closed", "tcp", 8081, 8081),
        forward("wireguard", "udp", 51820, 51820),
        forward("silent", "udp", 53, 53),
    ];
    let _wireguard = world.wireguard("wg0", 0)?;
    let _local = world.echo(Place::Guest, "127.0.0.1:8080")?;
    let agent = world.start_agent(&config(&forwards.concat()))?;
    agent.wait("the forwards", |status| {
        let mut served = status.served.iter();
        status.served.len() == 5 && served.any(|one| one.name == "ssh" && one.state == "up")
    })?;
    let answers = |list: &Value| {
        let one = |entry: &Value| {
            let name = entry.get("name")?.as_str()?.to_owned();
            let why = entry.get("unanswered").and_then(Value::as_str);
            let why = why.map(str::to_owned);
            Some((name, entry.get("answers")?.as_bool()?, why))
        };
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter().filter_map(one).collect::<Vec<_>>()
    };
    let expected = [
        ("ssh", true, None),
        ("local", false, Some("8080 is open on 127.0.0.1 only")),
        ("closed", false, Some("no service listens on 8081")),
        ("wireguard", true, None),
        ("silent", false, Some("no service listens on 53")),
    ];
    let expected =
        expected.map(|(name, answers, why)| (name.to_owned(), answers, why.map(str::to_owned)));
    let status = as_json(world)?;
    let served = status.get("served").context("no forwards")?;
    ensure!(answers(served) == expected, "{status:#}");
    let list = ["forward", "list", "--json", "--config", CONFIG];
    let list = serde_json::from_str(&world.wslmesh(&list)?.stdout)?;
    ensure!(answers(&list) == expected, "{list:#}");
    let text = page(world)?;
    for part in ["up, answers\n", ", no service listens on 8081\n"] {
        ensure!(text.contains(part), "{part:?} is not in\n{text}");
    }
    Ok(())
}

const INT: i32 = 2;

/// Through the life of two agents.
fn monitor(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let json = world.agent(&["monitor", "--json"])?;
    let text = world.agent(&["monitor"])?;
    let seen = |wanted: Value| {
        let is_wanted = |line: &Value| {
            let wanted = wanted.as_object().into_iter().flatten();
            let mut fields = wanted.map(|(name, value)| line.get(name) == Some(value));
            fields.all(|same| same)
        };
        let count = || -> Result<usize> {
            let lines = json.stdout()?;
            // The last line may not be whole yet.
            let lines = lines
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            let lines = lines.map(serde_json::from_str::<Value>);
            let lines = lines.collect::<Result<Vec<_>, _>>()?;
            Ok(lines.iter().filter(|line| is_wanted(line)).count())
        };
        count()
    };
    let wait = |wanted: Value, times: usize| {
        let name = format!("{wanted} for the {times}. time");
        let found = until(&name, LIMIT, || {
            Ok((seen(wanted.clone())? >= times).then_some(()))
        });
        found.with_context(|| format!("it said:\n{}", json.stdout().unwrap_or_default()))
    };
    wait(json!({"event": "no-agent"}), 1)?;
    let agent = world.start_agent(&config(SSH))?;
    wait(json!({"event": "state", "pid": agent.process().pid()}), 1)?;
    agent.settled(FIRST)?;
    world.change_address("172.28.27.77/20")?;
    let moved = json!({"event": "address-changed", "interface": "eth0", "old": FIRST, "new": "172.28.27.77"});
    wait(moved, 1)?;
    agent.settled("172.28.27.77")?;
    agent.reload("[mtu]\nvalu = 1\n")?;
    wait(
        json!({"event": "health-raised", "code": "config-rejected", "severity": "warning"}),
        1,
    )?;
    agent.reload(&config(SSH))?;
    wait(
        json!({"event": "health-cleared", "code": "config-rejected"}),
        1,
    )?;
    agent.kill()?;
    wait(json!({"event": "no-agent"}), 2)?;
    let second = world.start_agent(&config(SSH))?;
    wait(json!({"event": "state", "pid": second.process().pid()}), 1)?;
    for monitor in [&json, &text] {
        monitor.signal(INT)?;
        let output = monitor.finish(LIMIT)?;
        ensure!(output.success() && output.stderr.is_empty(), "{output:?}");
    }
    let lines = text.stdout()?;
    for part in [
        "  the agent is not running; waiting for it\n",
        "  eth0 address 172.28.16.5 -> 172.28.27.77\n",
        "  warning: config-rejected (",
        "Correct it (`wslmesh config check`)",
        ") cleared\n",
    ] {
        ensure!(lines.contains(part), "{part:?} is not in\n{lines}");
    }
    // The time of now, by this machine's own zone.
    let year = world.shell("date +%Y-")?;
    ensure!(
        lines.lines().all(|line| line.starts_with(year.trim())),
        "{lines}"
    );
    Ok(())
}

/// Nothing happens that it could fail to write.
fn closed_pipe(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    talk(async { world.agent_on_the_bus().await.map(drop) })?;
    let script = "{ wslmesh monitor 2>/run/lab/said; echo $? >/run/lab/code; } | head -n 1";
    let script = script.replace("wslmesh monitor", &format!("{AGENT} monitor"));
    let line = world.shell(&script)?;
    ensure!(line.contains(" eth0 172.28.16.5 ("), "{line}");
    let (said, code) = (world.read("/run/lab/said")?, world.read("/run/lab/code")?);
    ensure!(said.is_empty() && code == "0\n", "{code}{said}");
    Ok(())
}

/// The status document answers; monitor has no other source.
fn without_bus(world: &World) -> Result<()> {
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    let monitor = |what: &str| -> Result<()> {
        let output = world.wslmesh(&["monitor"])?;
        let said = output.stderr.contains(what) && output.stderr.contains("systemctl reload");
        ensure!(output.status == Status::Code(1) && said, "{output:?}");
        Ok(())
    };
    let list = ["forward", "list", "--config", CONFIG];
    let noted = |why: &str| -> Result<()> {
        let note = format!("note: {why}; read from /run/wslmesh/status.json\n");
        for text in [page(world)?, world.wslmesh(&list)?.ok()?] {
            let text = text.replace("\n           ", " ");
            ensure!(text.contains(&note), "{note:?} is not in\n{text}");
        }
        Ok(())
    };
    noted("no system bus")?;
    monitor("install dbus")?;
    // It would join the bus by itself.
    agent.process().signal(STOP)?;
    let _daemon = world.start_bus()?;
    noted("the agent is not on the system bus")?;
    monitor(") is not on the system bus")?;
    agent.process().signal(CONT)?;
    agent.process().signal(HUP)?;
    talk(async { world.agent_on_the_bus().await.map(drop) })?;
    ensure!(!page(world)?.contains("note: "), "{}", page(world)?);
    Ok(())
}

fn hanging_device(world: &World) -> Result<()> {
    let wireguard = world.wireguard("wg0", 1)?;
    wireguard.only_userspace()?;
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    wireguard.signal_daemon("STOP")?;
    let begun = Instant::now();
    let text = page(world)?;
    let took = begun.elapsed();
    wireguard.signal_daemon("CONT")?;
    ensure!(
        text.contains("wireguard: wg0: cannot read the device from its daemon")
            || text.contains("wireguard: wg0: no answer within 700ms"),
        "{text}"
    );
    ensure!(text.contains("address: 172.28.16.5 on eth0"), "{text}");
    ensure!(took < Duration::from_secs(10), "{took:?}");
    Ok(())
}
