//! The Windows end of interop: takes calls from `/init` and plays
//! powershell.exe. Whatever it does not know ends with exit code 1 and is kept
//! as a violation, which fails the test.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wslmesh::host::scripts::Script;

use crate::contract::Sync;
use crate::double::machine::{Machine, Name, RELAY_NAME};
use crate::double::port;
use crate::double::refresh;
use crate::double::relay::{self, RelayRun, STAND_IN};
use crate::double::session::{self, Session, WSL};
use crate::double::setup::{self, HostRequest};
use crate::double::situation::Situation;
use crate::fault::Fault;
use crate::init::DISTRIBUTION;
use crate::launch::has_users;
use crate::portproxy::PortProxy;
use crate::probe::now;
use crate::wire::{self, Hello, Kind};

/// Where powershell.exe is in a world.
pub(crate) const POWERSHELL: &str = "/mnt/c/Windows/System32/WindowsPowerShell/v1.0/powershell.exe";
/// Where interop sockets are.
pub(crate) const SOCKET_FOLDER: &str = "/run/WSL";
/// The socket of PID 1.
pub(crate) const SOCKET: &str = "/run/WSL/1_interop";
/// The socket of an open terminal, while there is one.
pub(crate) const SESSION: &str = "/run/WSL/700_interop";
/// The same while there is none.
pub(crate) const NO_SESSION: &str = "/run/WSL/.700";
/// The default user of a distribution.
const USER: u32 = 1000;
/// How long init waits for a client to say what it wants.
const HELLO: Duration = Duration::from_secs(10);

/// A file as it is shipped, by the name it has on Windows.
pub(crate) fn shipped(name: &str) -> Option<Vec<u8>> {
    if name == RELAY_NAME {
        return Some(STAND_IN.to_vec());
    }
    let mut scripts = Script::ALL.into_iter();
    let script = scripts.find(|script| script.file_name() == name)?;
    Some(script.text().as_bytes().to_vec())
}

/// How long an `/init` may take to end after its caller.
const LEAVING: Duration = Duration::from_secs(2);

/// What powershell.exe is called with, before the command, or the script's path.
pub(crate) const OPTIONS: [&str; 4] = [
    "-NoProfile",
    "-NonInteractive",
    "-ExecutionPolicy",
    "Bypass",
];

/// One start of powershell.exe.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Call {
    /// When it began, in ns of CLOCK_MONOTONIC.
    pub(crate) at: u64,
    /// The script's file name; empty when there was none.
    pub(crate) script: String,
    /// The caller's working directory, as Windows has it.
    pub(crate) cwd: String,
    /// The option that the script came by, `-Command` or `-File`; empty as above.
    pub(crate) by: String,
    /// The request as it came; empty when the call did not get that far.
    pub(crate) request: String,
    /// What the script answered, before a fault.
    pub(crate) answer: String,
    /// The state answered, or what happened instead.
    pub(crate) outcome: String,
}

/// What the simulated Windows knows and does.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) machine: Machine,
    pub(crate) situation: Situation,
    pub(crate) fault: Option<Fault>,
    pub(crate) start_up: Duration,
    pub(crate) mode: String,
    pub(crate) calls: Vec<Call>,
    pub(crate) violations: Vec<String>,
    pub(crate) listening: Vec<SocketAddrV4>,
    /// How each run of the elevated task ended.
    pub(crate) task_runs: Vec<String>,
    /// Every start of the relay.
    pub(crate) relays: Vec<RelayRun>,
    /// Every start of wsl.exe.
    pub(crate) sessions: Vec<Session>,
    /// The relay ends with this code as soon as it is started.
    pub(crate) relay_crashes: Option<u8>,
    /// The relay says this when it is started, and nothing after that.
    pub(crate) relay_says: Option<String>,
    /// After that it says this line without end; `#` is a number from 1 to 60,000.
    pub(crate) relay_repeats: Option<String>,
}

/// The simulated Windows.
#[derive(Debug)]
pub(crate) struct Host {
    state: Mutex<State>,
    proxy: PortProxy,
    /// Held by a script between its selection and the answer.
    turn: Mutex<()>,
    /// Held by a running task: starts are queued.
    queue: Mutex<()>,
    tickets: AtomicU64,
}

