//! `wslmesh forward test`: each hop of a forward, and which one fails.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::{Agent, CONFIG, LIMIT, forward};
use crate::contract::Protocol;
use crate::control::Status;
use crate::double::situation::Port;
use crate::fault::Fault;
use crate::installed::{INSIDE, TUNNEL};
use crate::options::Options;
use crate::process::Process;
use crate::runner::trial_with;
use crate::setup::{OPEN, firewall_rule, grant, policy, said};
use crate::test_members::{agent, standby};
use crate::test_port::served;
use crate::topology::{FIRST, Place};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    let mirrored = Options {
        mode: "mirrored".to_owned(),
        ..Options::quick()
    };
    vec![
        quick("forward_test::answers", answers),
        quick("forward_test::service", service_here),
        quick("forward_test::packet_filter", packet_filter),
        quick("forward_test::on_windows", on_windows),
        quick("forward_test::loopback_alone", loopback_alone),
        quick("forward_test::relay_does_not_get_through", dropped),
        quick("forward_test::proxy_header", proxy_header),
        quick("forward_test::udp", udp),
        quick("forward_test::range", range),
        quick("forward_test::of_another_distribution", members),
        quick("forward_test::windows_hangs", hangs),
        trial_with("forward_test::mirrored", mirrored, in_mirrored),
    ]
}

/// `@serve KIND ADDRESS:PORT`: a service of that kind.
pub(crate) const SERVE: &str = "@serve";

/// Runs the role [`SERVE`] until it is killed.
pub(crate) fn serve_role(kind: &str, address: &str) -> ExitCode {
    match serve(kind, address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{address}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(kind: &str, address: &str) -> Result<()> {
    let one: fn(TcpStream) -> std::io::Result<()> = match kind {
        "banner" => banner,
        "http" => http,
        "silent" => silent,
        "header" => header,
        other => bail!("no such kind: {other}"),
    };
    for stream in TcpListener::bind(address)?.incoming().flatten() {
        std::thread::spawn(move || one(stream));
    }
    Ok(())
}

/// As sshd: a banner, and the end for a client that is none of its own.
fn banner(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(b"SSH-2.0-lab\r\n")?;
    let mut read = [0; 4];
    stream.read_exact(&mut read)?;
    match &read {
        b"SSH-" => silent(stream),
        _ => Ok(()),
    }
}

/// As a web server: an error for what is no request, on a connection that stays.
fn http(mut stream: TcpStream) -> std::io::Result<()> {
    if stream.read(&mut [0; 1])? > 0 {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
    }
    silent(stream)
}

fn silent(mut stream: TcpStream) -> std::io::Result<()> {
    while stream.read(&mut [0; 4096])? > 0 {}
    Ok(())
}

/// Wants the PROXY header first, and gives a client half a second for it.
fn header(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut read = [0; 12];
    stream.read_exact(&mut read)?;
    stream.set_read_timeout(None)?;
    match &read {
        b"\r\n\r\n\0\r\nQUIT\n" => silent(stream),
        _ => Ok(()),
    }
}

/// Starts one in the guest.
fn serving<'w>(world: &'w World, kind: &str, at: &str) -> Result<Process<'w>> {
    let process = world.spawn(Place::Guest, &["/init", crate::ROLE, SERVE, kind, at], &[])?;
    let own = format!("pid={},", process.pid());
    until(at, LIMIT, || {
        let listeners = world.guest(&["ss", "-Htlnp"])?.ok()?;
        Ok(listeners.contains(&own).then_some(()))
    })?;
    Ok(process)
}

/// Tests a forward: the results of its hops are these, a letter each (k ok, F failed, - not
/// tried, ? not known), and its advice has these words.
pub(crate) fn tests(world: &World, what: &[&str], expected: &str, words: &str) -> Result<Value> {
    let output = world.cli(&[&["forward", "test", "--json"], what].concat())?;
    let found: Value = serde_json::from_str(&output.stdout)
        .with_context(|| format!("{}{}", output.stdout, output.stderr))?;
    let hops = found.get("hops").and_then(Value::as_array);
    let hops = hops.context("no hops")?.iter();
    let letter = |hop: &Value| match hop.get("result").and_then(Value::as_str) {
        Some("ok") => 'k',
        Some("failed") => 'F',
        Some("not-tried") => '-',
        _ => '?',
    };
    let results: String = hops.map(letter).collect();
    let advice = found.get("advice").and_then(Value::as_str);
    // Without Windows' answer there is one hop of it.
    let code = match expected {
        "kk?" => 3,
        _ => i32::from(expected.contains('F')),
    };
    let right = results == expected
        && output.status == Status::Code(code)
        && advice.is_some_and(|text| text.contains(words));
    ensure!(
        right,
        "{results} instead of {expected}, {words:?}: {found:#}"
    );
    Ok(found)
}

