//! Commands from standard input: lines of bounded length, read by a thread of
//! their own. An invalid line leaves everything as it is.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::{iter, thread};

use serde::Deserialize;
use tokio::sync::mpsc;

use crate::protocol::{
    Command, Event, Forward, MAX_LINE, MAX_UDP_SESSIONS, Protocol, SetForwards, VERSION,
};

/// Capacity of the command channel. More commands wait in the pipe.
const CAPACITY: usize = 4;

/// Longest reason in an event, in bytes. serde quotes what it did not expect,
/// and that can be as long as the line.
const MAX_REASON: usize = 300;

/// Reads commands until standard input ends; then the channel closes. An invalid
/// line is the event that reports it.
///
/// # Errors
///
/// The system refuses a thread.
pub(crate) fn listen(
    input: impl Read + Send + 'static,
) -> std::io::Result<mpsc::Receiver<Result<Command, Event>>> {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    thread::Builder::new()
        .name("commands".to_owned())
        .spawn(move || {
            let mut input = BufReader::new(input);
            let lines = iter::from_fn(|| read_line(&mut input));
            for (line, content) in (1..).zip(lines) {
                let command = content.and_then(|content| parse(&content));
                let command = command.map_err(|reason| Event::Invalid {
                    line,
                    reason: printable(&reason),
                });
                if sender.blocking_send(command).is_err() {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

/// The next line without its end, of at most [`MAX_LINE`] bytes; of a longer one
/// nothing is kept. A read error counts as the end of the input.
fn read_line(input: &mut impl BufRead) -> Option<Result<Vec<u8>, String>> {
    let mut line = Vec::new();
    let mut start = input.take(MAX_LINE as u64 + 1);
    // What was read before an error is a truncated line.
    drop(start.read_until(b'\n', &mut line));
    if line.is_empty() {
        return None;
    }
    Some(if line.pop_if(|end| *end == b'\n').is_some() {
        Ok(line)
    } else if line.len() > MAX_LINE {
        drop(input.skip_until(b'\n'));
        Err(format!("longer than {MAX_LINE} bytes"))
    } else {
        // Half a command could be a whole one with another meaning.
        Err("standard input ended within the line".to_owned())
    })
}

/// Distinguishes a newer protocol from a broken line.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// The command in a line, or why it is none.
fn parse(line: &[u8]) -> Result<Command, String> {
    let text = str::from_utf8(line).map_err(|_| "not UTF-8")?;
    let command = serde_json::from_str(text).map_err(|error| match serde_json::from_str(text) {
        Ok(Versioned { version }) if version != u64::from(VERSION) => other_version(version),
        _ => format!("not a command: {error}"),
    })?;
    if let Command::SetForwards(wanted) = &command {
        check(wanted)?;
    }
    Ok(command)
}

fn other_version(version: u64) -> String {
    format!("version {version}, this relay supports version {VERSION}")
}

fn check(wanted: &SetForwards) -> Result<(), String> {
    if wanted.version != VERSION {
        return Err(other_version(wanted.version.into()));
    }
    let limits = wanted.limits;
    for (name, seconds) in [
        ("udp-idle-seconds", limits.udp_idle_seconds),
        ("udp-unanswered-seconds", limits.udp_unanswered_seconds),
    ] {
        if seconds == 0 {
            return Err(format!("{name} is 0, it must be at least 1"));
        }
    }
    let sessions = limits.udp_sessions;
    if sessions > MAX_UDP_SESSIONS {
        return Err(format!(
            "udp-sessions is {sessions}, it may be {MAX_UDP_SESSIONS} at most"
        ));
    }
    let is_wrong =
        |one: &&Forward| one.listen.protocol == Protocol::Udp && one.proxy_protocol.is_some();
    if let Some(one) = wanted.forwards.iter().find(is_wrong) {
        return Err(format!("{}: the PROXY protocol is of TCP", one.listen));
    }
    let mut seen = BTreeSet::new();
    let mut listens = wanted.forwards.iter().map(|forward| forward.listen);
    match listens.find(|listen| !seen.insert(*listen)) {
        Some(listen) => Err(format!("duplicate forward {listen}")),
        None => Ok(()),
    }
}

/// One line of printable ASCII, whatever was quoted in it.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .take(MAX_REASON)
        .collect()
}

#[cfg(test)]
mod tests;