impl Host {
    /// Starts it: the port proxy and the interop socket.
    pub(crate) fn start(state: State) -> Result<Arc<Self>> {
        let host = Arc::new(Self {
            state: Mutex::new(state),
            proxy: PortProxy::start()?,
            turn: Mutex::default(),
            queue: Mutex::default(),
            tickets: AtomicU64::new(1000),
        });
        for path in [SOCKET, NO_SESSION] {
            let listener = UnixListener::bind(path).context("making an interop socket")?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))?;
            let host = Arc::clone(&host);
            // One client at a time says what it wants.
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    host.take(stream, path == SOCKET);
                }
            });
        }
        Ok(host)
    }

    /// The state, to look at or to change. [`Host::settle`] makes changed rules
    /// count.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the port proxy follow the rules; a stopped service listens nowhere.
    pub(crate) fn settle(&self, state: &mut State) -> Result<()> {
        let rules = if state.situation.service {
            state.machine.table()
        } else {
            Vec::new()
        };
        state.listening = self.proxy.apply(&rules)?;
        Ok(())
    }

    /// Whether a program could listen there, by trying it.
    pub(crate) fn probe(&self, name: Name) -> bool {
        match name {
            (IpAddr::V4(address), port) => self.proxy.probe(SocketAddrV4::new(address, port)),
            (IpAddr::V6(_), _) => true,
        }
    }

    /// One script at a time asks the task.
    pub(crate) fn refresh_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One task at a time runs.
    pub(crate) fn task_queue(&self) -> MutexGuard<'_, ()> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ticket that was never handed out.
    pub(crate) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    fn violation(&self, text: String) {
        self.state().violations.push(text);
    }

    /// Takes what a client wants; `own` says whether it came by the socket of PID 1.
    fn take(self: &Arc<Self>, mut stream: UnixStream, own: bool) {
        let limit = stream.set_read_timeout(Some(HELLO));
        let hello = limit.and_then(|()| wire::receive(&mut stream));
        let read = stream.set_read_timeout(None);
        let fault = self.state().fault.clone();
        if fault == Some(Fault::InteropSilent) && own {
            // Held open until the caller gives up.
            std::thread::spawn(move || drop(wire::receive(&mut stream)));
            return;
        }
        // Else the caller ended before it said anything, as when it is killed.
        let Ok((_, text)) = hello.and_then(|hello| read.map(|()| hello)) else {
            return;
        };
        match serde_json::from_slice(&text) {
            Ok(Hello::NetworkingMode) => {
                let mode = self.state().mode.clone();
                drop(wire::send(&mut stream, Kind::Started, mode.as_bytes()));
            }
            Ok(Hello::Name) if fault == Some(Fault::PathsHang) => {
                std::thread::spawn(move || drop(wire::receive(&mut stream)));
            }
            Ok(Hello::Name) => {
                let name = DISTRIBUTION.as_bytes();
                drop(wire::send(&mut stream, Kind::Started, name));
            }
            Ok(Hello::Start { .. }) if own && self.loses(fault.as_ref()) => {}
            Ok(Hello::Start { exe, argv, cwd }) => {
                let host = Arc::clone(self);
                std::thread::spawn(move || {
                    host.start_program(stream, &exe, &argv, cwd, fault.as_ref());
                });
            }
            Err(error) => self.violation(format!("a call that is not understood: {error}")),
        }
    }

    /// Whether what is to be started gets lost on the way to Windows.
    fn loses(&self, fault: Option<&Fault>) -> bool {
        match fault {
            Some(Fault::ChannelDead | Fault::ChannelDeadBesideSession) => true,
            Some(Fault::LosesOne) => {
                self.state().fault = None;
                true
            }
            _ => false,
        }
    }

    fn start_program(
        self: &Arc<Self>,
        mut stream: UnixStream,
        exe: &str,
        argv: &[String],
        cwd: String,
        fault: Option<&Fault>,
    ) {
        let Some(exe) = to_linux(exe) else {
            return self.violation(format!("{exe:?} is not a path of Windows"));
        };
        let exe = exe.as_str();
        if !Path::new(exe).is_file() {
            return not_started(&mut stream, exe, "No such file or directory");
        }
        let forbidden = self.state().situation.relay_forbidden;
        if relay::is_relay(exe) && forbidden {
            // CreateProcess fails otherwise: init tells one error for all of that.
            return not_started(&mut stream, exe, "Invalid argument");
        }
        if exe == WSL {
            return session::run(self, &mut stream, argv, fault);
        }
        if relay::is_relay(exe) {
            return self.start_relay(&mut stream, exe, argv);
        }
        let index = {
            let mut state = self.state();
            state.calls.push(Call {
                at: now(),
                script: String::new(),
                cwd,
                by: String::new(),
                request: String::new(),
                answer: String::new(),
                outcome: "started".to_owned(),
            });
            state.calls.len() - 1
        };
        let mut program = Program {
            host: self,
            stream: &mut stream,
            index,
        };
        let Ended { outcome, exit } = match program.run(exe, argv, fault) {
            Ok(ended) => ended,
            Err(End::CallerEnded) => Ended {
                outcome: "caller ended".to_owned(),
                exit: None,
            },
            Err(End::Violation(text)) => {
                self.violation(text.clone());
                Ended::new("violation", 1, text.as_bytes())
            }
        };
        // Before the exit: who has seen that one finds the outcome, too.
        if let Some(call) = self.state().calls.get_mut(index) {
            call.outcome = outcome;
        }
        if let Some((code, stderr)) = exit {
            program.exit(code, &stderr);
        }
        if let Some(Fault::Grandchild(ms)) = fault {
            std::thread::sleep(Duration::from_millis(*ms));
        }
    }
}

