//! What the relay counts. It is asked only when somebody wants to know.

use std::time::SystemTime;

use super::{Stage, Supervisor};
use wslmesh_relay::protocol::Command;

use crate::model::{Counted, Counters, RelayMemory};

impl Supervisor {
    /// Asks a relay that runs for its counters, which come as news. Tells what
    /// became of the relay if it could not be asked.
    pub(in crate::agent) fn ask_counters(&mut self) -> Option<RelayMemory> {
        let Stage::Running { process, .. } = &mut self.stage else {
            say_nobody();
            return None;
        };
        match process.send(&Command::GetCounters) {
            Ok(()) => {
                self.counting.asked();
                None
            }
            Err(error) => {
                self.fell(&error);
                Some(self.memory())
            }
        }
    }

    /// Takes its answer. Says whether it is one.
    pub(super) fn counted(&mut self, forwards: Vec<Counters>) -> bool {
        let named = |one: Counters| (self.name_of(one.listen), one);
        let forwards = forwards.into_iter().map(named);
        // One that is wanted no more has no name any more.
        let wanted = forwards.filter(|(name, _)| !name.is_empty()).collect();
        self.counting.heard(wanted)
    }
}

/// The last answer of the relay that runs.
#[derive(Debug, Default)]
pub(super) struct Counting {
    asked: bool,
    last: Option<Counted>,
}

impl Counting {
    /// The relay was asked.
    pub(super) fn asked(&mut self) {
        self.asked = true;
    }

    /// Takes its answer and writes it to the journal. Says whether somebody had
    /// asked: what nobody asked for is left.
    pub(super) fn heard(&mut self, forwards: Vec<(String, Counters)>) -> bool {
        if !std::mem::take(&mut self.asked) {
            return false;
        }
        say(&forwards);
        self.last = Some(Counted {
            taken_unix_ms: now_unix_ms(),
            forwards,
        });
        true
    }

    /// The last answer.
    pub(super) fn last(&self) -> Option<&Counted> {
        self.last.as_ref()
    }
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// One line with each forward that was of use; the fields are the sums.
fn say(forwards: &[(String, Counters)]) {
    let sum = |of: fn(&Counters) -> u64| -> u64 {
        let each = forwards.iter().map(|(_, counters)| of(counters));
        each.fold(0, u64::saturating_add)
    };
    tracing::info!(
        event = "counters",
        forwards = forwards.len(),
        active = sum(|one| one.active.into()),
        opened = sum(|one| one.opened),
        failed = sum(|one| one.failed),
        refused = sum(|one| one.refused),
        bytes_in = sum(|one| one.bytes_in),
        bytes_out = sum(|one| one.bytes_out),
        "{}",
        line(forwards)
    );
}

/// Somebody wants to know and no relay runs.
fn say_nobody() {
    tracing::info!(
        event = "counters",
        "no relay runs that could be asked for its counters"
    );
}

fn line(forwards: &[(String, Counters)]) -> String {
    let used = |(_, one): &&(String, Counters)| (one.opened, one.failed, one.refused) != (0, 0, 0);
    let mut parts: Vec<String> = forwards
        .iter()
        .filter(used)
        .map(|(name, one)| {
            format!(
                "{name} ({}): {} active, {} opened, {} failed, {} refused, {} bytes in, {} bytes out",
                one.listen,
                one.active,
                one.opened,
                one.failed,
                one.refused,
                one.bytes_in,
                one.bytes_out
            )
        })
        .collect();
    let idle = forwards.len() - parts.len();
    if idle > 0 {
        parts.push(format!("{idle} not used yet"));
    }
    format!("relay counters: {}", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Listen, Protocol};

    fn counters(opened: u64) -> Counters {
        Counters {
            listen: Listen {
                protocol: Protocol::Udp,
                listen_address: [0; 4].into(),
                listen_port: std::num::NonZeroU16::new(51820).unwrap(),
            },
            active: 2,
            opened,
            failed: 0,
            refused: 0,
            bytes_in: 1_000_000,
            bytes_out: 7,
        }
    }

    #[test]
    fn a_line_names_what_was_of_use() {
        let forwards = [
            ("wg".to_owned(), counters(3)),
            ("x".to_owned(), counters(0)),
        ];
        assert_eq!(
            line(&forwards),
            "relay counters: wg (udp 0.0.0.0:51820): 2 active, 3 opened, 0 failed, 0 refused, \
             1000000 bytes in, 7 bytes out; 1 not used yet"
        );
    }

    #[test]
    fn what_nobody_asked_for_is_left() {
        let mut counting = Counting::default();
        assert!(!counting.heard(Vec::new()));
        assert_eq!(counting.last(), None);
        counting.asked();
        assert!(counting.heard(vec![("wg".to_owned(), counters(3))]));
        let taken = counting.last().unwrap().taken_unix_ms;
        assert!(taken > 1_700_000_000_000 && taken <= now_unix_ms());
        assert!(!counting.heard(Vec::new()), "one question, one answer");
        assert_eq!(counting.last().unwrap().forwards.len(), 1);
    }
}
