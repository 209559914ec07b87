//! Runs the trials: each with a world of its own, two at a time.
//!
//! Where a world cannot be built a trial is reported as ignored with the
//! reason, never as passed; with CI=true in the environment it fails.

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::launch::Unavailable;
use crate::options::Options;
use crate::world::World;
use crate::{
    bench, demo, test_agent, test_backends, test_bus, test_bus_faults, test_claim,
    test_completions, test_config, test_containers, test_contract, test_counters, test_default,
    test_discovery, test_dns, test_doctor, test_escapes, test_faults, test_field, test_file_races,
    test_folders, test_forward_hops, test_forward_test, test_host_check, test_host_conflicts,
    test_host_faults, test_host_forward, test_host_hostile, test_host_install, test_interop,
    test_ipv6, test_ipv6_node, test_kept, test_leader, test_lifetime, test_loop, test_loopback,
    test_members, test_mesh, test_metrics, test_mirrored, test_mirrored_network, test_modes,
    test_nat_broken, test_network, test_network_file, test_output, test_path, test_peers,
    test_port, test_relay, test_resume, test_setup, test_socket_watch, test_status, test_syscalls,
    test_sysctls, test_tailscale, test_takeover, test_tunnel, test_tunnel_faults,
    test_tunnel_forwards, test_tunnel_proxy, test_tunnel_way, test_walk, test_windows_calls,
    test_windows_faults, test_windows_rules, test_wireguard, test_world, test_wsl_files,
};

/// A trial in a world with the delays of Windows.
pub(crate) fn trial(name: &str, body: fn(&World) -> Result<()>) -> Trial {
    trial_with(name, Options::default(), body)
}

/// A trial in a world made to order. Afterwards Windows must have understood
/// everything.
pub(crate) fn trial_with(name: &str, options: Options, body: fn(&World) -> Result<()>) -> Trial {
    trial_alone(name, move || {
        let world = World::start(&options)?;
        body(&world)?;
        world.windows().check()
    })
}

/// A trial that makes its own worlds, or needs none.
pub(crate) fn trial_alone(name: &str, body: impl Fn() -> Result<()> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || outcome(body()))
}

fn outcome(result: Result<()>) -> Result<Completion, Failed> {
    let Err(error) = result else {
        return Ok(Completion::Completed);
    };
    let Some(Unavailable(why)) = error.downcast_ref() else {
        return Err(format!("{error:#}").into());
    };
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        return Err(format!("not run, which CI does not accept: {why}").into());
    }
    Ok(Completion::ignored_with(format!("not run: {why}")))
}

/// Runs what the command line selects.
pub(crate) fn run() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let files = [
        test_world::trials,
        test_wsl_files::trials,
        test_network::trials,
        test_interop::trials,
        test_ipv6::trials,
        test_faults::trials,
        bench::trials,
        demo::trials,
        test_agent::trials,
        test_backends::trials,
        test_bus::trials,
        test_bus_faults::trials,
        test_claim::trials,
        test_completions::trials,
        test_config::trials,
        test_containers::trials,
        test_counters::trials,
        test_contract::trials,
        test_default::trials,
        test_discovery::trials,
        test_dns::trials,
        test_doctor::trials,
        test_escapes::trials,
        test_network_file::trials,
        test_field::trials,
        test_file_races::trials,
        test_folders::trials,
        test_forward_test::trials,
        test_forward_hops::trials,
        test_host_check::trials,
        test_host_install::trials,
        test_host_forward::trials,
        test_host_hostile::trials,
        test_host_faults::trials,
        test_host_conflicts::trials,
        test_ipv6_node::trials,
        test_kept::trials,
        test_leader::trials,
        test_lifetime::trials,
        test_members::trials,
        test_metrics::trials,
        test_tailscale::trials,
        test_takeover::trials,
        test_tunnel::trials,
        test_tunnel_faults::trials,
        test_tunnel_forwards::trials,
        test_tunnel_proxy::trials,
        test_tunnel_way::trials,
        test_loop::trials,
        test_loopback::trials,
        test_mesh::trials,
        test_mirrored::trials,
        test_mirrored_network::trials,
        test_modes::trials,
        test_nat_broken::trials,
        test_output::trials,
        test_path::trials,
        test_peers::trials,
        test_port::trials,
        test_relay::trials,
        test_resume::trials,
        test_setup::trials,
        test_socket_watch::trials,
        test_status::trials,
        test_syscalls::trials,
        test_sysctls::trials,
        test_windows_faults::trials,
        test_walk::trials,
        test_windows_calls::trials,
        test_windows_rules::trials,
        test_wireguard::trials,
    ];
    let trials = files.iter().flat_map(|trials| trials()).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