impl Host {
    fn start_relay(&self, stream: &mut UnixStream, exe: &str, argv: &[String]) {
        if wire::send(stream, Kind::Started, b"").is_err() {
            return;
        }
        if let Some(why) = relay::refusal(self, exe, argv) {
            self.violation(why.clone());
            let said = wire::send(stream, Kind::Error, why.as_bytes());
            drop(said.and_then(|()| wire::send(stream, Kind::Exit, &[0, 0, 0, 1])));
            return;
        }
        relay::run(self, stream, exe, argv);
    }
}

/// CreateProcess failed, of which init tells a Linux error.
fn not_started(stream: &mut UnixStream, exe: &str, error: &str) {
    let said = format!("{exe}: {error}\n");
    let sent = wire::send(stream, Kind::Started, b"")
        .and_then(|()| wire::send(stream, Kind::Error, said.as_bytes()))
        .and_then(|()| wire::send(stream, Kind::Exit, &[0, 0, 0, 1]));
    // Its caller may be gone.
    drop(sent);
}

/// How a program ended.
struct Ended {
    outcome: String,
    /// Its code and standard error; `None` where its caller learns neither.
    exit: Option<(u32, Vec<u8>)>,
}

impl Ended {
    fn new(outcome: impl Into<String>, code: u32, stderr: &[u8]) -> Self {
        Self {
            outcome: outcome.into(),
            exit: Some((code, stderr.to_vec())),
        }
    }
}

/// Why a program ended early.
enum End {
    CallerEnded,
    Violation(String),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::CallerEnded
    }
}

struct Program<'a> {
    host: &'a Arc<Host>,
    stream: &'a mut UnixStream,
    index: usize,
}

