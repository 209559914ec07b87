//! `wslmesh-relay.exe`: the file on the Windows drive is a stand-in; the real relay
//! runs in the windows namespace. So does the tunnel's switch, which is the same program.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::double::machine::{PROGRAM_FILES, RELAY_NAME, local_app_data};
use crate::double::setup::sha256;
use crate::interop::{Host, shipped};
use crate::launch::environment;
use crate::options::RELAY;
use crate::probe::now;
use crate::topology::Place;
use crate::wire::{self, Kind};

/// What `$WSLMESH_LIBDIR/windows/wslmesh-relay.exe` holds in a world.
pub(crate) const STAND_IN: &[u8] = b"MZ\x90\0 placeholder of wslmesh-relay.exe\n";
/// The exit code of a relay that was started elevated.
const ELEVATED: u8 = 3;
/// What a switch says in that case (relay/src/server.rs).
const ELEVATED_SWITCH: &[u8] =
    b"wslmesh-relay switch: started elevated, and it handles untrusted packets\n";
/// Lines that are kept of each run and direction.
const KEPT: usize = 500;

/// One start of the relay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RelayRun {
    /// When it began, in ns of CLOCK_MONOTONIC.
    pub(crate) at: u64,
    /// The file, as Linux sees it.
    pub(crate) exe: String,
    /// Whether it is the tunnel's switch, whose streams are no lines.
    pub(crate) switch: bool,
    /// Its process inside the world; 0 when none was started.
    pub(crate) pid: u32,
    /// Lines of its standard input.
    pub(crate) commands: Vec<String>,
    /// When each of them had come, in ns of CLOCK_MONOTONIC.
    pub(crate) arrived: Vec<u64>,
    /// Lines of its standard output.
    pub(crate) events: Vec<String>,
    /// How it ended; `None` while it runs.
    pub(crate) outcome: Option<String>,
}

/// Why this file with these arguments is not the relay.
pub(crate) fn refusal(host: &Host, exe: &str, argv: &[String]) -> Option<String> {
    let sid = host.state().situation.user.clone();
    if argv.len() != 1 && !is_switch(argv) {
        return Some(format!("the relay takes no such arguments: {argv:?}"));
    }
    let bytes = std::fs::read(exe).unwrap_or_default();
    if shipped(RELAY_NAME).is_none_or(|shipped| shipped != bytes) {
        return Some(format!("{exe} is not the shipped relay"));
    }
    let hash = sha256(Path::new(exe)).unwrap_or_default();
    let start = hash.get(..16).unwrap_or_default();
    let own = format!("{}/wslmesh/wslmesh-relay-{start}.exe", local_app_data(&sid));
    let known = [format!("{PROGRAM_FILES}/{RELAY_NAME}"), own];
    (!known.iter().any(|known| known == exe)).then(|| format!("{exe} is not the path of a relay"))
}

fn is_switch(argv: &[String]) -> bool {
    matches!(argv, [_, what] if what == "switch")
}

/// Whether this looks like a start of the relay.
pub(crate) fn is_relay(exe: &str) -> bool {
    let name = exe.rsplit('/').next().unwrap_or_default();
    name.starts_with("wslmesh-relay") && name.ends_with(".exe")
}

/// Runs it until it or its caller exits.
pub(crate) fn run(host: &Host, stream: &mut UnixStream, exe: &str, argv: &[String]) {
    let switch = is_switch(argv);
    let (elevated, crashes, says, repeats, index) = {
        let mut state = host.state();
        state.relays.push(RelayRun {
            at: now(),
            exe: exe.to_owned(),
            switch,
            pid: 0,
            commands: Vec::new(),
            arrived: Vec::new(),
            events: Vec::new(),
            outcome: None,
        });
        let index = state.relays.len() - 1;
        let says = state.relay_says.clone();
        let repeats = state.relay_repeats.clone();
        let (elevated, crashes) = (state.situation.elevated, state.relay_crashes);
        (elevated, crashes, says, repeats, index)
    };
    let (outcome, code) = if let Some(code) = crashes {
        (format!("crashed with {code}"), code)
    } else if let Some(text) = says {
        // Its caller may have exited; then there is nothing to wait for.
        drop(wire::send(stream, Kind::Output, text.as_bytes()));
        if let Some(line) = repeats {
            repeat(stream, &line);
        }
        while wire::receive(stream).is_ok() {}
        ("caller exited".to_owned(), 1)
    } else if elevated {
        let (kind, line): (_, &[u8]) = match switch {
            true => (Kind::Error, ELEVATED_SWITCH),
            false => (Kind::Output, b"{\"event\":\"elevated\"}\n"),
        };
        drop(wire::send(stream, kind, line));
        ("elevated".to_owned(), ELEVATED)
    } else {
        match serve(host, stream, index, switch) {
            Ok(end) => end,
            Err(error) => {
                let text = format!("the relay could not be run: {error:#}");
                host.state().violations.push(text.clone());
                (text, 1)
            }
        }
    };
    if let Some(run) = host.state().relays.get_mut(index) {
        run.outcome = Some(outcome);
    }
    // The caller may have exited by now.
    drop(wire::send(
        stream,
        Kind::Exit,
        &u32::from(code).to_be_bytes(),
    ));
}

