//! The lab: a simulated WSL made of namespaces that the test owns, and the
//! trials that run in it.
//!
//! One program plays every part. Which one is decided by the name it is called
//! by (`init`, `wslinfo`, `wslpath`: inside a world, see `init.rs`), then by the
//! first argument: a role of its own (`@...`), `@kernel`, `--demo`, `--bench`; else
//! it is the test runner.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the parts this program plays are programs of their own"
)]

mod agent;
mod bench;
mod caller;
mod contract;
mod control;
mod dbus;
mod demo;
mod double;
mod events;
mod false_switch;
mod fault;
mod guest_side;
mod init;
mod installed;
mod interop;
mod kernel;
mod launch;
mod look;
mod meddler;
mod memory;
mod mirrored;
mod net_client;
mod net_probe;
mod net_server;
mod notify;
mod options;
mod portproxy;
mod probe;
mod process;
mod resolved;
mod resolver;
mod root;
mod rules;
mod runner;
mod server;
mod setup;
mod snapshot;
mod station;
mod status;
mod strace;
mod systemd;
mod talker;
mod test_agent;
mod test_backends;
mod test_bus;
mod test_bus_faults;
mod test_claim;
mod test_completions;
mod test_config;
mod test_containers;
mod test_contract;
mod test_counters;
mod test_default;
mod test_discovery;
mod test_dns;
mod test_doctor;
mod test_endpoints;
mod test_escapes;
mod test_faults;
mod test_field;
mod test_file_races;
mod test_folders;
mod test_forward_hops;
mod test_forward_test;
mod test_host_check;
mod test_host_conflicts;
mod test_host_faults;
mod test_host_forward;
mod test_host_hostile;
mod test_host_install;
mod test_interop;
mod test_ipv6;
mod test_ipv6_node;
mod test_kept;
mod test_kernel;
mod test_leader;
mod test_lifetime;
mod test_loop;
mod test_loopback;
mod test_members;
mod test_mesh;
mod test_metrics;
mod test_mirrored;
mod test_mirrored_network;
mod test_modes;
mod test_nat_broken;
mod test_network;
mod test_network_file;
mod test_output;
mod test_path;
mod test_peers;
mod test_port;
mod test_relay;
mod test_resume;
mod test_setup;
mod test_socket_watch;
mod test_status;
mod test_syscalls;
mod test_sysctls;
mod test_tailscale;
mod test_takeover;
mod test_tunnel;
mod test_tunnel_faults;
mod test_tunnel_forwards;
mod test_tunnel_proxy;
mod test_tunnel_way;
mod test_walk;
mod test_windows_calls;
mod test_windows_faults;
mod test_windows_rules;
mod test_wireguard;
mod test_world;
mod test_wsl_files;
mod topology;
mod tracker;
mod tunnel;
mod tunneled;
mod userspace;
mod windows;
mod wire;
mod wireguard;
mod world;
mod wsl_stdio;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let (name, arguments) = arguments
        .split_first()
        .map_or(("", &[][..]), |(n, a)| (n.as_str(), a));
    match (name.rsplit('/').next().unwrap_or_default(), arguments) {
        ("init", [mark, role @ ..]) if mark == ROLE => play(role),
        ("init", arguments) => init::interpreter(arguments),
        ("wslinfo", arguments) => init::wslinfo(arguments),
        ("wslpath", arguments) => init::wslpath(arguments),
        ("wslmesh-lab", arguments) => play(arguments),
        (_, [first, rest @ ..]) if first == "--bench" => bench::run(rest),
        (_, [first, rest @ ..]) if first == kernel::KERNEL => kernel::run(rest),
        (_, arguments) => match arguments.first().map(String::as_str) {
            Some("--demo") => demo::run(),
            Some("@hold") => test_world::hold(),
            _ => runner::run(),
        },
    }
}

/// `/init @role NAME ...` plays a part inside a world.
pub(crate) const ROLE: &str = "@role";

fn play(arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [launch::LAUNCHER, options] => launch::launcher(options),
        [launch::FIRST, options] => launch::first(options),
        [launch::SERVER, options, facts] => launch::server(options, facts),
        [probe::ECHO, address] => probe::echo_role(address),
        [probe::PROBE, address] => probe::probe_role(address),
        [station::STATION, address, orders] => station::station_role(address, orders),
        [station::CROWD, address, count] => station::crowd_role(address, count),
        [talker::UDP, address] => talker::udp_role(address),
        [talker::TCP, address] => talker::tcp_role(address),
        [talker::STREAMS, address, count] => talker::streams_role(address, count),
        [talker::ANSWER, address] => talker::answer_role(address),
        [resolver::DNS, address, how] => resolver::role(address, how),
        [test_peers::ARRIVALS, address] => test_peers::arrivals_role(address),
        [test_peers::DELAY, address, to] => test_peers::delay_role(address, to),
        [talker::REQUEST, address] => talker::request_role(address),
        [talker::PROXIED, address, file] => talker::proxied_role(address, file),
        [guest_side::GUEST_SIDE, options] => guest_side::role(options),
        [wsl_stdio::WSL_STDIO, argv @ ..] => wsl_stdio::role(argv),
        [false_switch::FALSE_SWITCH, socket, how] => false_switch::role(socket, how),
        [net_server::NET_SERVER, address] => net_server::role(address),
        [net_probe::NET_PROBE, name, address] => net_probe::role(name, address),
        [net_client::NET_CLIENT, kind, address, count] => net_client::role(kind, address, count),
        [memory::SCAN, pid, needles @ ..] => memory::scan_role(pid, needles),
        [bench::REPLACE, file, address, quiet] => bench::replace_role(file, address, quiet),
        [test_leader::SQUAT, names @ ..] => test_leader::squat_role(names),
        [test_forward_test::SERVE, kind, address] => test_forward_test::serve_role(kind, address),
        [test_socket_watch::WATCH, case] => test_socket_watch::watch_role(case),
        [bench::CHURN, kind, rate] => bench::churn_role(kind, rate),
        [test_discovery::LISTEN, kind, count] => test_discovery::listen_role(kind, count),
        [test_ipv6_node::ROUTER, link, prefix, lifetime] => {
            test_ipv6_node::router_role(link, prefix, lifetime)
        }
        [test_leader::OLD] => test_leader::old_role(),
        [test_leader::CRAFTED, count] => test_leader::crafted_role(count),
        [test_leader::KNOCK] => test_leader::knock_role(),
        [test_members::LEADER, version] => test_members::leader_role(version),
        [test_members::REGISTER, kind] => test_members::register_role(kind),
        [bench::READY, count] => bench::ready_role(count),
        [bench::LISTENERS, count] => bench::listeners_role(count),
        [bench::SOCKETS, count] => bench::sockets_role(count),
        other => {
            eprintln!("no such part: {other:?}");
            ExitCode::FAILURE
        }
    }
}
