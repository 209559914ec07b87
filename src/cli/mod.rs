//! The command line, one file per subcommand; the only place that prints.

mod answers;
mod ask;
mod completions;
mod config;
mod counters;
mod doctor;
mod forward;
mod host;
#[cfg(test)]
mod man;
mod monitor;
mod output;
mod run;
mod status;
mod style;
mod table;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};

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
    after_help = "Exit status: 0 fine, 1 failed, 2 wrong usage, 3 done but degraded.\nEnvironment: STATE_DIRECTORY, RUNTIME_DIRECTORY, WSLMESH_LOG (error, warn, info, debug, trace)."
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
    /// SIGHUP: read the configuration again and ask Windows anew. SIGTERM: stop.
    Run,
    /// Show what one pass would change, and change nothing
    Plan,
    /// Make one pass and wait for Windows' answer
    Apply,
    /// Put back the MTUs and sysctls that the agent changed, withdraw its rules on Windows
    Restore,
    /// Show the state of the running agent
    ///
    /// The relay is asked for its counters: connections or sessions and bytes of each
    /// forward.
    Status {
        /// Print the status document as JSON
        #[arg(long)]
        json: bool,
    },
    /// Examine this distribution: what is wrong, why it matters, how to fix it
    ///
    /// Reads this machine and changes nothing, unless --fix is given. Any user can run
    /// it; checks that need root are skipped. Exit status 3 after a warning or an
    /// error.
    Doctor(doctor::Command),
    /// Follow what the agent does, until Ctrl-C
    ///
    /// One line for each event with its local time: addresses, changes, problems that
    /// appear, with the fix, and that clear. The first line is the state. It needs the
    /// system bus, and goes on when the agent is restarted.
    Monitor {
        /// Print each event as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Add, remove and list forwards from Windows
    #[command(subcommand)]
    Forward(forward::Command),
    /// Install, remove and examine the Windows side
    #[command(subcommand)]
    Host(host::Command),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Print what makes a shell complete wslmesh's commands and options
    ///
    /// The packages install it for all three shells.
    #[command(after_help = completions::EXAMPLES)]
    Completions {
        /// The shell
        shell: completions::Shell,
    },
}

/// How long the process waits at its end for blocking calls. A file is being
/// renamed within that; a hanging WireGuard daemon is not waited for.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Arguments::try_parse() {
        Ok(arguments) => obey(arguments),
        Err(instead) => tell(&instead),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::complain(&error);
            Exit::Failed.into()
        }
    }
}

/// Prints what there is to say instead of a command: help and the version, which
/// were asked for, or how to use the program.
fn tell(instead: &clap::Error) -> anyhow::Result<Exit> {
    let text = instead.render().to_string();
    if instead.use_stderr() {
        // There is nobody left to tell.
        io::stderr()
            .lock()
            .write_all(text.as_bytes())
            .unwrap_or_default();
        return Ok(Exit::Usage);
    }
    output::print(text.trim_end())?;
    Ok(Exit::Fine)
}

fn obey(arguments: Arguments) -> anyhow::Result<Exit> {
    let source = Source::from_option(arguments.config.as_deref());
    let paths = Paths::from_environment();
    match arguments.command {
        Command::Run => block_on(run::run(source, paths)),
        Command::Plan => block_on(run::plan(source, paths)),
        Command::Apply => block_on(run::apply(source, paths)),
        Command::Restore => block_on(run::restore(paths)),
        Command::Status { json } => block_on(status::status(&paths, json)),
        Command::Monitor { json } => block_on(monitor::monitor(&paths, json)),
        Command::Doctor(command) => block_on(doctor::doctor(command, source, paths)),
        Command::Forward(command) => block_on(forward::forward(command, source, paths)),
        Command::Host(command) => block_on(host::host(command, source, paths)),
        Command::Config(command) => block_on(config::config(command, source, paths)),
        Command::Completions { shell } => completions::completions(shell),
    }
}

/// One thread for everything but blocking calls, whose threads end with them: an
/// idle agent is one thread.
fn block_on(work: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(Duration::from_millis(20))
        .build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_WAIT);
    blocking::wait_for_threads(LAST_WAIT);
    result
}
