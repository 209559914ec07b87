//! `wslmesh forward add`, `remove` and `list` on a Windows whose policy allows some
//! ports.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::agent::{Agent, CONFIG, LIMIT, PROXY};
use crate::contract::{Firewall, Grant, Protocol};
use crate::double::machine::{FirewallRule, ME};
use crate::double::situation::Elevation;
use crate::options::Options;
use crate::runner::trial_with;
use crate::setup::{OPEN, grant, others, policy, proxied, said};
use crate::topology::{FIRST, Place};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("host_forward::inside_the_policy", inside),
        quick("host_forward::outside_the_policy", outside),
        quick("host_forward::allowed_otherwise", otherwise),
        quick("host_forward::removed", removed),
        quick("host_forward::listed", listed),
        quick("host_forward::five_hundred", five_hundred),
        quick("host_forward::port_range", port_range),
        quick("host_forward::port_range_by_portproxy", range_by_portproxy),
        quick("host_forward::proxy_protocol", proxy_protocol),
    ]
}

/// Ports that lead to the service of the guest.
const RANGE: (u16, u16) = (8000, 8010);

fn installed(world: &World) -> Result<Agent<'_>> {
    others(world)?;
    let grants = vec![
        grant(Protocol::Tcp, (2222, 2222), (22, 22)),
        grant(Protocol::Tcp, RANGE, (22, 22)),
    ];
    world.windows().install(&policy(grants))?;
    let agent = world.start_agent(OPEN)?;
    agent.settled(FIRST)?;
    Ok(agent)
}

fn add<'a>(name: &'a str, port: &'a str) -> Vec<&'a str> {
    let options = ["--protocol", "tcp", "--connect-port", "22", "--listen-port"];
    [&["forward", "add", name][..], &options, &[port]].concat()
}

/// No person could be asked, and none has to be: nothing that Windows keeps changes.
fn inside(world: &World) -> Result<()> {
    let agent = installed(world)?;
    let before = world.windows().view()?;
    world
        .windows()
        .set(|now| now.elevation = Elevation::NoDesktop)?;
    let output = world.cli(&add("web", "8005"))?;
    said(
        &output,
        0,
        &["forward-web.toml", "reloads its configuration"],
    )?;
    world.reached(8005)?;
    agent.healthy()?;
    let view = world.windows().view()?;
    ensure!(view.machine == before.machine, "{:#?}", view.machine);
    let rule = format!("wslmesh-{ME}-tcp-8000-8010-relay");
    ensure!(view.machine.firewall.contains_key(&rule));
    ensure!(view.task_runs.is_empty(), "{:?}", view.task_runs);
    let asked = view.calls.iter().any(|call| call.outcome == "installed");
    ensure!(!asked, "{:#?}", view.calls);
    // The same once more is no error; another one of the name is.
    said(&world.cli(&add("web", "8005"))?, 0, &["already"])?;
    let output = world.cli(&add("web", "8006"))?;
    said(&output, 1, &["forward-web.toml"])?;
    let output = world.cli(&add("twin", "8005"))?;
    said(&output, 1, &["web"])?;
    agent.stop()
}

/// The policy is changed where the person and Windows agree, and only then.
fn outside(world: &World) -> Result<()> {
    let agent = installed(world)?;
    let before = world.windows().view()?.machine.policy(ME).cloned();
    let output = world.cli(&[&add("a", "9000")[..], &["--no-install"]].concat())?;
    said(
        &output,
        3,
        &["does not allow these ports", "wslmesh host install"],
    )?;
    let found = agent.raised("forward-outside-policy")?;
    ensure!(
        found.subject == "a" && found.detail.contains("9000"),
        "{found:?}"
    );
    // No terminal to ask in; no; a refusal at the desktop.
    let again = add("a", "9000");
    said(&world.cli(&again)?, 3, &["there is no terminal"])?;
    let line = again.join(" ");
    let output = world.cli_at_terminal(&line, "n\n")?;
    said(&output, 3, &["Go on? [y/N]", "nothing was changed"])?;
    world
        .windows()
        .set(|now| now.elevation = Elevation::Declined)?;
    let with_yes = [&again[..], &["--yes"]].concat();
    said(&world.cli(&with_yes)?, 3, &["prompt was declined"])?;
    let machine = world.windows().view()?.machine;
    ensure!(machine.policy(ME).cloned() == before);
    // The relay serves it, and Windows lets no client in there.
    let open = |rule: &FirewallRule| rule.ports.is_some_and(|(a, b)| (a..=b).contains(&9000));
    ensure!(!machine.firewall.values().any(open), "{machine:#?}");
    world
        .windows()
        .set(|now| now.elevation = Elevation::Granted)?;
    let output = world.cli_at_terminal(&line, "y\n")?;
    said(
        &output,
        0,
        &["Go on? [y/N]", "9000", "installed on Windows"],
    )?;
    world.reached(9000)?;
    agent.healthy()?;
    let policy = world.windows().view()?.machine.policy(ME).cloned();
    let policy = policy.context("no policy")?;
    ensure!(
        policy.covering(Protocol::Tcp, 9000, 22).is_some(),
        "{policy:#?}"
    );
    agent.stop()
}

