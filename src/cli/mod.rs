//! The command line, one file per subcommand; the only place that prints.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "people read the output and the errors of this folder"
)]

mod answers;
mod ask;
mod completions;
mod config;
mod counters;
mod doctor;
mod forward;
mod host;
mod members;
mod monitor;
mod output;
mod port;
mod run;
mod setup;
mod status;
mod style;
mod table;
mod tunnel;
mod wait_online;
mod wsl_files;

use std::{os::unix::net::UnixStream, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use self::output::Exit;
use crate::{blocking, config::Source, paths::Paths};

/// Keeps a mesh node inside WSL2 reachable: address, MTU, sysctls, WireGuard
/// keepalives and the Windows-side forward.
#[derive(Debug, Parser)]
#[command(
    name = "wslmesh",
    version,
    max_term_width = 80,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit status: 0 success, 1 failure, 2 usage error, 3 success but degraded.\nEnvironment: STATE_DIRECTORY, RUNTIME_DIRECTORY, WSLMESH_LOG (error, warn, info, debug, trace)."
)]
struct Arguments {
    /// Use this configuration file, and FILE.d/*.toml beside it, instead of the system's
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent (what wslmesh.service does)
    ///
    /// SIGHUP: reload the configuration and query Windows again. SIGTERM: stop.
    Run,
    /// Show what one pass would change, without changing anything
    Plan,
    /// Ask for what it cannot see, and bring this node up: the first run
    ///
    /// Finds WireGuard, Tailscale and NetBird, asks which ports of Windows shall lead
    /// here and who may connect, writes the configuration, has Windows' administrator
    /// approve it, and ends with the page of `wslmesh doctor`. It can be run again.
    #[command(after_help = setup::EXAMPLES)]
    Setup(setup::Setup),
    /// Make one pass and wait for Windows to confirm
    Apply,
    /// Restore the MTUs, sysctls and name servers that wslmesh changed, remove its rules on
    /// Windows
    Restore {
        /// Leave /etc/resolv.conf as `doctor --fix` made it
        #[arg(long)]
        keep_resolv_conf: bool,
    },
    /// Show the state of the running agent
    ///
    /// The relay is asked for its counters: connections or sessions and bytes of each
    /// forward.
    Status(status::Shown),
    /// Check this distribution for problems, with the reason and the fix
    ///
    /// Changes nothing unless --fix is given. Any user may run it; checks that need
    /// root are skipped. Exit status 3 if a check warns or fails.
    Doctor(doctor::Command),
    /// Show events of the agent as they happen, until Ctrl-C
    ///
    /// One line per event with its local time: address changes, applied changes,
    /// problems with their fix, and when they clear. The first line is the current
    /// state. Needs the system bus; continues when the agent restarts.
    Monitor {
        /// Print each event as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Wait until the node has an address and its tunnels can be used
    ///
    /// The tunnels are those of enabled wg-quick@ units, systemd-networkd's of WireGuard,
    /// Tailscale's where tailscaled is enabled, and those that [wireguard] and [mtu] name one
    /// by one. One of WireGuard can be used when a peer has answered within 180 s.
    #[command(after_help = wait_online::EXAMPLES)]
    WaitOnline(wait_online::Command),
    /// Say why a port does not answer: who holds it, here and on Windows, and what to do
    ///
    /// Connects to the port and closes the connection at once; changes nothing. Any user may
    /// run it; only root sees whose the processes of other users are.
    #[command(after_help = port::EXIT_STATUS)]
    Port(port::Command),
    /// Add, remove, test and list forwards from Windows
    #[command(subcommand)]
    Forward(forward::Command),
    /// Install, check and remove the Windows side
    #[command(subcommand)]
    Host(host::Command),
    /// Control the tunnel: a network by a program on Windows, for when Windows' NAT is broken
    #[command(subcommand, after_help = tunnel::EXAMPLES)]
    Tunnel(tunnel::Command),
    /// Check, show and import configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Check, show and edit .wslconfig, Windows' file for all of WSL
    ///
    /// An edit changes one line and keeps comments, order, line ends and encoding; what the
    /// file was is kept for rollback.
    #[command(after_help = wsl_files::CONFIG_EXAMPLES)]
    Wslconfig(wsl_files::Config),
    /// Check, show and edit /etc/wsl.conf, WSL's file in this distribution
    ///
    /// An edit changes one line and keeps comments, order and line ends; what the file was
    /// is kept for rollback. It needs root.
    #[command(after_help = wsl_files::CONF_EXAMPLES)]
    Wslconf(wsl_files::Conf),
    /// Generate shell completions
    ///
    /// The packages install them for all three shells.
    #[command(after_help = completions::EXAMPLES)]
    Completions {
        /// The shell
        #[arg(value_parser = completions::shells())]
        shell: completions::Shell,
    },
}

/// How long the process waits on exit for blocking calls: long enough to rename a file,
/// not for a WireGuard daemon that hangs.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    protect_memory();
    let result = match Arguments::try_parse() {
        Ok(arguments) => run_command(arguments),
        Err(error) => print_usage(&error),
    };
    let exit = result.unwrap_or_else(|error| {
        output::print_error(&error);
        Exit::Failed
    });
    exit.into()
}

