//! Forwards that listen by IPv6: clients of both families reach the guest by IPv4.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, LIMIT};
use crate::installed::policy;
use crate::options::Options;
use crate::runner::trial_with;
use crate::talker::{PROXIED, REQUEST};
use crate::test_forward_test::{detail, tests};
use crate::topology::{Place, SECOND};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("ipv6::both_families_reach_the_guest", both_families),
        quick("ipv6::local_admits_neighbours_alone", neighbours_alone),
        quick("ipv6::without_ipv6_on_windows", without_ipv6),
        quick("ipv6::loopback_of_an_unpacked_relay", loopback),
        quick("ipv6::not_by_the_port_proxy", not_by_portproxy),
    ]
}

pub(crate) const WINDOWS: &str = "fd00:50::10";
/// Windows has more than one, as most machines by IPv6.
const SECOND_OF_WINDOWS: &str = "fd00:50::11";
const CLIENT: &str = "fd00:50::20";
pub(crate) const WEB: &str = "[[forward]]\nname = \"web\"\nprotocol = \"tcp\"\nlisten-address = \"::\"\nlisten-port = 8443\nconnect-port = 443\nfirewall = \"local\"\nproxy-protocol = \"v2\"\n";
const TUNNEL: &str = "[[forward]]\nname = \"wg\"\nprotocol = \"udp\"\nlisten-address = \"::\"\nlisten-port = 51820\nconnect-port = 51821\nfirewall = \"local\"\n";

/// Gives the LAN and Windows addresses of IPv6, at once usable.
pub(crate) fn add_addresses(world: &World) -> Result<()> {
    for (place, address, device) in [
        (Place::Lan, CLIENT, "eth0"),
        (Place::Windows, WINDOWS, "Ethernet"),
        (Place::Windows, SECOND_OF_WINDOWS, "Ethernet"),
    ] {
        let address = format!("{address}/64");
        let add = ["ip", "addr", "add", &address, "dev", device, "nodad"];
        world.run(place, &add, b"")?.ok()?;
    }
    Ok(())
}

/// The same, and installs a policy for all addresses.
pub(crate) fn prepare(world: &World) -> Result<()> {
    add_addresses(world)?;
    let mut policy = policy();
    for grant in &mut policy.grants {
        grant.listen_address = "::".parse()?;
        grant.firewall = crate::contract::Firewall::Full;
    }
    world.windows().install(&policy)?;
    Ok(())
}

pub(crate) fn serves(agent: &Agent<'_>, names: &[&str]) -> Result<()> {
    let up = |status: &crate::status::Status| {
        status.serves("relay", names) && status.relay.as_ref().is_some_and(|one| one.applied)
    };
    agent.wait("the relay", up)?;
    Ok(())
}

fn both_families(world: &World) -> Result<()> {
    prepare(world)?;
    let agent = world.start_agent(&(WEB.to_owned() + TUNNEL))?;
    serves(&agent, &["web", "wg"])?;
    let service = [
        "/init",
        crate::ROLE,
        PROXIED,
        "0.0.0.0:443",
        "/run/lab/client",
    ];
    let _service = world.spawn_guest(&service, &[])?;
    until("the service", LIMIT, || {
        let found = world.listens(Place::Guest, "t", 443)?;
        Ok((!found.is_empty()).then_some(()))
    })?;
    let tcp = world.listener(Place::Windows, "t", 8443)?;
    let udp = world.listener(Place::Windows, "u", 51820)?;
    let inside = world.station(Place::Guest, "0.0.0.0:51821")?;
    let by_ipv6 = world.station(Place::Lan, "[::]:40006")?;
    let by_ipv4 = world.station(Place::Lan, "0.0.0.0:40004")?;
    let reached = |round: &str| -> Result<()> {
        for (client, at) in [
            (CLIENT, format!("[{WINDOWS}]:8443")),
            ("192.168.50.20", "192.168.50.10:8443".to_owned()),
        ] {
            let request = world.lan(&["/init", crate::ROLE, REQUEST, &at])?;
            request.ok().with_context(|| format!("{round}: {at}"))?;
            let said = world.read("/run/lab/client")?;
            let to = at.trim_end_matches(":8443").trim_matches(['[', ']']);
            ensure!(
                said.starts_with(&format!("{client} ")) && said.contains(&format!("to {to} 8443")),
                "{round}: {said}"
            );
        }
        for (client, at) in [
            (&by_ipv6, format!("[{WINDOWS}]:51820")),
            (&by_ipv6, format!("[{SECOND_OF_WINDOWS}]:51820")),
            (&by_ipv4, "192.168.50.10:51820".to_owned()),
        ] {
            let text = format!("{round} to {at}");
            let at = at.parse()?;
            let heard = client.reaches(at, &inside, &text)?;
            ensure!(heard.from.is_ipv4(), "{heard:?}");
            let answer = inside.reaches(heard.from, client, &format!("answer to {text}"))?;
            ensure!(answer.from == at, "{answer:?} instead of {at}");
        }
        Ok(())
    };
    reached("first")?;
    world.change_address(&format!("{SECOND}/20"))?;
    agent.settled(SECOND)?;
    reached("second")?;
    for (protocol, port, before) in [("t", 8443, tcp), ("u", 51820, udp)] {
        let now = world.listener(Place::Windows, protocol, port)?;
        ensure!(now == before, "another listener at {port}");
    }
    agent.healthy()?;
    agent.stop()
}