/// The policy allows the ports, on another address and with another firewall.
fn otherwise(world: &World) -> Result<()> {
    others(world)?;
    let grants = vec![
        Grant {
            listen_address: "192.168.50.10".parse()?,
            ..grant(Protocol::Tcp, (2222, 2222), (22, 22))
        },
        Grant {
            firewall: Firewall::None,
            ..grant(Protocol::Tcp, (8000, 8000), (22, 22))
        },
    ];
    world.windows().install(&policy(grants))?;
    let agent = world.start_agent("")?;
    let before = world.windows().view()?.machine;
    for (name, port, words) in [
        ("a", "2222", "on another address"),
        ("b", "8000", "with another firewall"),
    ] {
        let output = world.cli(&[&add(name, port)[..], &["--no-install"]].concat())?;
        said(&output, 3, &[words])?;
    }
    let reported = |name: &'static str| {
        agent.wait(name, |status| {
            let mut health = status.health.iter();
            health.any(|one| one.code == "forward-outside-policy" && one.subject == name)
        })
    };
    reported("a")?;
    reported("b")?;
    ensure!(world.windows().view()?.machine == before);
    agent.stop()
}

/// Rule and firewall rule of the port proxy go with the forward; nothing else does.
fn removed(world: &World) -> Result<()> {
    others(world)?;
    let grants = vec![proxied((2222, 2222), (22, 22)), proxied(RANGE, (22, 22))];
    world.windows().install(&policy(grants))?;
    let agent = world.start_agent(&[PROXY, OPEN].concat())?;
    agent.settled(FIRST)?;
    let before = world.windows().snapshot()?.without_messages();
    said(&world.cli(&add("web", "8005"))?, 0, &[])?;
    world.reached(8005)?;
    agent.healthy()?;
    let output = world.cli(&["forward", "remove", "web"])?;
    said(&output, 0, &["removed", "reloads its configuration"])?;
    until("Windows as before", LIMIT, || {
        let now = world.windows().snapshot()?.without_messages();
        Ok(now.is(&before).ok())
    })?;
    world.unreachable(8005)?;
    // What was written by hand is named and left.
    let output = world.cli(&["forward", "remove", "ssh"])?;
    said(&output, 1, &[CONFIG])?;
    said(&world.cli(&["forward", "remove", "web"])?, 1, &["web"])?;
    world.windows().snapshot()?.without_messages().is(&before)?;
    world.reached(2222)?;
    agent.stop()
}

fn rows(world: &World, code: i32) -> Result<Vec<Value>> {
    let output = world.cli(&["forward", "list", "--json"])?;
    said(&output, code, &[])?;
    Ok(serde_json::from_str(&output.stdout)?)
}

fn is(row: &Value, place: &str, text: &str) -> bool {
    row.pointer(place).and_then(Value::as_str) == Some(text)
}

fn listed(world: &World) -> Result<()> {
    let agent = installed(world)?;
    let row = |rows: &[Value], name: &str| {
        let found = rows.iter().find(|row| is(row, "/name", name));
        found.cloned().with_context(|| format!("{rows:#?}"))
    };
    let found = row(&rows(world, 0)?, "ssh")?;
    ensure!(
        is(&found, "/backend", "relay")
            && is(&found, "/state", "up")
            && is(&found, "/listen", "0.0.0.0:2222"),
        "{found:#}"
    );
    world
        .windows()
        .put_foreign("0.0.0.0:8003".parse()?, "10.9.8.7/80")?;
    said(&world.cli(&add("taken", "8003"))?, 0, &[])?;
    agent.raised("forward-taken")?;
    let all = rows(world, 3)?;
    let found = row(&all, "taken")?;
    ensure!(
        is(&found, "/state", "down") && is(&found, "/health/0", "forward-taken"),
        "{found:#}"
    );
    ensure!(is(&row(&all, "ssh")?, "/state", "up"), "{all:#?}");
    let output = world.cli(&["forward", "list"])?;
    said(&output, 3, &["NAME", "ssh", "relay", "forward-taken"])?;
    agent.stop()?;
    ensure!(is(&row(&rows(world, 0)?, "ssh")?, "/state", "no agent"));
    Ok(())
}