/// A detail of the document.
pub(crate) fn detail(found: &Value, hop: usize) -> &str {
    let detail = found.pointer(&format!("/hops/{}/detail", hop - 1));
    detail.and_then(Value::as_str).unwrap_or_default()
}

fn answers(world: &World) -> Result<()> {
    let agent = served(world)?;
    let found = tests(world, &["ssh"], "kkkkkk", "Every hop answers")?;
    ensure!(detail(&found, 5) == "192.168.50.10:2222", "{found:#}");
    // By ss, who listens on Windows.
    let heard = world.listener(Place::Windows, "t", 2222)?;
    ensure!(
        heard.program == "wslmesh-relay" && detail(&found, 4).ends_with(&heard.at),
        "{heard:?}: {found:#}"
    );
    let page = world.cli(&["forward", "test", "ssh"])?;
    let words = [
        "forward \"ssh\": tcp 0.0.0.0:2222 on Windows to port 22 here",
        "  1 ok         service: ",
        "  3 ok         service from Windows: 172.28.16.5:22 (",
        "  6 ok         Windows' firewall: let in by",
        "Every hop answers; run `wslmesh port 2222 --host",
    ];
    said(&page, 0, &words)?;
    // Nothing was changed, and the service is there.
    agent.healthy()?;
    world.reached(2222)?;
    let near = world.cli(&["forward", "test", "shs"])?;
    said(
        &near,
        2,
        &["no forward is called \"shs\": did you mean \"ssh\"?"],
    )?;
    let port = world.cli(&["forward", "test", "ssh", "--port", "22"])?;
    said(&port, 2, &["does not listen on port 22: it has 2222"])?;
    agent.stop()?;
    // Without an agent the configuration says what there should be.
    world.closed(Place::Windows, "t", 2222)?;
    let words = "the agent is not running, so the forward \"ssh\" follows no address. Run `sudo systemctl start wslmesh`";
    tests(world, &["ssh"], "kkkF-k", words)?;
    Ok(())
}

/// The forward "web" from 8080, within the policy.
fn web<'w>(world: &'w World, more: &str) -> Result<Agent<'w>> {
    let grants = vec![grant(Protocol::Tcp, (8080, 8090), (8080, 8090))];
    world.windows().install(&policy(grants))?;
    let agent = world.start_agent(&format!("{}{more}", WEB))?;
    agent.settled(FIRST)?;
    Ok(agent)
}

const WEB: &str = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 8080\n";

fn service_here(world: &World) -> Result<()> {
    let agent = web(world, "")?;
    let words = "Hop 1 fails (service): no service listens on tcp port 8080";
    tests(world, &["web"], "F--k-k", words)?;
    let local = world.echo(Place::Guest, "127.0.0.1:8080")?;
    let words = "listens on 127.0.0.1 only, which packets to 172.28.16.5:8080 do not reach. Let the service listen on 0.0.0.0";
    tests(world, &["web"], "F--k-k", words)?;
    drop(local);
    world.closed(Place::Guest, "t", 8080)?;
    let _web = world.echo(Place::Guest, "0.0.0.0:8080")?;
    tests(world, &["web"], "kkkkkk", "Every hop answers")?;
    agent.stop()
}

/// Adds a rule of the guest's packet filter.
pub(crate) fn filter(world: &World, rule: &str) -> Result<()> {
    let table =
        "nft add table inet t; nft add chain inet t c '{ type filter hook input priority 0; }'";
    world
        .shell(&format!("{table}; nft add rule inet t c {rule}"))
        .map(drop)
}

fn packet_filter(world: &World) -> Result<()> {
    let agent = served(world)?;
    filter(world, "tcp dport 22 reject with tcp reset")?;
    let words = "172.28.16.5:22 refuses connections. Look at the packet filter";
    tests(world, &["ssh"], "kF-k-k", words)?;
    world.shell("nft delete table inet t")?;
    // From Windows alone.
    filter(world, "iifname eth0 tcp dport 22 drop")?;
    let words = "Hop 3 fails (service from Windows): 172.28.16.5:22 answers here, and from Windows it does not answer (timed out)";
    tests(world, &["ssh"], "kkFk-k", words)?;
    agent.stop()
}

