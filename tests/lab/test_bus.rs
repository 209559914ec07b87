//! The agent on D-Bus: properties, methods, signals.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::join_all;
use libtest_mimic::Trial;
use zbus::{Connection, OwnedVariant};

use crate::agent::{Agent, CONFIG, FILE, SSH, config};
use crate::control::Status;
use crate::dbus::{call, get, heard, listen, refused, talk};
use crate::options::Options;
use crate::process::HUP;
use crate::runner::trial_with;
use crate::topology::{FIRST, GUEST_ADDRESS};
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("bus::properties", properties),
        quick("bus::address_change", address_change),
        quick("bus::health", health),
        quick("bus::forwards_come_and_go", forwards_come_and_go),
        quick("bus::import", import),
        quick("bus::reload_and_reapply", reload_and_reapply),
        quick("bus::wrong_arguments", wrong_arguments),
    ]
}

fn started(world: &World) -> Result<Agent<'_>> {
    let agent = world.start_agent(&config(SSH))?;
    agent.settled(FIRST)?;
    Ok(agent)
}

fn properties(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let agent = started(world)?;
    talk(async {
        let bus = world.agent_on_the_bus().await?;
        for (property, value) in [
            ("Version", env!("CARGO_PKG_VERSION")),
            ("Role", "active"),
            ("Mode", "nat"),
            ("Interface", "eth0"),
            ("Address", FIRST),
            ("Gateway", "172.28.16.1"),
            ("WindowsAddress", "192.168.50.10"),
            ("NetworkFile", FILE),
            ("HealthState", "healthy"),
        ] {
            let found: String = get(&bus, property).await?;
            ensure!(found == value, "{property}: {found:?}");
        }
        let forwards: Vec<HashMap<String, OwnedVariant>> = call(&bus, "ListForwards", &()).await?;
        let [ssh] = forwards.as_slice() else {
            bail!("{forwards:?}")
        };
        let text = |key: &str| ssh.get(key).map(|value| format!("{}", **value));
        ensure!(
            text("name").as_deref() == Some("\"ssh\"")
                && text("listen-port").as_deref() == Some("uint16 2222")
                && text("state").as_deref() == Some("\"up\""),
            "{ssh:?}"
        );
        let text: String = call(&bus, "Describe", &()).await?;
        let described: serde_json::Value = serde_json::from_str(&text)?;
        let status: serde_json::Value =
            serde_json::from_slice(&std::fs::read(world.path("/run/wslmesh/status.json"))?)?;
        // It may have more than the file.
        for (key, value) in status.as_object().context("a document")? {
            ensure!(described.get(key) == Some(value), "{key}: {described}");
        }
        ensure!(get::<u64>(&bus, "Passes").await? == agent.settled(FIRST)?.passes);
        Ok(())
    })
}

fn names(said: &[(String, String)]) -> Vec<&str> {
    said.iter().map(|(name, _)| name.as_str()).collect()
}

