//! Orders from standard input: lines of bounded length, read by a thread of
//! their own. Whatever comes, the relay goes on with what is in force.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::thread;

use serde::Deserialize;
use thiserror::Error;
use tokio::sync::mpsc;

use super::protocol::{Listen, MAX_LINE, MAX_UDP_SESSIONS, Order, VERSION, Want};

/// Orders that wait until the relay has time. More wait in the pipe.
const WAITING: usize = 4;

/// Longest reason in an event, in bytes. serde quotes what it did not expect,
/// and that can be as long as the line.
const LONGEST_REASON: usize = 300;

/// One line from standard input.
#[derive(Debug)]
pub(super) enum Input {
    /// An order that can be followed.
    Order(Order),
    /// A line that is none.
    Invalid {
        /// Its number, from 1.
        line: u64,
        /// What is wrong, in printable ASCII.
        reason: String,
    },
}

/// Why a line is no order.
#[derive(Debug, Error)]
enum Refusal {
    #[error("longer than {MAX_LINE} bytes")]
    TooLong,
    #[error("standard input ended within the line")]
    Half,
    #[error("not UTF-8")]
    NotUtf8,
    #[error("not an order: {0}")]
    NotAnOrder(#[from] serde_json::Error),
    #[error("version {0}, this relay knows version {VERSION}")]
    Version(u64),
    #[error("the forward {protocol:?} {address}:{port} is there twice", protocol = .0.protocol, address = .0.listen_address, port = .0.listen_port)]
    Twice(Listen),
    #[error("udp-idle-seconds is 0, it must be at least 1")]
    NoIdleTime,
    #[error("udp-sessions is {0}, it may be {MAX_UDP_SESSIONS} at most")]
    TooManySessions(u32),
}

/// Reads orders until standard input ends; then the channel closes.
///
/// # Errors
///
/// The system's error when it gives no thread.
pub(super) fn listen(input: impl Read + Send + 'static) -> std::io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    thread::Builder::new()
        .name("orders".to_owned())
        .spawn(move || {
            let mut lines = Lines::new(input);
            while let Some((line, content)) = lines.next() {
                let input = match content.and_then(|bytes| parse(&bytes)) {
                    Ok(order) => Input::Order(order),
                    Err(refusal) => Input::Invalid {
                        line,
                        reason: printable(&refusal.to_string()),
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

    /// The next line without its end. An input that cannot be read has ended.
    fn next(&mut self) -> Option<(u64, Result<Vec<u8>, Refusal>)> {
        let mut line = Vec::new();
        let mut length = 0_usize;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => &[],
            };
            if chunk.is_empty() {
                // Half an order could be a whole one of another meaning.
                return (length > 0).then(|| (self.number + 1, Err(Refusal::Half)));
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let (part, _) = chunk.split_at(end.unwrap_or(chunk.len()));
            length = length.saturating_add(part.len());
            if length <= MAX_LINE {
                line.extend_from_slice(part);
            } else {
                line = Vec::new();
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                self.number += 1;
                let content = if length <= MAX_LINE {
                    Ok(line)
                } else {
                    Err(Refusal::TooLong)
                };
                return Some((self.number, content));
            }
        }
    }
}

/// What tells a newer protocol from a broken line.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

fn parse(line: &[u8]) -> Result<Order, Refusal> {
    let text = str::from_utf8(line).map_err(|_| Refusal::NotUtf8)?;
    let order = match serde_json::from_str(text) {
        Ok(order) => order,
        Err(error) => {
            return Err(match serde_json::from_str::<Versioned>(text) {
                Ok(other) if other.version != u64::from(VERSION) => Refusal::Version(other.version),
                _ => Refusal::NotAnOrder(error),
            });
        }
    };
    if let Order::Want(want) = &order {
        check(want)?;
    }
    Ok(order)
}

fn check(want: &Want) -> Result<(), Refusal> {
    if want.version != VERSION {
        return Err(Refusal::Version(u64::from(want.version)));
    }
    if want.limits.udp_idle_seconds == 0 {
        return Err(Refusal::NoIdleTime);
    }
    if want.limits.udp_sessions > MAX_UDP_SESSIONS {
        return Err(Refusal::TooManySessions(want.limits.udp_sessions));
    }
    let mut seen = BTreeSet::new();
    for forward in &want.forwards {
        if !seen.insert(forward.listen) {
            return Err(Refusal::Twice(forward.listen));
        }
    }
    Ok(())
}

/// One line of printable ASCII, whatever was quoted in it.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == ' ' || c.is_ascii_graphic() {
                c
            } else {
                '?'
            }
        })
        .take(LONGEST_REASON)
        .collect()
}

#[cfg(test)]
mod tests;