fn on_windows(world: &World) -> Result<()> {
    let windows = world.windows();
    let grants = vec![grant(Protocol::Tcp, (2222, 2222), (22, 22))];
    windows.install(&policy(grants))?;
    let nginx = world.echo(Place::Windows, "0.0.0.0:2222")?;
    let port = Port {
        protocol: Protocol::Tcp,
        forbidden: false,
        owner: Some("nginx (1234)".to_owned()),
    };
    windows.set(|now| drop(now.ports.insert(2222, port)))?;
    let agent = world.start_agent(OPEN)?;
    agent.raised("forward-taken")?;
    let words = "Hop 4 fails (port on Windows): on Windows nginx (1234) listens on 0.0.0.0:2222. Stop or reconfigure that program";
    tests(world, &["ssh"], "kkkF-k", words)?;
    drop(nginx);
    agent.stop()
}

/// A relay that is not installed.
fn loopback_alone(world: &World) -> Result<()> {
    world.windows().set_elevated(false)?;
    let agent = world.start_agent(OPEN)?;
    agent.raised("relay-loopback")?;
    agent.wait("the relay", |status| status.serves("relay", &["ssh"]))?;
    let words = "Hop 6 fails (Windows' firewall): the relay listens on 127.0.0.1 alone until it is installed on Windows, so no other machine reaches it. Run `wslmesh host install`";
    let found = tests(world, &["ssh"], "kkkkkF", words)?;
    ensure!(detail(&found, 5) == "127.0.0.1:2222", "{found:#}");
    agent.stop()
}

/// Windows connects to the guest, and the relay does not: it accepts a client and has no
/// service for it.
fn dropped(world: &World) -> Result<()> {
    let agent = served(world)?;
    // The guest takes Windows' own connection, and none after it.
    let first = "limit rate over 1/minute burst 1 packets";
    filter(
        world,
        &format!("iifname eth0 tcp dport 22 tcp flags syn {first} reject with tcp reset"),
    )?;
    let words = "accepts a connection and closes it at once, which the service does not";
    tests(world, &["ssh"], "kkkkFk", words)?;
    agent.stop()
}

fn proxy_header(world: &World) -> Result<()> {
    let agent = web(world, "proxy-protocol = \"v2\"\n")?;
    for (kind, expected, words) in [
        (
            "banner",
            "kF-k-k",
            "the service closed the connection after the PROXY header: it likely does not know it. Set proxy-protocol only for services that read it (nginx: `listen ... proxy_protocol`)",
        ),
        (
            "http",
            "kF-k-k",
            "the service answered \"400\" by HTTP to the PROXY header",
        ),
        ("silent", "kkkkkk", "Every hop answers"),
        ("header", "kkkkkk", "Every hop answers"),
    ] {
        let service = serving(world, kind, "0.0.0.0:8080")?;
        tests(world, &["web"], expected, words).context(kind)?;
        drop(service);
        world.closed(Place::Guest, "t", 8080)?;
    }
    // The other way round.
    agent.reload(WEB)?;
    agent.settled(FIRST)?;
    let _service = serving(world, "header", "0.0.0.0:8080")?;
    // Until the relay has the new configuration it sends the header.
    let found = until("a hint", LIMIT, || {
        Ok(tests(world, &["web"], "kkkk?k", "hop 5 is not known").ok())
    })?;
    let hint = found.pointer("/findings/0/code").and_then(Value::as_str);
    ensure!(hint == Some("header-expected"), "{found:#}");
    agent.stop()
}

/// The relay's counters are had by the bus alone.
fn udp(world: &World) -> Result<()> {
    let daemon = world.start_bus()?;
    world.windows().install(&crate::installed::policy())?;
    let agent = world.start_agent(TUNNEL)?;
    agent.wait("the relay", |status| status.serves("relay", &["wg"]))?;
    tests(
        world,
        &["wg"],
        "F--k-k",
        "no service listens on udp port 51821",
    )?;
    let service = world.station(Place::Guest, INSIDE)?;
    let client = world.station(Place::Lan, "0.0.0.0:40000")?;
    let source = client
        .reaches(crate::installed::listen()?, &service, "hello")?
        .from;
    let found = tests(world, &["wg"], "k??kkk", "hop 2 is not known")?;
    ensure!(
        detail(&found, 5).contains("the relay took a datagram to 127.0.0.1:51820"),
        "{found:#}"
    );
    // The service gets an empty datagram, and the session of its client is as it was.
    let again = client
        .reaches(crate::installed::listen()?, &service, "again")?
        .from;
    ensure!(again == source, "{source} became {again}");
    drop(daemon);
    until("no counters", LIMIT, || {
        let status = world.cli(&["status"])?;
        Ok(status.stdout.contains("status.json").then_some(()))
    })?;
    tests(world, &["wg"], "k??k?k", "hop 2 is not known")?;
    agent.stop()
}