fn address_change(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    talk(async {
        let mut signals = listen(&world.bus().await?).await?;
        let agent = started(world)?;
        // Windows' answer may come at any time after the start: it is waited for.
        let answered =
            |name: &str, body: &str| name == "Changed" && body.contains("WINDOWS_HOST_IP");
        heard(&mut signals, answered).await?;
        let up = |name: &str, body: &str| name == "PropertiesChanged" && body.contains("\"up\"");
        heard(&mut signals, up).await?;
        // Passes that change nothing say nothing: the first signal is the change's.
        for _ in 0..2 {
            let passes = agent.settled(FIRST)?.passes;
            world.flap(GUEST_ADDRESS)?;
            agent.pass_after(passes)?;
        }
        world.change_address("172.19.3.4/20")?;
        let said = heard(&mut signals, |name, _| name == "Changed").await?;
        ensure!(
            names(&said) == ["PropertiesChanged", "AddressChanged", "Changed"],
            "{said:#?}"
        );
        for (at, wanted) in [
            (0, "\"Address\": <\"172.19.3.4\">"),
            (0, "\"Gateway\": <\"172.19.0.1\">"),
            (1, "(\"eth0\", \"172.28.16.5\", \"172.19.3.4\")"),
            (2, "([\"eth0 address 172.28.16.5 -> 172.19.3.4\", "),
            (2, "rewrite /etc/wslmesh/wsl-network.conf"),
        ] {
            let found = said.get(at).is_some_and(|(_, body)| body.contains(wanted));
            ensure!(found, "{wanted} is not in signal {at}: {said:#?}");
        }
        for unchanged in ["Mode", "Role", "Version", "NetworkFile", "HealthState"] {
            ensure!(
                !said
                    .iter()
                    .any(|(_, body)| body.contains(&format!("\"{unchanged}\"")))
            );
        }
        // Windows' answer comes later, and is one more.
        let said = heard(&mut signals, up).await?;
        ensure!(
            said.iter()
                .all(|(name, body)| name != "PropertiesChanged" || !body.contains("Address\"")),
            "{said:#?}"
        );
        Ok(())
    })
}

fn health(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let _agent = started(world)?;
    talk(async {
        let bus = world.agent_on_the_bus().await?;
        let mut signals = listen(&bus).await?;
        world.link_down()?;
        let raised = |name: &str, body: &str| {
            name == "HealthRaised" && body.starts_with("(\"no-interface\", \"error\", ")
        };
        let said = heard(&mut signals, raised).await?;
        let state = |state: &str| format!("\"HealthState\": <\"{state}\">");
        ensure!(
            said.iter()
                .any(|(_, body)| body.contains(&state("degraded"))),
            "{said:#?}"
        );
        ensure!(get::<String>(&bus, "HealthState").await? == "degraded");
        world.link_up(GUEST_ADDRESS)?;
        let cleared = |name: &str, body: &str| {
            name == "HealthCleared" && body.starts_with("(\"no-interface\", ")
        };
        let said = heard(&mut signals, cleared).await?;
        ensure!(
            said.iter()
                .any(|(_, body)| body.contains(&state("healthy"))),
            "{said:#?}"
        );
        Ok(())
    })
}

fn forwards_come_and_go(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let agent = started(world)?;
    talk(async {
        let bus = world.agent_on_the_bus().await?;
        let web = ("web", "tcp", "", 8080_u16, 0_u16, "none");
        let path: String = call(&bus, "AddForward", &web).await?;
        ensure!(path == format!("{CONFIG}.d/forward-web.toml"), "{path}");
        // The forward is in force when the call returns.
        let text: String = call(&bus, "Describe", &()).await?;
        ensure!(text.contains("\"name\":\"web\""), "{text}");
        world.forwards(&[(2222, FIRST, 22), (8080, FIRST, 8080)])?;
        // Again is no error; another one of the same name or port is.
        call::<_, String>(&bus, "AddForward", &web).await?;
        let other = ("web", "tcp", "", 8081_u16, 0_u16, "none");
        let error = refused(&bus, "AddForward", &other).await?;
        ensure!(
            error.contains("Error.Forward") && error.contains("exists already"),
            "{error}"
        );
        let other = ("other", "tcp", "", 2222_u16, 0_u16, "none");
        let error = refused(&bus, "AddForward", &other).await?;
        ensure!(
            error.contains("Error.Forward") && error.contains("taken by forward"),
            "{error}"
        );
        let error = refused(&bus, "RemoveForward", &"ssh").await?;
        ensure!(error.contains("was not made by"), "{error}");
        ensure!(call::<_, String>(&bus, "RemoveForward", &"web").await? == path);
        ensure!(!world.path(&path).exists());
        world.forwards(&[(2222, FIRST, 22)])?;
        let error = refused(&bus, "RemoveForward", &"web").await?;
        ensure!(error.contains("there is no forward"), "{error}");
        // Many at once: each file is whole, and each call has its own answer.
        let names: Vec<String> = (0..6).map(|n| format!("f{n}")).collect();
        let calls = names.iter().zip(9000_u16..).map(|(name, port)| {
            let arguments = (name.as_str(), "tcp", "", port, 0_u16, "none");
            let bus = &bus;
            async move { call::<_, String>(bus, "AddForward", &arguments).await }
        });
        for (answer, name) in join_all(calls).await.into_iter().zip(&names) {
            ensure!(answer?.ends_with(&format!("forward-{name}.toml")));
        }
        let text: String = call(&bus, "Describe", &()).await?;
        ensure!(names.iter().all(|name| text.contains(name)), "{text}");
        Ok(())
    })?;
    agent.settled(FIRST)?;
    Ok(())
}

