//! The world's server: does what the test asks, from inside.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};

use crate::control::{Change, Reply, Request, SOCKET, Start, Status, View, output};
use crate::double::machine::Machine;
use crate::double::situation::Situation;
use crate::double::{setup, task};
use crate::interop::{Host, State};
use crate::launch::environment;
use crate::options::Options;
use crate::probe;
use crate::tracker::Tracker;

const POLL: Duration = Duration::from_micros(300);

struct World {
    host: Arc<Host>,
    children: Mutex<BTreeMap<u32, Child>>,
    next: AtomicU32,
    binfmt: bool,
    tracker: Result<Tracker, String>,
}

/// Serves until the process is killed. Calls `ready` once everything answers.
pub(crate) fn run(options: Options, ready: impl FnOnce()) -> Result<()> {
    // Before anything has a thread or a port.
    let tracker = match options.mode.as_str() {
        "mirrored" | "consomme" => Tracker::start(options.mode == "consomme"),
        mode => Err(anyhow!("WSL tracks no ports in mode {mode}")),
    };
    let host = Host::start(State {
        machine: Machine::default(),
        situation: Situation::new(options.task_wait_ms)?,
        fault: None,
        start_up: Duration::from_millis(options.start_up_ms),
        mode: options.mode,
        calls: Vec::new(),
        violations: Vec::new(),
        listening: Vec::new(),
        task_runs: Vec::new(),
        relays: Vec::new(),
        sessions: Vec::new(),
        relay_crashes: None,
        relay_says: None,
        relay_repeats: None,
    })?;
    if options.echo {
        let listener = TcpListener::bind("0.0.0.0:22").context("starting the guest's service")?;
        probe::name_service()?;
        std::thread::spawn(move || probe::echo(&listener));
    }
    let binfmt = Path::new("/proc/sys/fs/binfmt_misc/WSLInterop").exists();
    let world = Arc::new(World {
        host,
        children: Mutex::default(),
        next: AtomicU32::new(1),
        binfmt,
        tracker: tracker.map_err(|error| format!("{error:#}")),
    });
    let listener = UnixListener::bind(SOCKET).context("making the control socket")?;
    ready();
    for stream in listener.incoming() {
        let stream = stream?;
        let world = Arc::clone(&world);
        // A new thread for each request: it may enter another namespace.
        std::thread::spawn(move || world.serve(stream));
    }
    Ok(())
}

impl World {
    fn serve(&self, mut stream: UnixStream) {
        let mut line = String::new();
        let reply = match BufReader::new(&stream).read_line(&mut line) {
            Ok(_) => serde_json::from_str(&line)
                .map_err(Into::into)
                .and_then(|request| self.answer(request)),
            Err(error) => Err(error.into()),
        };
        let reply =
            reply.unwrap_or_else(|error: anyhow::Error| Reply::Failed(format!("{error:#}")));
        if let Ok(text) = serde_json::to_string(&reply) {
            // A test that does not wait for the answer does not need it.
            drop(stream.write_all(text.as_bytes()));
        }
    }

    fn answer(&self, request: Request) -> Result<Reply> {
        match request {
            Request::Start(start) => self.start(start),
            Request::Wait { id, timeout_ms } => self
                .wait(id, Duration::from_millis(timeout_ms))
                .map(Reply::Status),
            Request::Signal { id, signal } => self.signal(id, signal),
            Request::Host => {
                let state = self.host.state();
                Ok(Reply::Host(Box::new(View {
                    table: state.machine.table(),
                    ledger: state.machine.ledger(&state.situation.user),
                    listening: state.listening.clone(),
                    calls: state.calls.clone(),
                    violations: state.violations.clone(),
                    machine: state.machine.clone(),
                    situation: state.situation.clone(),
                    task_runs: state.task_runs.clone(),
                    relays: state.relays.clone(),
                    sessions: state.sessions.clone(),
                })))
            }
            Request::Ports => Ok(match &self.tracker {
                Ok(tracker) => Reply::Ports(tracker.ports()),
                Err(why) => Reply::NoTracker(why.clone()),
            }),
            Request::Change(Change::Port(protocol, port, has)) => {
                let tracker = self.tracker.as_ref().map_err(|why| anyhow!("{why}"))?;
                tracker.windows_has(protocol, port, has);
                Ok(Reply::Done)
            }
            Request::Change(change) => self.change(change),
        }
    }

