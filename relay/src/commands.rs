//! Commands from standard input: lines of bounded length, read by a thread of
//! their own. An invalid line leaves everything as it is.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::thread;

use serde::Deserialize;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::protocol::{Command, Listen, MAX_LINE, MAX_UDP_SESSIONS, SetForwards, VERSION};

/// Capacity of the command channel. More commands wait in the pipe.
const CAPACITY: usize = 4;

/// Longest reason in an event, in bytes. serde quotes what it did not expect,
/// and that can be as long as the line.
const MAX_REASON: usize = 300;

/// One line from standard input.
#[derive(Debug)]
pub(crate) enum Input {
    /// A valid command.
    Command(Command),
    /// An invalid line.
    Invalid {
        /// Its number, from 1.
        line: u64,
        /// What is wrong, in printable ASCII.
        reason: String,
    },
}

/// Why a line is no valid command.
#[derive(Debug, Error)]
enum CommandError {
    #[error("longer than {MAX_LINE} bytes")]
    TooLong,
    #[error("standard input ended within the line")]
    Truncated,
    #[error("not UTF-8")]
    NotUtf8,
    #[error("not a command: {0}")]
    NotACommand(#[from] serde_json::Error),
    #[error("version {0}, this relay supports version {VERSION}")]
    Version(u64),
    #[error("duplicate forward {0}")]
    Duplicate(Listen),
    #[error("udp-idle-seconds is 0, it must be at least 1")]
    NoIdleTime,
    #[error("udp-sessions is {0}, it may be {MAX_UDP_SESSIONS} at most")]
    TooManySessions(u32),
}

/// Reads commands until standard input ends; then the channel closes.
///
/// # Errors
///
/// The system refuses a thread.
pub(crate) fn listen(input: impl Read + Send + 'static) -> std::io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    thread::Builder::new()
        .name("commands".to_owned())
        .spawn(move || {
            let mut lines = Lines::new(input);
            while let Some((line, content)) = lines.next() {
                let input = match content.and_then(|bytes| parse(&bytes)) {
                    Ok(command) => Input::Command(command),
                    Err(error) => Input::Invalid {
                        line,
                        reason: printable(&error.to_string()),
                    },
                };
                if sender.blocking_send(input).is_err() {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

/// Lines of at most [`MAX_LINE`] bytes; of a longer one nothing is kept.
struct Lines<R> {
    input: BufReader<R>,
    number: u64,
}

impl<R: Read> Lines<R> {
    fn new(input: R) -> Self {
        Self {
            input: BufReader::new(input),
            number: 0,
        }
    }

    /// The next line without its end. A read error counts as the end of the input.
    fn next(&mut self) -> Option<(u64, Result<Vec<u8>, CommandError>)> {
        let mut line = Vec::new();
        let longest = MAX_LINE as u64 + 1;
        let read = self
            .input
            .by_ref()
            .take(longest)
            .read_until(b'\n', &mut line);
        // What was read before an error is a truncated line.
        drop(read);
        if line.is_empty() {
            return None;
        }
        self.number += 1;
        let content = if line.pop_if(|end| *end == b'\n').is_some() {
            Ok(line)
        } else if line.len() > MAX_LINE {
            drop(self.input.skip_until(b'\n'));
            Err(CommandError::TooLong)
        } else {
            // Half a command could be a whole one with another meaning.
            Err(CommandError::Truncated)
        };
        Some((self.number, content))
    }
}

/// Distinguishes a newer protocol from a broken line.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

fn parse(line: &[u8]) -> Result<Command, CommandError> {
    let text = str::from_utf8(line).map_err(|_| CommandError::NotUtf8)?;
    let command = serde_json::from_str(text).map_err(|error| {
        match serde_json::from_str::<Versioned>(text) {
            Ok(other) if other.version != u64::from(VERSION) => {
                CommandError::Version(other.version)
            }
            _ => CommandError::NotACommand(error),
        }
    })?;
    if let Command::SetForwards(wanted) = &command {
        check(wanted)?;
    }
    Ok(command)
}

fn check(wanted: &SetForwards) -> Result<(), CommandError> {
    if wanted.version != VERSION {
        return Err(CommandError::Version(u64::from(wanted.version)));
    }
    if wanted.limits.udp_idle_seconds == 0 {
        return Err(CommandError::NoIdleTime);
    }
    if wanted.limits.udp_sessions > MAX_UDP_SESSIONS {
        return Err(CommandError::TooManySessions(wanted.limits.udp_sessions));
    }
    let mut seen = BTreeSet::new();
    let mut listens = wanted.forwards.iter().map(|forward| forward.listen);
    match listens.find(|listen| !seen.insert(*listen)) {
        Some(listen) => Err(CommandError::Duplicate(listen)),
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