/// Says the line until the caller exits.
fn repeat(stream: &mut UnixStream, line: &str) {
    let mut numbers = (1..=60_000_u32).cycle();
    loop {
        let some = numbers.by_ref().take(100);
        let lines: String = some.map(|n| line.replace('#', &n.to_string())).collect();
        if wire::send(stream, Kind::Output, lines.as_bytes()).is_err() {
            return;
        }
    }
}

fn serve(
    host: &Host,
    stream: &mut UnixStream,
    index: usize,
    switch: bool,
) -> anyhow::Result<(String, u8)> {
    // This thread serves this call alone, so it may move.
    Place::Windows.enter()?;
    let mut child = Command::new(RELAY)
        .args(switch.then_some("switch"))
        .env_clear()
        .envs(environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(run) = host.state().relays.get_mut(index) {
        run.pid = child.id();
    }
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let child = Mutex::new(child);
    let lines = || (!switch).then(Lines::default);
    // Frames of both streams go over one socket.
    let back = Mutex::new(stream.try_clone()?);
    let status = std::thread::scope(|scope| {
        let input = stream.try_clone();
        scope.spawn(|| {
            if let Ok(input) = input {
                hand_in(host, input, stdin, index, lines());
            }
            end(&child);
        });
        scope.spawn(|| hand_out(host, stderr, &back, Kind::Error, index, lines()));
        hand_out(host, stdout, &back, Kind::Output, index, lines());
        let status = lock(&child).wait();
        // Wakes the thread that waits for input.
        drop(stream.shutdown(std::net::Shutdown::Read));
        status
    })?;
    let outcome = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok((outcome, code.unwrap_or(1)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Windows kills a program whose caller has exited.
fn end(child: &Mutex<Child>) {
    drop(lock(child).kill());
}

/// Passes standard input on until the caller exits. An empty frame closes it, and the
/// relay exits by itself.
fn hand_in(
    host: &Host,
    mut from: UnixStream,
    mut to: Option<ChildStdin>,
    index: usize,
    mut lines: Option<Lines>,
) {
    while let Ok((Kind::Input, bytes)) = wire::receive(&mut from) {
        let at = now();
        if bytes.is_empty() {
            to = None;
        }
        if let Some(pipe) = &mut to
            && pipe.write_all(&bytes).and_then(|()| pipe.flush()).is_err()
        {
            to = None;
        }
        for line in lines.iter_mut().flat_map(|lines| lines.add(&bytes)) {
            keep(host, index, |run| &mut run.commands, line);
            keep(host, index, |run| &mut run.arrived, at);
        }
    }
}

fn hand_out(
    host: &Host,
    from: Option<impl Read>,
    to: &Mutex<UnixStream>,
    kind: Kind,
    index: usize,
    mut lines: Option<Lines>,
) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..read).unwrap_or_default();
        // If the caller has exited, the other thread notices.
        drop(wire::send(&mut *lock(to), kind, bytes));
        for line in lines.iter_mut().flat_map(|lines| lines.add(bytes)) {
            keep(host, index, |run| &mut run.events, line);
        }
    }
}

fn keep<T>(host: &Host, index: usize, list: fn(&mut RelayRun) -> &mut Vec<T>, line: T) {
    if let Some(run) = host.state().relays.get_mut(index) {
        let list = list(run);
        if list.len() == KEPT {
            list.remove(0);
        }
        list.push(line);
    }
}

/// Joins pieces into lines.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn add(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.extend(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        lines
    }
}