/// `config import` writes the drop-in itself, and the agent takes it up over the bus.
fn import(world: &World) -> Result<()> {
    const THEIRS: &str = "/run/lab/wsl2.json";
    let drop_in = format!("{CONFIG}.d/50-imported.toml");
    let _daemon = world.start_bus()?;
    let _agent = started(world)?;
    let run = |more: &[&str]| {
        let import = [
            "config",
            "import",
            "--config",
            CONFIG,
            "--instance",
            "dev",
            THEIRS,
        ];
        world.wslmesh(&[&import, more].concat())
    };
    let ports =
        |ports: &str| format!(r#"{{"instances": [{{"name": "Dev", "ports": [{ports}]}}]}}"#);
    world.write(THEIRS, ports(r#"{"port": 8080}"#))?;
    talk(async {
        let bus = world.agent_on_the_bus().await?;
        let described = async || call::<_, String>(&bus, "Describe", &()).await;
        // What is wrong is said before anything is written.
        world.write(CONFIG, "[mtu]\nvalu = 1280\n")?;
        let output = run(&[])?;
        ensure!(
            output.status == Status::Code(1) && output.stderr.contains("wslmesh.toml:2:1"),
            "{output:?}"
        );
        world.write(CONFIG, config(SSH))?;
        ensure!(run(&["--dry-run"])?.ok()?.contains("listen-port = 8080"));
        ensure!(!world.path(&drop_in).exists() && !described().await?.contains("8080"));
        let said = run(&[])?.ok()?;
        let reloaded = "the agent has reloaded its configuration";
        ensure!(said.contains(&drop_in) && said.contains(reloaded), "{said}");
        // The forward is in force when the command ends.
        ensure!(described().await?.contains("\"listen-port\":8080"));
        world.forwards(&[(2222, FIRST, 22), (8080, FIRST, 8080)])?;
        let said = run(&[])?.ok()?;
        ensure!(
            said.contains("already has it") && !said.contains("agent"),
            "{said}"
        );
        // Another content is no reason to overwrite what was imported.
        world.write(THEIRS, ports(r#"{"port": 9090}"#))?;
        let output = run(&[])?;
        ensure!(
            output.status == Status::Code(1) && output.stderr.contains("--force"),
            "{output:?}"
        );
        ensure!(!described().await?.contains("9090"));
        ensure!(run(&["--force"])?.ok()?.contains(reloaded));
        ensure!(described().await?.contains("9090"));
        world.forwards(&[(2222, FIRST, 22), (9090, FIRST, 9090)])
    })
}

fn reload_and_reapply(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let agent = started(world)?;
    talk(async {
        let bus = world.agent_on_the_bus().await?;
        world.write(CONFIG, "[mtu]\nvalu = 1280\n")?;
        let error = refused(&bus, "Reload", &()).await?;
        ensure!(
            error.contains("Error.Config")
                && error.contains("wslmesh.toml:2:1")
                && error.contains("value"),
            "{error}"
        );
        agent.raised("config-rejected")?;
        world.write(CONFIG, config(SSH))?;
        call::<_, ()>(&bus, "Reload", &()).await?;
        // With Windows' answer, so that nothing but the calls makes a pass.
        agent.settled(FIRST)?;
        // What was undone is found by itself, so that there is nothing to do.
        ensure!(
            call::<_, Vec<String>>(&bus, "Reapply", &())
                .await?
                .is_empty()
        );
        std::fs::remove_file(world.path(FILE))?;
        let changes: Vec<String> = call(&bus, "Reapply", &()).await?;
        ensure!(
            changes.len() == 1 && changes.iter().all(|change| change.contains(FILE)),
            "{changes:?}"
        );
        ensure!(world.path(FILE).exists());
        // Those that wait together share a pass.
        let passes: u64 = get(&bus, "Passes").await?;
        let callers = join_all((0..8).map(|_| world.bus())).await;
        let callers: Vec<Connection> = callers.into_iter().collect::<Result<_>>()?;
        let calls = callers
            .iter()
            .flat_map(|bus| (0..8).map(move |_| call::<_, Vec<String>>(bus, "Reapply", &())));
        for answer in join_all(calls).await {
            ensure!(answer?.is_empty());
        }
        let made = get::<u64>(&bus, "Passes").await? - passes;
        ensure!((1..=32).contains(&made), "{made} passes for 64 calls");
        Ok(())
    })?;
    agent.process().signal(HUP)?;
    agent.settled(FIRST)?;
    Ok(())
}

fn wrong_arguments(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let agent = started(world)?;
    talk(async {
        let bus = world.agent_on_the_bus().await?;
        let huge = "x".repeat(16 << 20);
        let name = "\u{1b}[31mname\n".repeat(100_000);
        let add = async |name: &str, protocol: &str, address: &str, firewall: &str| {
            let arguments = (name, protocol, address, 8080_u16, 0_u16, firewall);
            refused(&bus, "AddForward", &arguments).await
        };
        for (error, said) in [
            (
                add("a", "icmp", "", "").await?,
                "Error.Forward: protocol \"icmp\"",
            ),
            (
                add("a", "tcp", "[::]", "").await?,
                "Error.Forward: listen-address: \"[::]\" has brackets",
            ),
            (
                add("a", "tcp", "", "all").await?,
                "Error.Forward: firewall \"all\"",
            ),
            (
                add("a/../b", "tcp", "", "").await?,
                "Error.Forward: \"a/../b\": name has",
            ),
            (
                add(&huge, "tcp", "", "").await?,
                "bytes, more than any right ones",
            ),
            (
                add(&name, "tcp", "", "").await?,
                "bytes, more than any right ones",
            ),
            (
                add("a", &huge, "", "").await?,
                "bytes, more than any right ones",
            ),
            (
                add("a", "tcp", &huge, "").await?,
                "bytes, more than any right ones",
            ),
            (
                refused(&bus, "RemoveForward", &huge).await?,
                "bytes, more than any right ones",
            ),
            (
                refused(&bus, "RemoveForward", &"x".repeat(65)).await?,
                "Error.Forward: name has 65 bytes",
            ),
            (
                refused(&bus, "RemoveForward", &"\u{1b}[31m\n").await?,
                "\\u{1b}[31m\\n",
            ),
            (
                refused(&bus, "RemoveForward", &7_u32).await?,
                "DBus.Error.InvalidArgs",
            ),
            (
                refused(&bus, "AddForward", &"alone").await?,
                "DBus.Error.InvalidArgs",
            ),
            (
                refused(&bus, "Explode", &()).await?,
                "DBus.Error.UnknownMethod",
            ),
        ] {
            ensure!(
                error.contains(said) && error.len() < 600,
                "{said}: {error:.1000}"
            );
        }
        call::<_, ()>(&bus, "Reload", &()).await
    })?;
    agent.settled(FIRST)?;
    let log = agent.log()?;
    ensure!(
        log.len() < 20_000 && !log.contains('\u{1b}') && !log.contains("xxxx"),
        "{log:.2000}"
    );
    Ok(())
}
