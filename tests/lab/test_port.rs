//! `wslmesh port`: who holds a port here and on Windows, and why it does not answer.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::{Agent, CONFIG};
use crate::contract::Protocol;
use crate::control::Status;
use crate::double::situation::Port;
use crate::fault::Fault;
use crate::options::{AGENT, Options};
use crate::process::Output;
use crate::runner::trial_with;
use crate::setup::{OPEN, firewall_rule, grant, policy, said};
use crate::topology::{FIRST, Place};
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    let mirrored = Options {
        mode: "mirrored".to_owned(),
        ..Options::quick()
    };
    vec![
        quick("port::answers", answers),
        quick("port::here", here),
        quick("port::of_another_distribution", elsewhere),
        quick("port::on_windows", on_windows),
        quick("port::rules_of_windows", rules),
        quick("port::without_windows", without_windows),
        quick("port::from_outside", from_outside),
        trial_with("port::mirrored", mirrored, in_mirrored),
    ]
}

/// The exit status, the code of what matters most, and the document.
type Said = (i32, String, Value);

fn document(output: &Output) -> Result<Said> {
    let found: Value = serde_json::from_str(&output.stdout)
        .with_context(|| format!("{}{}", output.stdout, output.stderr))?;
    let Status::Code(code) = output.status else {
        anyhow::bail!("{output:?}");
    };
    let first = found.pointer("/findings/0/code").and_then(Value::as_str);
    Ok((code, first.unwrap_or_default().to_owned(), found))
}

/// What it says of this port is that, with these words as advice.
fn says(world: &World, port: &str, cause: &str, words: &str) -> Result<Value> {
    let output = world.cli(&["port", port, "--json"])?;
    let (code, first, found) = document(&output)?;
    let text = |at: &str| found.pointer(at).and_then(Value::as_str);
    let advice = text("/advice").map(|advice| match text("/findings/0/detail") {
        Some(detail) => format!("{detail}. {advice}"),
        None => advice.to_owned(),
    });
    let expected = if cause.is_empty() { 0 } else { 3 };
    ensure!(
        code == expected && first == cause && advice.is_some_and(|text| text.contains(words)),
        "{port}: {code} {first:?} instead of {cause:?}, {words:?}: {found:#}"
    );
    Ok(found)
}

/// The forward of [`OPEN`] by the relay, within the policy.
pub(crate) fn served(world: &World) -> Result<Agent<'_>> {
    let grants = vec![grant(Protocol::Tcp, (2222, 2222), (22, 22))];
    world.windows().install(&policy(grants))?;
    let agent = world.start_agent(OPEN)?;
    agent.settled(FIRST)?;
    world.reached(2222)?;
    Ok(agent)
}

fn answers(world: &World) -> Result<()> {
    let agent = served(world)?;
    let right = "tcp 2222 answers here and from Windows";
    for port in ["2222", "22", "2222/tcp"] {
        let found = says(world, port, "", right)?;
        let text = |at: &str| found.pointer(at).and_then(Value::as_str);
        ensure!(
            text("/forward") == Some("ssh") && text("/here") == Some("answers"),
            "{found:#}"
        );
        ensure!(text("/holders/0/of") == Some("process"), "{found:#}");
        ensure!(
            text("/windows/owners/0/process") == Some("wslmesh-relay"),
            "{found:#}"
        );
        // By ss, who has it.
        let pid = found.pointer("/holders/0/pid").and_then(Value::as_u64);
        let listing = world.shell("ss -ltnpH 'sport = :22'")?;
        let named = pid.is_some_and(|pid| listing.contains(&format!("pid={pid},")));
        ensure!(named, "{found:#}{listing}");
    }
    let page = world.cli(&["port", "2222"])?;
    said(
        &page,
        0,
        &[
            "here",
            "user root",
            "172.28.16.5:22 answers",
            "from Windows 192.168.50.10:2222 answers",
            "let in by",
            "dynamic range 50000-60000",
            right,
        ],
    )?;
    let calls = world.windows().calls()?;
    let asked = calls
        .iter()
        .filter(|call| call.script == "port.ps1")
        .count();
    ensure!(asked == 4, "{calls:#?}");
    for (wrong, words) in [
        ("0", "is no port"),
        ("22/sctp", "write /tcp or /udp"),
        ("ssh", "is no port"),
    ] {
        said(&world.cli(&["port", wrong])?, 2, &[words])?;
    }
    agent.stop()
}