fn range(world: &World) -> Result<()> {
    let range = WEB.replace("8080", "\"8080-8090\"");
    let grants = vec![grant(Protocol::Tcp, (8080, 8090), (8080, 8090))];
    world.windows().install(&policy(grants))?;
    let agent = world.start_agent(&range)?;
    agent.settled(FIRST)?;
    let _web = world.echo(Place::Guest, "0.0.0.0:8083")?;
    let found = tests(world, &["web"], "kkkkkk", "Every hop answers")?;
    let port = found.get("listen-port").and_then(Value::as_u64);
    ensure!(port == Some(8083), "{found:#}");
    tests(world, &["web", "--port", "8090"], "F--k-k", "tcp port 8090")?;
    let page = world.cli(&["forward", "test", "web"])?;
    said(&page, 0, &["here (one of 8080-8090;"])?;
    let outside = world.cli(&["forward", "test", "web", "--port", "9000"])?;
    said(
        &outside,
        2,
        &["forward \"web\" does not listen on port 9000: it has 8080-8090"],
    )?;
    agent.stop()
}

/// The leader knows the forwards of the others, and a forward that has lost its port.
fn members(world: &World) -> Result<()> {
    world.windows().install(&crate::installed::policy())?;
    let leader = agent(world, "Ubuntu", &forward("ssh", 2222, 22))?;
    leader.wait("its own forward", |status| status.serves("relay", &["ssh"]))?;
    let config = [forward("web", 8080, 22), forward("lost", 2222, 22)].concat();
    let debian = standby(world, "Debian", &config)?;
    leader.wait("the others", |status| {
        let up = status.served.iter().filter(|one| one.state == "up");
        status.served.len() == 3 && up.count() == 2
    })?;
    world.reached(8080)?;
    let test = |of: &str, name: &str| {
        let runtime = format!("RUNTIME_DIRECTORY=/run/{of}");
        let argv = [
            "env",
            &runtime,
            crate::options::AGENT,
            "--config",
            CONFIG,
            "forward",
            "test",
            name,
        ];
        world.guest(&argv)
    };
    said(
        &test("Ubuntu", "Debian/web")?,
        0,
        &["forward \"Debian/web\"", "5 ok"],
    )?;
    said(
        &test("Ubuntu", "Debian/wbe")?,
        2,
        &["did you mean \"Debian/web\"?"],
    )?;
    let lost = ["Hop 4 fails (port on Windows)", "Ubuntu"];
    said(&test("Ubuntu", "Debian/lost")?, 1, &lost)?;
    said(&test("Debian", "lost")?, 1, &lost)?;
    said(&test("Debian", "web")?, 0, &["forward \"web\"", "5 ok"])?;
    debian.stop()?;
    leader.stop()
}

/// The command ends although Windows does not.
fn hangs(world: &World) -> Result<()> {
    let agent = served(world)?;
    world.windows().set_fault(Fault::Hang)?;
    let begun = Instant::now();
    let found = tests(
        world,
        &["ssh", "--timeout", "3"],
        "kk?",
        "hop 3 is not known",
    )?;
    ensure!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    ensure!(
        detail(&found, 3).contains("the agent says that it is up"),
        "{found:#}"
    );
    world.windows().clear_fault()?;
    agent.stop()
}

/// The relay is in here, and Windows' own ports are this distribution's.
fn in_mirrored(world: &World) -> Result<()> {
    let agent = world.start_agent(OPEN)?;
    agent.wait("the relay", |status| status.serves("relay", &["ssh"]))?;
    let rule = Some(firewall_rule(true, Some(2222)));
    world.windows().put_firewall("by hand", rule)?;
    let words = "Hop 5 fails (forward from Windows): on Windows 127.0.0.1:2222 refuses connections";
    let found = tests(world, &["ssh"], "kkkkFk", words)?;
    ensure!(detail(&found, 3) == "it listens on tcp 2222", "{found:#}");
    // The lab's 127.0.0.1 does not lead into the guest, as it does in mirrored mode.
    let loopback = world.echo(Place::Windows, "127.0.0.1:2222")?;
    tests(world, &["ssh"], "kkkkkk", "Every hop answers")?;
    drop(loopback);
    agent.stop()?;
    let words = "Hop 3 fails (relay in this distribution)";
    tests(world, &["ssh"], "kkFk-k", words)?;
    Ok(())
}