    fn change(&self, change: Change) -> Result<Reply> {
        if let Change::RunTask(sid) = &change {
            task::run(&self.host, sid);
            return Ok(Reply::Done);
        }
        let mut state = self.host.state();
        let state = &mut *state;
        match change {
            Change::Fault(fault) => {
                if let Some(old) = state.fault.take() {
                    old.end(self.binfmt)?;
                }
                if let Some(new) = &fault {
                    new.begin()?;
                }
                state.fault = fault;
            }
            Change::Situation(situation) => state.situation = *situation,
            Change::Put(name, target) => state.machine.set_rule(name, Some(target)),
            Change::Delete(name) => state.machine.set_rule(name, None),
            Change::Firewall(name, rule) => set(&mut state.machine.firewall, name, rule),
            Change::Task(name, task) => set(&mut state.machine.tasks, name, task),
            Change::Machine(machine) => state.machine = *machine,
            Change::Install(sid, policy) => {
                setup::agree(&mut state.machine, &state.situation, &sid, &policy)?;
            }
            Change::RunTask(_) | Change::Port(..) => {}
            Change::RelayCrashes(code) => state.relay_crashes = code,
            Change::RelaySays(text) => state.relay_says = text,
            Change::RelayRepeats(line) => state.relay_repeats = line,
            Change::StartUp(ms) => state.start_up = Duration::from_millis(ms),
            Change::Mode(mode) => state.mode = mode,
            Change::ForgiveViolations => state.violations.clear(),
        }
        self.host.settle(state)?;
        Ok(Reply::Done)
    }

    fn start(&self, start: Start) -> Result<Reply> {
        start.place.enter()?;
        let (program, arguments) = start.argv.split_first().context("an empty command")?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let stdin = output(id, "stdin");
        fs::write(&stdin, start.stdin)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(start.cwd)
            .env_clear()
            .envs(environment())
            .envs(start.env);
        command.stdin(File::open(stdin)?);
        command.stdout(Stdio::from(File::create(output(id, "stdout"))?));
        command.stderr(Stdio::from(File::create(output(id, "stderr"))?));
        let child = command
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let pid = child.id();
        self.children().insert(id, child);
        Ok(Reply::Started { id, pid })
    }

    fn children(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, id: u32, timeout: Duration) -> Result<Option<Status>> {
        let begun = Instant::now();
        loop {
            let ended = self
                .children()
                .get_mut(&id)
                .context("no such process")?
                .try_wait()?;
            if let Some(status) = ended {
                let by_itself = status.code().map(Status::Code);
                return Ok(by_itself.or_else(|| status.signal().map(Status::Signal)));
            }
            if begun.elapsed() >= timeout {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }

    fn signal(&self, id: u32, signal: i32) -> Result<Reply> {
        let mut children = self.children();
        let child = children.get_mut(&id).context("no such process")?;
        // Not after its end: the number may belong to another process by then.
        if child.try_wait()?.is_none() {
            let pid = i32::try_from(child.id())
                .ok()
                .and_then(Pid::from_raw)
                .context("no process id")?;
            let signal = Signal::from_named_raw(signal).context("no such signal")?;
            kill_process(pid, signal)?;
        }
        Ok(Reply::Done)
    }
}

fn set<T>(map: &mut BTreeMap<String, T>, name: String, value: Option<T>) {
    match value {
        Some(value) => map.insert(name, value),
        None => map.remove(&name),
    };
}