/// The service's side.
fn here(world: &World) -> Result<()> {
    world.windows().set_elevated(false)?;
    world.write(
        CONFIG,
        "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 8080\n",
    )?;
    says(
        world,
        "8080",
        "nothing-listens",
        "no service listens on tcp port 8080 in this distribution. Start the service",
    )?;
    let local = world.echo(Place::Guest, "127.0.0.1:8080")?;
    says(
        world,
        "8080",
        "loopback-only",
        "listens on 127.0.0.1 only, which packets to 172.28.16.5:8080 do not reach. Let the service listen on 0.0.0.0",
    )?;
    drop(local);
    let _web = world.echo(Place::Guest, "0.0.0.0:8081")?;
    says(
        world,
        "8081",
        "no-forward",
        "`sudo wslmesh forward add NAME --protocol tcp --listen-port 8081`",
    )?;
    world.shell("nft add table inet t; nft add chain inet t c '{ type filter hook input priority 0; }'; nft add rule inet t c tcp dport 8081 reject with tcp reset")?;
    says(
        world,
        "8081",
        "filtered-here",
        "172.28.16.5:8081 refuses connections. Look at the packet filter",
    )?;
    world.shell("nft delete table inet t; nft add table inet t; nft add chain inet t c '{ type filter hook input priority 0; }'; nft add rule inet t c iifname eth0 tcp dport 8081 drop")?;
    // It answers here, and not from Windows.
    let (_, _, found) = document(&world.cli(&["port", "8081", "--json"])?)?;
    let codes = found.get("findings").and_then(Value::as_array);
    let mut codes = codes
        .into_iter()
        .flatten()
        .filter_map(|one| one.get("code")?.as_str());
    ensure!(codes.any(|code| code == "not-reached"), "{found:#}");
    Ok(())
}

/// Distributions share the network and not the processes.
fn elsewhere(world: &World) -> Result<()> {
    let look =
        format!("unshare --pid --fork --mount-proc {AGENT} --config {CONFIG} port 22 --json");
    world.write(CONFIG, OPEN)?;
    let output = world.guest(&["sh", "-c", &look])?;
    let (code, first, found) = document(&output)?;
    let of = found.pointer("/holders/0/of").and_then(Value::as_str);
    ensure!(
        code == 3 && of == Some("other-distribution"),
        "{first}: {found:#}"
    );
    let detail = found.pointer("/findings/0/detail").and_then(Value::as_str);
    let expected = "a process of another distribution holds tcp port 22";
    let right = detail.is_some_and(|text| text.contains(expected));
    ensure!(first == "other-distribution" && right, "{found:#}");
    Ok(())
}

/// Who has the port on Windows.
fn on_windows(world: &World) -> Result<()> {
    world.windows().set_elevated(false)?;
    world.write(CONFIG, OPEN)?;
    let nginx = world.echo(Place::Windows, "0.0.0.0:2222")?;
    let port = |forbidden: bool| Port {
        protocol: Protocol::Tcp,
        forbidden,
        owner: (!forbidden).then(|| "nginx (1234)".to_owned()),
    };
    world
        .windows()
        .set(|now| drop(now.ports.insert(2222, port(false))))?;
    says(
        world,
        "2222",
        "windows-process",
        "on Windows nginx (1234) listens on 0.0.0.0:2222. Stop or reconfigure that program",
    )?;
    drop(nginx);
    world.closed(Place::Windows, "t", 2222)?;
    world
        .windows()
        .set(|now| drop(now.ports.insert(2222, port(true))))?;
    says(
        world,
        "2222",
        "excluded-range",
        "Windows gives no program the tcp ports 2222",
    )?;
    world.windows().set(|now| {
        now.ports.clear();
        now.dynamic = Some((1024, 65535));
    })?;
    let found = says(
        world,
        "2222",
        "no-agent",
        "Run `sudo systemctl start wslmesh`",
    )?;
    let range = found.pointer("/windows/dynamic").map(Value::to_string);
    ensure!(range.as_deref() == Some("[1024,65535]"), "{found:#}");
    Ok(())
}

/// Rules of the port proxy and of the firewall, and the policy.
fn rules(world: &World) -> Result<()> {
    let agent = served(world)?;
    let windows = world.windows();
    windows.put_foreign("0.0.0.0:8080".parse()?, "10.0.0.9/80")?;
    says(
        world,
        "8080",
        "foreign-rule",
        "another tool's port proxy rule leads 0.0.0.0:8080 -> 10.0.0.9:80",
    )?;
    windows.put_foreign("0.0.0.0:8080".parse()?, "192.168.50.10/8080")?;
    says(
        world,
        "8080",
        "loop",
        "the port proxy rule 0.0.0.0:8080 -> 192.168.50.10:8080 leads back to itself",
    )?;
    windows.put_foreign("0.0.0.0:8080".parse()?, "127.0.0.1/9090")?;
    windows.put_foreign("0.0.0.0:9090".parse()?, "172.28.16.1/8080")?;
    says(world, "8080", "loop", "leads back to itself")?;
    says(world, "2222", "", "answers")?;
    let name = "a program that was said No to";
    windows.put_firewall(name, Some(firewall_rule(false, Some(2222))))?;
    says(world, "2222", "firewall-blocks", name)?;
    windows.put_firewall(name, None)?;
    let before = windows.view()?.machine;
    windows.alter(|machine| machine.firewall.clear())?;
    says(
        world,
        "2222",
        "firewall-lacks",
        "lets clients in to tcp 2222 (networks: private). Run `wslmesh host install`",
    )?;
    windows.alter(|machine| *machine = before)?;
    agent.reload(&format!("{OPEN}[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 9000\nconnect-port = 22\n"))?;
    agent.raised("forward-outside-policy")?;
    says(
        world,
        "9000",
        "outside-policy",
        "the policy on Windows does not cover tcp 9000. Run `wslmesh host install` again",
    )?;
    agent.stop()
}