/// A second service, beside that on port 22.
fn service<'w>(world: &'w World, address: &str) -> Result<crate::process::Process<'w>> {
    world.echo(Place::Guest, address)
}

/// One forward, one grant, and each port leads to its own.
fn port_range(world: &World) -> Result<()> {
    others(world)?;
    let udp = grant(Protocol::Udp, (6000, 6002), (7000, 7002));
    let grants = vec![grant(Protocol::Tcp, (8010, 8030), (12, 32)), udp];
    world.windows().install(&policy(grants))?;
    let tunnel = "[[forward]]\nname = \"games\"\nprotocol = \"udp\"\nlisten-port = \"6000-6002\"\n\
                  connect-port = \"7000-7002\"\n";
    let agent = world.start_agent(tunnel)?;
    let add = |name: &str, listen: &str, connect: &str| {
        let options = [
            "--protocol",
            "tcp",
            "--listen-port",
            listen,
            "--connect-port",
            connect,
        ];
        world.cli(&[&["forward", "add", name][..], &options].concat())
    };
    said(
        &add("web", "8030-8010", "12-32")?,
        2,
        &["write the lower number first"],
    )?;
    said(
        &add("web", "8010-8030", "12-31")?,
        1,
        &["12-31 is 20 ports", "is 21 ports"],
    )?;
    said(&add("web", "8010-8030", "12-32")?, 0, &["forward-web.toml"])?;
    let _second = service(world, "0.0.0.0:32")?;
    world.reached(8020)?;
    world.reached(8030)?;
    world.unreachable(8021)?;
    agent.healthy()?;
    for (listen, connect) in [(6000, 7000), (6002, 7002)] {
        let inside = world.station(Place::Guest, &format!("0.0.0.0:{connect}"))?;
        let client = world.station(Place::Lan, "0.0.0.0:0")?;
        client.reaches(format!("192.168.50.10:{listen}").parse()?, &inside, "hello")?;
    }
    let machine = world.windows().view()?.machine;
    let rule = format!("wslmesh-{ME}-tcp-8010-8030-relay");
    ensure!(
        machine.firewall.contains_key(&rule),
        "{:#?}",
        machine.firewall
    );
    let web = |code| -> Result<Value> {
        let rows = rows(world, code)?;
        ensure!(rows.len() == 2, "{rows:#?}");
        let web = rows.into_iter().find(|row| is(row, "/name", "web"));
        web.context("no web")
    };
    agent.wait("both", |status| {
        status.served.len() == 2 && status.serves("relay", &["web", "games"])
    })?;
    let row = web(0)?;
    ensure!(
        is(&row, "/listen", "0.0.0.0:8010-8030")
            && is(&row, "/state", "up")
            && row.pointer("/ports") == Some(&Value::from(21))
            && row.pointer("/answers") == Some(&Value::from(true)),
        "{row:#}"
    );
    let output = world.cli(&["forward", "list"])?;
    said(
        &output,
        0,
        &["0.0.0.0:8010-8030", "12-32", "0.0.0.0:6000-6002"],
    )?;
    said(
        &world.cli(&["status"])?,
        0,
        &["tcp 0.0.0.0:8010-8030 -> 12-32"],
    )?;
    let words = "listen-port 8015 tcp overlaps listen-port 8010-8030 of forward \"web\"";
    said(&add("x", "8015", "22")?, 1, &[words])?;
    // One of its ports is another program's.
    said(&world.cli(&["forward", "remove", "web"])?, 0, &[])?;
    world.closed(Place::Windows, "t", 8025)?;
    world
        .windows()
        .put_foreign("0.0.0.0:8025".parse()?, "10.9.8.7/80")?;
    said(&add("web", "8010-8030", "12-32")?, 0, &[])?;
    let found = agent.raised("forward-taken")?;
    ensure!(
        found.subject == "web" && found.detail.contains("8025") && !found.detail.contains(';'),
        "{found:?}"
    );
    world.reached(8020)?;
    agent.wait("the port", |status| {
        let mut served = status.served.iter();
        served.any(|one| one.name == "web" && one.state == "down")
    })?;
    let row = web(3)?;
    ensure!(
        is(&row, "/state", "down") && is(&row, "/state-ports", "8025"),
        "{row:#}"
    );
    said(&world.cli(&["forward", "list"])?, 3, &["down (8025)"])?;
    agent.stop()
}

