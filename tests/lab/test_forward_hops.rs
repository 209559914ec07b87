//! `wslmesh forward test` of forwards with more hops: a service on loopback, both families, and
//! packets that are dropped.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::LIMIT;
use crate::options::Options;
use crate::runner::trial_with;
use crate::setup::said;
use crate::test_discovery::{end, installed_with};
use crate::test_forward_test::{detail, filter, tests};
use crate::test_ipv6::{WEB, WINDOWS, prepare, serves};
use crate::test_loopback::DB;
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
        quick("forward_hops::loopback", loopback),
        quick("forward_hops::relays_place_is_taken", place_taken),
        trial_with("forward_hops::loopback_mirrored", mirrored, in_mirrored),
        quick("forward_hops::packets_are_dropped", dropped),
        quick("forward_hops::both_families", both_families),
        quick("forward_hops::windows_without_ipv6", without_ipv6),
    ]
}

/// The relay in the guest that leads to the service is a hop of its own.
fn loopback(world: &World) -> Result<()> {
    let service = world.echo(Place::Guest, "127.0.0.1:5432")?;
    let agent = installed_with(world, DB)?;
    world.reached(15432)?;
    let found = tests(world, &["db"], "kkkkkkk", "Every hop answers")?;
    ensure!(
        detail(&found, 2) == "127.0.0.1:5432"
            && detail(&found, 3).starts_with("wslmesh-relay (")
            && detail(&found, 3).ends_with(&format!(" on {FIRST}:5432"))
            && detail(&found, 4) == format!("{FIRST}:5432"),
        "{found:#}"
    );
    let page = world.cli(&["forward", "test", "db"])?;
    let words = [
        "forward \"db\": tcp 0.0.0.0:15432 on Windows to 127.0.0.1:5432 here",
        "  3 ok         relay in this distribution: wslmesh-relay (",
    ];
    said(&page, 0, &words)?;

    filter(world, "iifname eth0 tcp dport 5432 drop")?;
    let words = "Hop 4 fails (service from Windows): the relay here is to answer at 172.28.16.5:5432, and from Windows it does not answer (timed out)";
    tests(world, &["db"], "kkkFk-k", words)?;
    world.shell("nft delete table inet t")?;

    end(&service)?;
    let words = "Hop 1 fails (service): no service listens on tcp 127.0.0.1:5432, where its forward leads. Start the service";
    tests(world, &["db"], "F-k-k-k", words)?;
    let port = world.cli(&["port", "15432", "--json"])?;
    said(&port, 3, &["no service listens on tcp 127.0.0.1:5432"])?;
    let elsewhere = world.echo(Place::Guest, "127.0.0.2:5432")?;
    let words = "listens on 127.0.0.2 only, which packets to 127.0.0.1:5432 do not reach. Correct connect-address";
    tests(world, &["db"], "F-k-k-k", words)?;
    end(&elsewhere)?;

    let _service = world.echo(Place::Guest, "127.0.0.1:5432")?;
    agent.stop()?;
    world.closed(Place::Windows, "t", 15432)?;
    world.closed(Place::Guest, "t", 15432)?;
    let words = "Hop 3 fails (relay in this distribution): the agent is not running";
    tests(world, &["db"], "kkF-F-k", words)?;
    Ok(())
}

/// The service listens on all addresses, so that the relay finds its port taken.
fn place_taken(world: &World) -> Result<()> {
    let _service = world.echo(Place::Guest, "0.0.0.0:5432")?;
    let agent = installed_with(world, DB)?;
    agent.raised("forward-taken")?;
    // The one on Windows listens all the same.
    until("the relay on Windows", LIMIT, || {
        let found = world.listens(Place::Windows, "t", 15432)?;
        Ok((!found.is_empty()).then_some(()))
    })?;
    let words = "has 172.28.16.5:5432, where the relay is to take what comes from Windows. Remove connect-address from the forward";
    tests(world, &["db"], "kkF-k-k", words)?;
    agent.stop()
}

/// Clients reach the relay here themselves; Windows' 127.0.0.1 leads to the service.
fn in_mirrored(world: &World) -> Result<()> {
    let service = world.echo(Place::Guest, "127.0.0.1:8080")?;
    let forward = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-port = 8080\nconnect-address = \"127.0.0.1\"\n";
    let agent = installed_with(world, forward)?;
    agent.wait("the relay", |status| status.serves("relay", &["web"]))?;
    let found = tests(world, &["web"], "kkkk?k", "hop 5 is not known")?;
    ensure!(detail(&found, 3) == "it listens on tcp 8080", "{found:#}");
    end(&service)?;
    tests(
        world,
        &["web"],
        "F-kk-k",
        "no service listens on tcp 127.0.0.1:8080",
    )?;
    agent.stop()
}

