//! Ports of containers, published by the programs that engines use for it: netavark is
//! Podman's, portmap is CNI's, by which containerd, nerdctl and CRI-O publish. Docker's and
//! kube-proxy's rules are made by iptables as these programs call it. A container is a
//! network namespace with a service.

use std::path::Path;

use anyhow::{Context, Result};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::control::Start;
use crate::launch::Unavailable;
use crate::options::Options;
use crate::probe::{ECHO, now};
use crate::process::Process;
use crate::runner::trial_with;
use crate::status::Status;
use crate::test_discovery::{end, installed_with};
use crate::topology::Place;
use crate::world::{TIMEOUT, World};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("containers::podman", podman),
        quick("containers::cni", cni),
        quick("containers::docker", docker),
        quick("containers::kubernetes", kubernetes),
    ]
}

const ON: &str = "[discovery]\ntcp = [\"8080-8090\", \"30000-30099\"]\n";

/// Where Debian and Fedora have the programs.
const LIBRARIES: [&str; 2] = ["/usr/lib", "/usr/libexec"];

/// A program of an engine. Without it the trial is not run.
pub(crate) fn program(name: &str) -> Result<String> {
    let paths = LIBRARIES.map(|library| format!("{library}/{name}"));
    let found = paths.iter().find(|path| Path::new(path).exists());
    let missing = || Unavailable(format!("there is no {} here: tools/setup.sh lab", paths[0]));
    Ok(found.cloned().ok_or_else(missing)?)
}

/// A container with an echo service at port 80; its network is yet to be made.
pub(crate) fn container(world: &World) -> Result<Process<'_>> {
    let service = format!("exec /init {} {ECHO} 0.0.0.0:80", crate::ROLE);
    let service = format!("ip link set lo up && {service}");
    let container = world.spawn_guest(&["unshare", "--net", "sh", "-c", &service], &[])?;
    let own = [
        "nsenter",
        "-t",
        &container.pid().to_string(),
        "-n",
        "ss",
        "-Htln",
    ]
    .map(str::to_owned);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    crate::world::until("the service", crate::agent::LIMIT, || {
        Ok(world.guest(&own)?.stdout.contains(":80 ").then_some(()))
    })?;
    Ok(container)
}

/// Runs a program of an engine with this on its standard input, and reads what it prints.
fn call(world: &World, argv: &[&str], env: &[(&str, &str)], input: &Value) -> Result<Value> {
    let process = world.spawn_with(Start {
        place: Place::Guest,
        argv: argv.iter().map(|one| (*one).to_owned()).collect(),
        env: env
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        cwd: "/".to_owned(),
        stdin: input.to_string().into_bytes(),
    })?;
    let text = process.finish(TIMEOUT)?.ok()?;
    let text = if text.trim().is_empty() {
        "null"
    } else {
        &text
    };
    serde_json::from_str(text).with_context(|| text.to_owned())
}

/// Has netavark publish a port of a container, or take that back.
pub(crate) fn netavark(
    world: &World,
    action: &str,
    container: &Process<'_>,
    port: u16,
) -> Result<()> {
    let network = json!({
        "name": "podman",
        "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
        "driver": "bridge",
        "network_interface": "podman0",
        "subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}],
        "ipv6_enabled": false,
        "internal": false,
        "dns_enabled": false,
        "ipam_options": {"driver": "host-local"},
    });
    let options = json!({
        "container_id": "2d0fac2b8f0a",
        "container_name": "web",
        "port_mappings": [{"container_port": 80, "host_ip": "", "host_port": port, "protocol": "tcp", "range": 1}],
        "networks": {"podman": {"interface_name": "eth0", "static_ips": ["10.88.0.2"]}},
        "network_info": {"podman": network},
    });
    let namespace = format!("/proc/{}/ns/net", container.pid());
    let program = program("podman/netavark")?;
    let argv = [
        &program,
        "--config",
        "/run/lab/netavark",
        "--rootless",
        "false",
        action,
        &namespace,
    ];
    call(world, &argv, &[], &options).map(drop)
}

fn served(status: &Status) -> Vec<&str> {
    status.served.iter().map(|one| one.name.as_str()).collect()
}