/// No core dump of a process that reads WireGuard's keys: WSL pipes dumps to Windows,
/// where they stay in a folder of the user (microsoft/WSL: src/linux/init/main.cpp sets
/// core_pattern), and a limit of zero does not keep the kernel from a pipe (core(5)).
fn protect_memory() {
    // It fails for a behavior that the kernel does not know, and it knows this one.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or_default();
}

/// Prints help and version, or a usage error.
fn print_usage(error: &clap::Error) -> anyhow::Result<Exit> {
    if error.use_stderr() {
        output::write_error(&error.render().to_string());
        return Ok(Exit::Usage);
    }
    output::print(error.render().to_string().trim_end())?;
    Ok(Exit::Fine)
}

fn run_command(arguments: Arguments) -> anyhow::Result<Exit> {
    let source = Source::from_option(arguments.config.as_deref());
    let paths = Paths::from_environment();
    match arguments.command {
        Command::Run => block_on(run::run(source, paths)),
        Command::Plan => block_on(run::plan(source, paths)),
        Command::Setup(arguments) => block_on(setup::setup(arguments, source, paths)),
        Command::Apply => block_on(run::apply(source, paths)),
        Command::Restore { keep_resolv_conf } => block_on(run::restore(paths, keep_resolv_conf)),
        Command::Status(shown) => block_on(status::status(&paths, &shown)),
        Command::Monitor { json } => block_on(monitor::monitor(&paths, json)),
        Command::Doctor(command) => block_on(doctor::doctor(command, source, paths)),
        Command::WaitOnline(command) => block_on(wait_online::wait_online(command, source, paths)),
        Command::Port(command) => block_on(port::port(command, &source, &paths)),
        Command::Forward(command) => block_on(forward::forward(command, source, paths)),
        Command::Host(command) => block_on(host::host(command, source, paths)),
        Command::Tunnel(command) => block_on(tunnel::tunnel(command, paths)),
        Command::Config(command) => block_on(config::config(command, source, paths)),
        Command::Wslconfig(arguments) => block_on(wsl_files::wslconfig(arguments, paths)),
        Command::Wslconf(arguments) => block_on(wsl_files::wslconf(arguments, paths)),
        Command::Completions { shell } => completions::completions(shell),
    }
}

/// Runs on one thread; threads of blocking calls end with them, so an idle agent has one
/// thread.
fn block_on(work: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    // tokio makes such a pair for signals and panics without one.
    drop(UnixStream::pair()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(Duration::from_millis(20))
        .build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    blocking::wait_for_threads(SHUTDOWN_TIMEOUT);
    result
}

#[cfg(test)]
mod tests {
    mod man;
}