/// The Linux half is there in any case.
fn without_windows(world: &World) -> Result<()> {
    world.write(CONFIG, OPEN)?;
    world
        .windows()
        .set_fault(Fault::Rubbish(b"Guten Tag".to_vec()))?;
    let found = says(
        world,
        "22",
        "no-agent",
        "Run `sudo systemctl start wslmesh`",
    )?;
    let text = |at: &str| found.pointer(at).and_then(Value::as_str);
    ensure!(text("/here") == Some("answers"), "{found:#}");
    ensure!(
        text("/findings/1/code") == Some("windows-unknown"),
        "{found:#}"
    );
    let why = text("/windows-unknown");
    ensure!(
        why.is_some_and(|why| why.contains("Guten Tag")),
        "{found:#}"
    );
    world.windows().clear_fault()?;
    world.guest(&["rm", "-rf", "/run/WSL"])?.ok()?;
    let found = says(
        world,
        "22",
        "",
        "answers here; if a client elsewhere gets no answer",
    )?;
    let why = found.get("windows-unknown").and_then(Value::as_str);
    ensure!(
        why == Some("this is not WSL, so there is no Windows to ask"),
        "{found:#}"
    );
    said(
        &world.cli(&["port", "22"])?,
        0,
        &["not known: this is not WSL"],
    )
}

/// On another machine, which is no WSL and whose configuration is of no use.
fn from_outside(world: &World) -> Result<()> {
    let agent = served(world)?;
    // The same files are there: the agent has read its own.
    world.write(CONFIG, "nonsense")?;
    said(
        &world.lan(&[AGENT, "config", "check"])?,
        1,
        &["key with no value"],
    )?;
    let ask = |port: &str, host: &str| world.lan(&[AGENT, "port", port, "--host", host]);
    let of =
        |port: &str, host: &str, code: i32, words: &str| said(&ask(port, host)?, code, &[words]);
    of(
        "2222",
        "192.168.50.10",
        0,
        "tcp 192.168.50.10:2222 answers from here.",
    )?;
    of(
        "2223",
        "192.168.50.10",
        3,
        "refuses: the machine is reached",
    )?;
    of(
        "53/udp",
        "192.168.50.10",
        3,
        "refuses: the machine is reached",
    )?;
    world.host(&["sh", "-c", "nft add table inet t; nft add chain inet t c '{ type filter hook input priority 0; }'; nft add rule inet t c tcp dport 2222 drop; nft add rule inet t c udp dport 53 drop"])?.ok()?;
    of(
        "2222",
        "192.168.50.10",
        3,
        "does not answer (timed out): a firewall drops the connection",
    )?;
    of("53/udp", "192.168.50.10", 0, "which proves nothing")?;
    of(
        "2222",
        "10.9.8.7",
        3,
        "is unreachable: there is no way to the machine",
    )?;
    of("2222", "nas.example", 2, "is no address: write one such as")?;
    of("2222", "0.0.0.0", 2, "is no address of a machine")?;
    let output = world.lan(&[AGENT, "port", "2223", "--host", "192.168.50.10", "--json"])?;
    let (code, _, found) = document(&output)?;
    let result = found.get("result").and_then(Value::as_str);
    ensure!(code == 3 && result == Some("refused"), "{found:#}");
    agent.stop()
}

/// Windows' ports are this distribution's own.
fn in_mirrored(world: &World) -> Result<()> {
    world.windows().set_elevated(false)?;
    world.write(CONFIG, "")?;
    says(
        world,
        "22",
        "firewall-lacks",
        "Add a forward, which brings the rule",
    )?;
    let kept = says(world, "135", "windows-keeps", "Choose another listen-port")?;
    ensure!(
        kept.get("mode").and_then(Value::as_str) == Some("mirrored"),
        "{kept:#}"
    );
    Ok(())
}