/// The port proxy has no ranges: one rule for each port.
fn range_by_portproxy(world: &World) -> Result<()> {
    others(world)?;
    world
        .windows()
        .install(&policy(vec![proxied((8010, 8030), (12, 32))]))?;
    let config = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = \"8010-8030\"\n\
                  connect-port = \"12-32\"\n";
    let agent = world.start_agent(&[PROXY, config].concat())?;
    agent.settled(FIRST)?;
    let _second = service(world, "0.0.0.0:12")?;
    world.reached(8020)?;
    world.reached(8010)?;
    let view = world.windows().view()?;
    ensure!(view.ledger.len() == 21, "{} rules", view.ledger.len());
    ensure!(view.task_runs == ["synced"], "{:?}", view.task_runs);
    let rows = rows(world, 0)?;
    let [row] = rows.as_slice() else {
        anyhow::bail!("{rows:#?}");
    };
    ensure!(
        is(row, "/backend", "portproxy") && is(row, "/state", "up"),
        "{row:#}"
    );
    agent.stop()
}

/// The service's own log names the client in the LAN and the address of Windows that it
/// connected to: nginx where there is one, else the first bytes that a program reads.
fn proxy_protocol(world: &World) -> Result<()> {
    others(world)?;
    let grants = vec![Grant {
        backend: crate::contract::Backend::Relay,
        ..grant(Protocol::Tcp, (8080, 8080), (9080, 9080))
    }];
    world.windows().install(&policy(grants))?;
    let agent = world.start_agent("")?;
    let add = |more: &[&str]| {
        let options = [
            "--listen-port",
            "8080",
            "--connect-port",
            "9080",
            "--proxy-protocol",
            "v2",
        ];
        world.cli(&[&["forward", "add", "web"][..], &options, more].concat())
    };
    let refused = add(&["--protocol", "udp"])?;
    said(&refused, 1, &["proxy-protocol is for TCP"])?;
    let refused = add(&["--protocol", "tcp", "--backend", "portproxy"])?;
    said(&refused, 1, &["portproxy writes no PROXY header"])?;
    said(&add(&["--protocol", "tcp"])?, 0, &["forward-web.toml"])?;
    agent.wait("the relay", |status| status.serves("relay", &["web"]))?;
    agent.healthy()?;
    let has_nginx = world.guest(&["sh", "-c", "command -v nginx"])?.success();
    let (service, log) = if has_nginx {
        let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let folders = folders.map(|one| format!("{one}_temp_path /run/lab/{one};"));
        let conf = "daemon off; pid /run/lab/nginx.pid; error_log stderr; events {} http { FOLDERS\n\
            log_format client '$proxy_protocol_addr $proxy_protocol_port to \
            $proxy_protocol_server_addr $proxy_protocol_server_port from $remote_addr';\n\
            access_log /run/lab/nginx.log client;\n\
            server { listen 9080 proxy_protocol; location / { return 204; } } }\n";
        let conf = conf.replace("FOLDERS", &folders.concat());
        world.write("/run/lab/nginx.conf", conf)?;
        let argv = ["nginx", "-e", "stderr", "-c", "/run/lab/nginx.conf"];
        (world.spawn(Place::Guest, &argv, &[])?, "/run/lab/nginx.log")
    } else {
        let argv = [
            "/init",
            crate::ROLE,
            crate::talker::PROXIED,
            "0.0.0.0:9080",
            "/run/lab/seen",
        ];
        (world.spawn(Place::Guest, &argv, &[])?, "/run/lab/seen")
    };
    let role = [
        "/init",
        crate::ROLE,
        crate::talker::REQUEST,
        "192.168.50.10:8080",
    ];
    let mut logged = String::new();
    let seen = until("the client's address", LIMIT, || {
        let asked = world.run(Place::Lan, &role, b"")?;
        let expected = format!(
            "192.168.50.20 {} to 192.168.50.10 8080 from {}",
            asked.stdout.trim(),
            crate::topology::GATEWAY
        );
        logged = world.read(log).unwrap_or_default();
        Ok(logged.lines().any(|line| line == expected).then_some(()))
    });
    seen.with_context(|| format!("{logged}{}", service.stderr().unwrap_or_default()))?;
    agent.stop()
}

/// Whatever their number, the task is started once.
fn five_hundred(world: &World) -> Result<()> {
    others(world)?;
    world.windows().install(&policy(vec![Grant {
        firewall: Firewall::None,
        ..proxied((10_000, 10_499), (22, 22))
    }]))?;
    let config: String = (0..500)
        .map(|index| crate::agent::forward(&format!("f{index}"), 10_000 + index, 22))
        .collect();
    let agent = world.start_agent(&[PROXY, &config].concat())?;
    agent.settled(FIRST)?;
    let view = world.windows().view()?;
    ensure!(view.ledger.len() == 500, "{} rules", view.ledger.len());
    ensure!(view.task_runs == ["synced"], "{:?}", view.task_runs);
    world.reached(10_499)?;
    agent.stop()
}