/// The relay listens, and what it sends to the guest, or what is sent to it, does not arrive.
fn dropped(world: &World) -> Result<()> {
    let _daemon = world.start_bus()?;
    let agent = served(world)?;
    // The relay's counters are had by the bus alone, which the agent joins on its own.
    until("the agent on the bus", LIMIT, || {
        let status = world.cli(&["status"])?.stdout;
        Ok((!status.contains("status.json")).then_some(()))
    })?;
    // The guest takes Windows' own connection, and none after it.
    let first = "limit rate over 1/minute burst 1 packets";
    let rule = format!("iifname eth0 tcp dport 22 tcp flags syn {first} drop");
    let words = "Hop 5 fails (forward from Windows): on Windows 192.168.50.10:2222 accepts a connection, and the relay does not get through to the service";
    // A busy machine may not have the counters in time, and then nothing shows.
    until("the hop that fails", LIMIT * 4, || {
        filter(world, &rule)?;
        let found = tests(world, &["ssh"], "kkkkFk", words).ok();
        world.shell("nft delete table inet t")?;
        Ok(found)
    })?;
    tests(world, &["ssh"], "kkkkkk", "Every hop answers")?;
    on_windows(world, "ip", "ip daddr 192.168.50.10 tcp dport 2222 drop")?;
    let words = "Hop 5 fails (forward from Windows): on Windows 192.168.50.10:2222 does not answer (timed out)";
    tests(world, &["ssh"], "kkkkFk", words)?;
    agent.stop()
}

/// Has this rule alone in the packet filter of Windows.
fn on_windows(world: &World, family: &str, rule: &str) -> Result<()> {
    let table = format!(
        "nft flush ruleset; nft add table {family} t; nft add chain {family} t c '{{ type filter hook input priority 0; }}'; nft add rule {family} t c {rule}"
    );
    world
        .run(Place::Windows, &["sh", "-c", &table], b"")?
        .ok()?;
    Ok(())
}

/// A listener on `::` is tried by both, and the one that fails is named.
fn both_families(world: &World) -> Result<()> {
    prepare(world)?;
    let _service = world.echo(Place::Guest, "0.0.0.0:443")?;
    let agent = world.start_agent(&WEB.replace("proxy-protocol = \"v2\"\n", ""))?;
    serves(&agent, &["web"])?;
    let found = tests(world, &["web"], "kkkkkkk", "Every hop answers")?;
    ensure!(
        detail(&found, 5) == "192.168.50.10:8443"
            && detail(&found, 6) == format!("[{WINDOWS}]:8443"),
        "{found:#}"
    );
    let words = [
        "from Windows [::1]:8443 answers",
        "from Windows [fd00:50::10]:8443 answers",
    ];
    said(&world.cli(&["port", "8443"])?, 0, &words)?;
    on_windows(world, "ip6", "tcp dport 8443 reject with tcp reset")?;
    let words = "Hop 6 fails (forward from Windows by IPv6): on Windows [fd00:50::10]:8443 refuses connections";
    tests(world, &["web"], "kkkkkFk", words)?;
    let words = ["from Windows [::1]:8443 refuses connections"];
    said(&world.cli(&["port", "8443"])?, 3, &words)?;
    on_windows(world, "ip", "tcp dport 8443 reject with tcp reset")?;
    let words =
        "Hop 5 fails (forward from Windows): on Windows 192.168.50.10:8443 refuses connections";
    tests(world, &["web"], "kkkkFkk", words)?;
    agent.stop()
}

/// What has no IPv6 is not said to fail by it.
fn without_ipv6(world: &World) -> Result<()> {
    prepare(world)?;
    let disable = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6";
    world.host(&["sh", "-c", disable])?.ok()?;
    let _service = world.echo(Place::Guest, "0.0.0.0:443")?;
    let agent = world.start_agent(&WEB.replace("proxy-protocol = \"v2\"\n", ""))?;
    serves(&agent, &["web"])?;
    tests(world, &["web"], "kkkkkk", "Every hop answers")?;
    agent.stop()
}
