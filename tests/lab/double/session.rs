//! `wsl.exe`: a session in this distribution, in which `cat` waits.

use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::init::DISTRIBUTION;
use crate::interop::Host;
use crate::probe::now;
use crate::wire::{self, Kind};

/// Where it is in a world.
pub(crate) const WSL: &str = "/mnt/c/Windows/System32/wsl.exe";

/// One start of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    /// When it began, in ns of CLOCK_MONOTONIC.
    pub(crate) at: u64,
    /// How it ended; `None` while it runs.
    pub(crate) outcome: Option<String>,
}

/// Plays it until its input or its caller ends.
pub(crate) fn run(host: &Host, stream: &mut UnixStream, argv: &[String], fault: Option<&Fault>) {
    if wire::send(stream, Kind::Started, b"").is_err() {
        return;
    }
    let wanted = ["wsl.exe", "-d", DISTRIBUTION, "--cd", "/", "--exec", "cat"];
    let index = {
        let mut state = host.state();
        if argv != wanted {
            let text = format!("wsl.exe is not called so: {argv:?}");
            state.violations.push(text);
        }
        let session = Session {
            at: now(),
            outcome: None,
        };
        state.sessions.push(session);
        state.sessions.len() - 1
    };
    let (outcome, code) = match fault {
        Some(Fault::Exit { code, stderr }) => {
            drop(wire::send(stream, Kind::Error, stderr));
            ("crashed".to_owned(), *code)
        }
        Some(Fault::Rubbish(said)) => {
            drop(wire::send(stream, Kind::Output, said));
            ("complained".to_owned(), u32::MAX)
        }
        Some(Fault::Hang) => {
            while wire::receive(stream).is_ok_and(|(_, bytes)| !bytes.is_empty()) {}
            ("hung".to_owned(), 1)
        }
        _ => (echo(stream).to_owned(), 0),
    };
    if let Some(session) = host.state().sessions.get_mut(index) {
        session.outcome = Some(outcome);
    }
    // The caller may have ended by now.
    drop(wire::send(stream, Kind::Exit, &code.to_be_bytes()));
}

fn echo(stream: &mut UnixStream) -> &'static str {
    loop {
        match wire::receive(stream) {
            Ok((Kind::Input, bytes)) if bytes.is_empty() => return "its input ended",
            Ok((Kind::Input, bytes)) => drop(wire::send(stream, Kind::Output, &bytes)),
            Ok(_) => {}
            // Windows ends it with its caller.
            Err(_) => return "its caller ended",
        }
    }
}