/// Waits until these ports alone are served, and says who published them.
fn serves(agent: &Agent<'_>, ports: &[u16], by: &str) -> Result<()> {
    let names: Vec<String> = ports
        .iter()
        .map(|port| format!("auto-tcp-{port}"))
        .collect();
    agent.wait(&format!("{names:?}"), |status| {
        served(status) == names && status.problems().is_empty()
    })?;
    for port in ports {
        agent.says(&format!("tcp {port} ({by})"))?;
    }
    Ok(())
}

/// It starts, stops, and starts with another port; then all rules are lost, as with a restart
/// of a firewall, and its container is started anew.
fn podman(world: &World) -> Result<()> {
    program("podman/netavark")?;
    let agent = installed_with(world, ON)?;
    let first = container(world)?;
    let begun = now();
    netavark(world, "setup", &first, 8083)?;
    world.reached(8083)?;
    println!("reached after {} ms", (now() - begun) / 1_000_000);
    serves(&agent, &[8083], "podman")?;
    let begun = now();
    netavark(world, "teardown", &first, 8083)?;
    world.closed(Place::Windows, "t", 8083)?;
    println!("gone after {} ms", (now() - begun) / 1_000_000);
    world.unreachable(8083)?;
    serves(&agent, &[], "")?;
    end(&first)?;

    let second = container(world)?;
    netavark(world, "setup", &second, 8084)?;
    world.reached(8084)?;
    world.shell("nft flush ruleset")?;
    world.closed(Place::Windows, "t", 8084)?;
    end(&second)?;
    let third = container(world)?;
    netavark(world, "setup", &third, 8084)?;
    world.reached(8084)?;
    serves(&agent, &[8084], "podman")?;
    agent.stop()
}

/// One call of a plugin of CNI.
fn plugin(
    world: &World,
    name: &str,
    action: &str,
    container: &Process<'_>,
    config: &Value,
) -> Result<Value> {
    let program = program(&format!("cni/{name}"))?;
    let folder = Path::new(&program).parent().context("no folder")?;
    let namespace = format!("/proc/{}/ns/net", container.pid());
    let env = [
        ("CNI_COMMAND", action),
        ("CNI_CONTAINERID", "box"),
        ("CNI_NETNS", &namespace),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", &folder.to_string_lossy()),
    ];
    call(world, &[&program], &env, config)
}

/// The chain of plugins that containerd's and Podman's own configurations have.
fn cni(world: &World) -> Result<()> {
    program("cni/portmap")?;
    let agent = installed_with(world, ON)?;
    let container = container(world)?;
    let bridge = json!({
        "cniVersion": "0.4.0",
        "name": "box",
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "ipMasq": true,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/lab/ipam",
            "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{"subnet": "10.89.0.0/16"}]],
        },
    });
    let made = plugin(world, "bridge", "ADD", &container, &bridge)?;
    let portmap = |port: u16| {
        json!({
            "cniVersion": "0.4.0",
            "name": "box",
            "type": "portmap",
            "runtimeConfig": {"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]},
            "prevResult": made,
        })
    };
    plugin(world, "portmap", "ADD", &container, &portmap(8085))?;
    world.reached(8085)?;
    serves(&agent, &[8085], "cni")?;
    plugin(world, "portmap", "DEL", &container, &portmap(8085))?;
    world.closed(Place::Windows, "t", 8085)?;
    serves(&agent, &[], "")?;
    plugin(world, "portmap", "ADD", &container, &portmap(8086))?;
    world.reached(8086)?;
    serves(&agent, &[8086], "cni")?;
    agent.stop()
}

/// A container behind a bridge of this name, with an address in 10.90.0.0/16.
fn bridged<'w>(world: &'w World, bridge: &str) -> Result<Process<'w>> {
    let container = container(world)?;
    let pid = container.pid();
    world.shell(&format!(
        "ip link add {bridge} type bridge; ip addr add 10.90.0.1/16 dev {bridge}; ip link set {bridge} up
         ip link add veth0 type veth peer name eth0 netns {pid}; ip link set veth0 master {bridge} up
         nsenter -t {pid} -n sh -ec 'ip addr add 10.90.0.2/16 dev eth0; ip link set eth0 up; ip route add default via 10.90.0.1'
         echo 1 >/proc/sys/net/ipv4/ip_forward"
    ))?;
    Ok(container)
}