/// A client behind a router is no neighbour, though the grant lets it in.
fn neighbours_alone(world: &World) -> Result<()> {
    prepare(world)?;
    let routed = "fd00:99::1";
    let add = ["ip", "addr", "add", "fd00:99::1/128", "dev", "lo", "nodad"];
    world.lan(&add)?.ok()?;
    let back = ["ip", "route", "add", "fd00:99::/64", "via", CLIENT];
    world.host(&back)?.ok()?;
    let agent = world.start_agent(&WEB.replace("proxy-protocol = \"v2\"\n", ""))?;
    serves(&agent, &["web"])?;
    let echo = ["/init", crate::ROLE, crate::probe::ECHO, "0.0.0.0:443"];
    let _service = world.spawn_guest(&echo, &[])?;
    let connect = |from: &str| -> Result<bool> {
        let script = format!(
            "exec 3<>/dev/tcp/{WINDOWS}/8443; echo x >&3; read -t 5 line <&3 && [ \"$line\" = x ]"
        );
        let route = format!("ip -6 route replace {WINDOWS} dev eth0 src {from}");
        world.lan(&["sh", "-c", &route])?.ok()?;
        Ok(world.lan(&["bash", "-c", &script])?.ok().is_ok())
    };
    until("the service by IPv6", LIMIT, || {
        Ok(connect(CLIENT)?.then_some(()))
    })?;
    ensure!(!connect(routed)?, "a client behind a router was let in");
    ensure!(connect(CLIENT)?, "the neighbour was not let in");
    agent.stop()
}

/// Where Windows' interfaces have no IPv6, a listener on all addresses is one of IPv4.
fn without_ipv6(world: &World) -> Result<()> {
    prepare(world)?;
    let disable = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6";
    world.host(&["sh", "-c", disable])?.ok()?;
    let agent = world.start_agent(TUNNEL)?;
    serves(&agent, &["wg"])?;
    let inside = world.station(Place::Guest, "0.0.0.0:51821")?;
    let client = world.station(Place::Lan, "0.0.0.0:40004")?;
    client.reaches("192.168.50.10:51820".parse()?, &inside, "hello")?;
    agent.healthy()?;
    // An address of its own is missing, and health says which.
    agent.reload(&TUNNEL.replace("::", WINDOWS))?;
    let found = agent.ill("forward-no-address")?;
    ensure!(found.detail.contains(WINDOWS), "{found:?}");
    agent.stop()
}

/// A relay that was not installed has loopback alone: of both families, for `localhost` is both.
fn loopback(world: &World) -> Result<()> {
    world.windows().set_elevated(false)?;
    let agent = world.start_agent(&WEB.replace("proxy-protocol = \"v2\"\n", ""))?;
    serves(&agent, &["web"])?;
    let echo = ["/init", crate::ROLE, crate::probe::ECHO, "0.0.0.0:443"];
    let _service = world.spawn_guest(&echo, &[])?;
    let found = agent.raised("relay-loopback")?;
    ensure!(found.detail.contains("127.0.0.1 and ::1"), "{found:?}");
    let found = world.listens(Place::Windows, "t", 8443)?;
    let at: Vec<&str> = found.iter().map(|one| one.at.as_str()).collect();
    ensure!(at == ["127.0.0.1:8443", "[::1]:8443"], "{at:?}");
    until("the service", LIMIT, || {
        let found = world.listens(Place::Guest, "t", 443)?;
        Ok((!found.is_empty()).then_some(()))
    })?;
    let words = "Hop 7 fails (Windows' firewall): the relay listens on 127.0.0.1 alone until it is installed";
    let found = tests(world, &["web"], "kkkkkkF", words)?;
    ensure!(detail(&found, 6) == "[::1]:8443", "{found:#}");
    agent.stop()
}

/// Its rules are from IPv4 to IPv4.
fn not_by_portproxy(world: &World) -> Result<()> {
    prepare(world)?;
    let web = WEB.replace("proxy-protocol = \"v2\"\n", "backend = \"portproxy\"\n");
    let agent = world.start_agent(&web)?;
    let found = agent.ill("forward-needs-relay")?;
    ensure!(
        found.subject == "web" && found.detail.contains("[::]:8443"),
        "{found:?}"
    );
    ensure!(world.windows().table()?.is_empty(), "a rule was made");
    agent.reload(&web.replace("portproxy", "auto"))?;
    serves(&agent, &["web"])?;
    agent.healthy()?;
    agent.stop()
}
