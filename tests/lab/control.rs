//! What a test asks its world: one request, one answer, each a line of JSON
//! over a new connection to [`SOCKET`].

use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use crate::contract::{Policy, Protocol, Rule};
use crate::double::machine::{FirewallRule, Machine, Name, Task};
use crate::double::relay::RelayRun;
use crate::double::session::Session;
use crate::double::situation::Situation;
use crate::fault::Fault;
use crate::interop::Call;
use crate::topology::Place;
use crate::tracker::Ports;

/// Where the world listens for its test.
pub(crate) const SOCKET: &str = "/run/lab/control";

/// A command to start in one of the namespaces.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) place: Place,
    pub(crate) argv: Vec<String>,
    /// Added to the little that every command gets.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: String,
    pub(crate) stdin: Vec<u8>,
}

/// A question or an order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Answered by [`Reply::Started`].
    Start(Start),
    /// Waits at most this many ms for the end. Answered by [`Reply::Status`].
    Wait {
        /// From [`Reply::Started`].
        id: u32,
        /// 0 to look only.
        timeout_ms: u64,
    },
    /// Sends a signal, unless the process has ended. Answered by [`Reply::Done`].
    Signal {
        /// From [`Reply::Started`].
        id: u32,
        /// As in signal(7).
        signal: i32,
    },
    /// Answered by [`Reply::Host`].
    Host,
    /// Answered by [`Reply::Ports`] or [`Reply::NoTracker`].
    Ports,
    /// Changes Windows. Answered by [`Reply::Done`].
    Change(Change),
}

/// A change to the simulated Windows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    /// How it fails from now on.
    Fault(Option<Fault>),
    /// The circumstances, all of them.
    Situation(Box<Situation>),
    /// A rule of another tool: where it listens, and the registry's text of
    /// where it leads.
    Put(Name, String),
    /// A rule that another tool deletes.
    Delete(Name),
    /// A firewall rule that another tool makes or deletes.
    Firewall(String, Option<FirewallRule>),
    /// A task that is edited or deleted from outside.
    Task(String, Option<Task>),
    /// What Windows keeps, all of it but files.
    Machine(Box<Machine>),
    /// The user of this SID and an administrator have agreed to this.
    Install(String, Policy),
    /// Another program starts the task of this SID, and waits for its end.
    RunTask(String),
    /// How the relay ends as soon as it is started.
    RelayCrashes(Option<u8>),
    /// What the relay says instead of what it should, and nothing after that.
    RelaySays(Option<String>),
    /// What it says after that without end.
    RelayRepeats(Option<String>),
    /// How long powershell.exe takes, in ms.
    StartUp(u64),
    /// What wslinfo says.
    Mode(String),
    /// A program of Windows opens a port, or closes it.
    Port(Protocol, u16, bool),
    /// Forgets what was found wrong.
    ForgiveViolations,
}

/// The state of the simulated Windows as a test sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct View {
    /// All rules, ours and others'.
    pub(crate) table: Vec<Rule>,
    /// Those that are noted as ours.
    pub(crate) ledger: Vec<Rule>,
    /// Where the port proxy really listens.
    pub(crate) listening: Vec<SocketAddrV4>,
    /// Every start of powershell.exe.
    pub(crate) calls: Vec<Call>,
    /// Everything that was not understood.
    pub(crate) violations: Vec<String>,
    /// All that Windows keeps, but for files.
    pub(crate) machine: Machine,
    /// The circumstances.
    pub(crate) situation: Situation,
    /// How each run of the elevated task ended.
    pub(crate) task_runs: Vec<String>,
    /// Every start of the relay.
    pub(crate) relays: Vec<RelayRun>,
    /// Every start of wsl.exe.
    pub(crate) sessions: Vec<Session>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// By itself.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// The process runs.
    Started {
        /// For later requests.
        id: u32,
        /// Its process id inside the world.
        pid: u32,
    },
    /// How it ended, when it has.
    Status(Option<Status>),
    /// See [`View`].
    Host(Box<View>),
    /// What the port tracker knows.
    Ports(Ports),
    /// There is none, and why.
    NoTracker(String),
    /// It was done.
    Done,
    /// It could not be done, and why.
    Failed(String),
}

/// Where the output of process `id` is, inside the world.
pub(crate) fn output(id: u32, stream: &str) -> String {
    format!("/run/lab/out/{id}.{stream}")
}