/// A container of Docker that starts: its rule, and the proxy that listens beside it.
const DOCKER_RUN: &str = "iptables -t nat -A DOCKER ! -i docker0 -p tcp -d 0/0 --dport 8087 -j DNAT --to-destination 10.90.0.2:80";
/// The daemon, as it starts.
const DOCKER: &str = "iptables -t nat -N DOCKER
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A OUTPUT -m addrtype --dst-type LOCAL ! --dst 127.0.0.0/8 -j DOCKER
iptables -t nat -A POSTROUTING -s 10.90.0.0/16 ! -o docker0 -j MASQUERADE
iptables -t nat -A DOCKER -i docker0 -j RETURN";

/// The proxy in user space has the port too, and is one forward with the rule. The engine
/// restarts: its containers end, then it makes all anew.
fn docker(world: &World) -> Result<()> {
    let agent = installed_with(world, ON)?;
    let _container = bridged(world, "docker0")?;
    world.shell(DOCKER)?;
    let start = || {
        let proxy = world.echo(Place::Guest, "0.0.0.0:8087")?;
        world.shell(DOCKER_RUN)?;
        Ok::<_, anyhow::Error>(proxy)
    };
    let proxy = start()?;
    world.reached(8087)?;
    serves(&agent, &[8087], "docker")?;
    world.shell(&DOCKER_RUN.replace("-A", "-D"))?;
    end(&proxy)?;
    world.closed(Place::Windows, "t", 8087)?;
    serves(&agent, &[], "")?;
    world.shell("iptables -t nat -F; iptables -t nat -X")?;
    world.shell(DOCKER)?;
    let _proxy = start()?;
    world.reached(8087)?;
    serves(&agent, &[8087], "docker")?;
    agent.stop()
}

/// A service of type NodePort with two endpoints, as kube-proxy restores its rules.
const KUBE: &str = r#"*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-EXT-TCOU7JCQXEZGVUNU - [0:0]
:KUBE-SVC-TCOU7JCQXEZGVUNU - [0:0]
:KUBE-SEP-ALPHA2JQXEZGVUNU - [0:0]
:KUBE-SEP-OMEGA2JQXEZGVUNU - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-SERVICES -m comment --comment "default/web:http cluster IP" -m tcp -p tcp -d 10.96.7.7 --dport 8088 -j KUBE-SVC-TCOU7JCQXEZGVUNU
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -m comment --comment "default/web:http" -m tcp -p tcp --dport 30080 -j KUBE-EXT-TCOU7JCQXEZGVUNU
-A KUBE-EXT-TCOU7JCQXEZGVUNU -m comment --comment "masquerade traffic" -j KUBE-MARK-MASQ
-A KUBE-EXT-TCOU7JCQXEZGVUNU -j KUBE-SVC-TCOU7JCQXEZGVUNU
-A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment "default/web:http" -m statistic --mode random --probability 0.5 -j KUBE-SEP-ALPHA2JQXEZGVUNU
-A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment "default/web:http" -j KUBE-SEP-OMEGA2JQXEZGVUNU
-A KUBE-SEP-ALPHA2JQXEZGVUNU -s 10.90.0.2 -j KUBE-MARK-MASQ
-A KUBE-SEP-ALPHA2JQXEZGVUNU -m tcp -p tcp -j DNAT --to-destination 10.90.0.2:80
-A KUBE-SEP-OMEGA2JQXEZGVUNU -m tcp -p tcp -j DNAT --to-destination 10.90.0.2:80
COMMIT
"#;

/// The port of the node is exposed, that of the cluster's own address is not.
fn kubernetes(world: &World) -> Result<()> {
    let agent = installed_with(world, ON)?;
    let _container = bridged(world, "cbr0")?;
    let restore = |rules: &str| {
        world
            .run(
                Place::Guest,
                &["iptables-restore", "--noflush"],
                rules.as_bytes(),
            )?
            .ok()
    };
    restore(KUBE)?;
    world.reached(30080)?;
    serves(&agent, &[30080], "kubernetes")?;
    // The service gets another port.
    restore(
        "*nat\n:KUBE-NODEPORTS - [0:0]\n-A KUBE-NODEPORTS -m tcp -p tcp --dport 30081 -j KUBE-EXT-TCOU7JCQXEZGVUNU\nCOMMIT\n",
    )?;
    world.reached(30081)?;
    serves(&agent, &[30081], "kubernetes")?;
    agent.stop()
}