impl Program<'_> {
    fn run(&mut self, exe: &str, argv: &[String], fault: Option<&Fault>) -> Result<Ended, End> {
        wire::send(self.stream, Kind::Started, b"")?;
        let (by, script) = script(exe, argv).map_err(End::Violation)?;
        if let Some(call) = self.host.state().calls.get_mut(self.index) {
            call.script = script.file_name().to_owned();
            call.by = by.to_owned();
        }
        let by_command = by == "-Command";
        if by_command && fault == Some(&Fault::NoCommand) {
            // Standard input is not read, whatever there is of it.
            return Ok(Ended::new("no command runs", 1, b"no commands here\r\n"));
        }
        if fault == Some(&Fault::NoScript) {
            let said = b"Internal Windows PowerShell error.\r\n";
            return Ok(Ended::new("no script runs", 0xFFFF_0000, said));
        }
        let mut delay = self.host.state().start_up;
        if let Some(Fault::Slow(more)) = fault {
            delay += Duration::from_millis(*more);
        }
        std::thread::sleep(delay);
        let situation = self.host.state().situation.clone();
        let refusal = situation.refusal();
        let said = match &refusal {
            Some(policy) if by_command => Some(format!("{policy},Process=Bypass")),
            // Called all the same, and says what it finds.
            Some(_) if situation.constrained => Some("ConstrainedLanguage".to_owned()),
            _ => None,
        };
        if let Some(said) = said {
            let text = format!("wslmesh {said}\r\n");
            wire::send(self.stream, Kind::Output, text.as_bytes())?;
            return Ok(Ended::new("policy", 0, b""));
        }
        let mut input = self.input()?;
        if by_command {
            let size = script.text().len();
            if input.len() < size {
                let said = format!("standard input ended after {} of {size} bytes", input.len());
                return Ok(Ended::new("cut short", 9, said.as_bytes()));
            }
            if input.drain(..size).as_slice() != script.text().as_bytes() {
                let why = format!("what came is not {}", script.file_name());
                return Err(End::Violation(why));
            }
            wire::send(self.stream, Kind::Output, b"\r\n")?;
        }
        let end = input.iter().position(|byte| *byte == b'\n');
        let files = input.split_off(end.map_or(input.len(), |end| end + 1));
        let request = String::from_utf8(input)
            .map_err(|e| End::Violation(format!("the request is not text: {e}")))?;
        if let Some(call) = self.host.state().calls.get_mut(self.index) {
            call.request.clone_from(&request);
        }
        if refusal.is_some() {
            // In the words of a German Windows, code page 850.
            let stderr = b"Die Datei kann nicht geladen werden: nicht digital signiert f\x81r\r\n";
            return Ok(Ended::new("no script runs", 1, stderr));
        }
        match fault {
            Some(Fault::Hang) => {
                // Standard input has ended; nothing more comes until the caller goes.
                drop(wire::receive(self.stream));
                return Err(End::CallerEnded);
            }
            Some(Fault::Exit { code, stderr }) => {
                return Ok(Ended::new(format!("exit {code}"), *code, stderr));
            }
            Some(Fault::Rubbish(bytes)) => {
                wire::send(self.stream, Kind::Output, bytes)?;
                return Ok(Ended::new("rubbish", 0, b""));
            }
            _ => {}
        }
        self.answer(script, &request, &files, fault)
    }

    fn answer(
        &mut self,
        script: Script,
        request: &str,
        files: &[u8],
        fault: Option<&Fault>,
    ) -> Result<Ended, End> {
        // An agent that is stopped between starting the program and writing to it leaves
        // an /init behind, which ends when it cannot write to the agent.
        if request.is_empty() {
            wire::send(self.stream, Kind::Output, b"\n")?;
            self.still_there(LEAVING)?;
        }
        if !request.is_ascii() || !request.ends_with('\n') {
            return Err(End::Violation(format!(
                "the request is not one line of ASCII: {request:?}"
            )));
        }
        let not_agreed = |e| {
            End::Violation(format!(
                "the request is not the contract's: {e}: {request:?}"
            ))
        };
        let mut answer = match script {
            Script::Refresh => {
                if !files.is_empty() {
                    return Err(End::Violation("more follows the request".to_owned()));
                }
                let sync: Sync = serde_json::from_str(request).map_err(not_agreed)?;
                json(&refresh::refresh(self.host, &sync))?
            }
            Script::Host => {
                let order: HostRequest = serde_json::from_str(request).map_err(not_agreed)?;
                json(&setup::host(self.host, &order, files))?
            }
            Script::Port => {
                let asked: port::Request = serde_json::from_str(request).map_err(not_agreed)?;
                port::look(self.host, &asked)
            }
            Script::Forward | Script::Setup => {
                let name = script.file_name();
                return Err(End::Violation(format!("{name} is never called by Linux")));
            }
        };
        let state = answer
            .get("state")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let state = state.to_owned();
        if let Some(call) = self.host.state().calls.get_mut(self.index) {
            call.answer = answer.to_string();
        }
        if fault == Some(&Fault::DiesAfterwards) {
            return Ok(Ended {
                outcome: "died afterwards".to_owned(),
                exit: None,
            });
        }
        if let Some(Fault::OtherVersion(version)) = fault
            && let Some(answer) = answer.as_object_mut()
        {
            answer.insert("version".to_owned(), Value::from(*version));
        }
        let text = answer.to_string();
        let bytes = fault.map_or_else(
            || format!("{text}\r\n").into_bytes(),
            |fault| fault.mangle(&text),
        );
        for chunk in bytes.chunks(65_536) {
            wire::send(self.stream, Kind::Output, chunk)?;
        }
        Ok(Ended::new(state, 0, b""))
    }

    /// Standard input up to its end. A caller that was killed has no end.
    fn input(&mut self) -> Result<Vec<u8>, End> {
        let mut all = Vec::new();
        loop {
            let (kind, bytes) = wire::receive(self.stream)?;
            if kind != Kind::Input {
                return Err(End::Violation(format!("unexpected {kind:?} from /init")));
            }
            if bytes.is_empty() {
                self.still_there(Duration::from_millis(1))?;
                return Ok(all);
            }
            all.extend(bytes);
        }
    }

    /// Windows ends a program whose caller has ended, even when its standard
    /// input had come in full. Waits for that end.
    fn still_there(&mut self, limit: Duration) -> Result<(), End> {
        self.stream.set_read_timeout(Some(limit))?;
        let read = self.stream.read(&mut [0]);
        self.stream.set_read_timeout(None)?;
        match read {
            Ok(0) => Err(End::CallerEnded),
            Ok(_) => Err(End::Violation("input after its end".to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn exit(&mut self, code: u32, stderr: &[u8]) {
        let sent = wire::send(self.stream, Kind::Error, stderr)
            .and_then(|()| wire::send(self.stream, Kind::Exit, &code.to_be_bytes()))
            .and_then(|()| self.stream.flush());
        // The caller may be gone by now; its end is its own affair.
        drop(sent);
    }
}

fn json(answer: &impl Serialize) -> Result<Value, End> {
    serde_json::to_value(answer).map_err(|e| End::Violation(e.to_string()))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Only the contract's call is accepted, with a shipped script: by which option it comes,
/// and which it is.
fn script(exe: &str, argv: &[String]) -> Result<(&'static str, Script), String> {
    if exe != POWERSHELL {
        return Err(format!("{exe} is not a program the contract knows"));
    }
    let not_agreed = || format!("the call is not the contract's: {argv:?}");
    let [name, options @ .., by, what] = argv else {
        return Err(not_agreed());
    };
    if file_name(name) != "powershell.exe" || options != OPTIONS {
        return Err(not_agreed());
    }
    let mut scripts = Script::ALL.into_iter();
    if by == "-Command" {
        let script = scripts.find(|script| script.command() == *what);
        return Ok(("-Command", script.ok_or_else(not_agreed)?));
    }
    if by != "-File" {
        return Err(not_agreed());
    }
    let path =
        to_linux(what).ok_or_else(|| format!("{what:?} is not a path Windows could open"))?;
    let bytes = read_as_user(&path).map_err(|why| format!("{what}: {why}"))?;
    let script = scripts
        .find(|script| script.file_name() == file_name(&path) && script.text().as_bytes() == bytes);
    let script = script.ok_or_else(|| format!("{what} is not the shipped script"))?;
    Ok(("-File", script))
}

/// Windows reads files of the distribution as its default user (uid 1000), who is neither
/// root nor in a group of root's. Where the world has no such user, the modes are looked at.
fn read_as_user(path: &str) -> Result<Vec<u8>, String> {
    if has_users() {
        let cat = Command::new("cat").arg(path).uid(USER).gid(USER).output();
        let cat = cat.map_err(|e| e.to_string())?;
        let why = || String::from_utf8_lossy(&cat.stderr).into_owned();
        return cat
            .status
            .success()
            .then(|| cat.stdout.clone())
            .ok_or_else(why);
    }
    for place in Path::new(path).ancestors() {
        let needed = if place == Path::new(path) {
            0o004
        } else {
            0o001
        };
        let mode = std::fs::metadata(place).map_err(|e| e.to_string())?;
        if mode.permissions().mode() & needed == 0 {
            return Err(format!("its user may not read {}", place.display()));
        }
    }
    std::fs::read(path).map_err(|e| e.to_string())
}

/// `/mnt/c/x` as `('c', "/x")`.
pub(crate) fn drive_letter(path: &str) -> Option<(char, &str)> {
    let mut rest = path.strip_prefix("/mnt/")?.chars();
    let letter = rest.next().filter(char::is_ascii_lowercase)?;
    let rest = rest.as_str();
    (rest.is_empty() || rest.starts_with('/')).then_some((letter, rest))
}

/// The Linux path of a Windows one, for the two kinds `wslpath -w` prints.
fn to_linux(path: &str) -> Option<String> {
    if let Some(rest) = path.strip_prefix(&format!("\\\\wsl.localhost\\{DISTRIBUTION}\\")) {
        return Some(format!("/{}", rest.replace('\\', "/")));
    }
    let mut characters = path.chars();
    let letter = characters
        .next()
        .filter(char::is_ascii_alphabetic)?
        .to_ascii_lowercase();
    let rest = characters.as_str().strip_prefix(":\\")?;
    Some(format!("/mnt/{letter}/{}", rest.replace('\\', "/")))
}
