//! Processes that hold a name of the election and are no agents.

use tokio::net::UnixStream;

use super::{
    hello::{Answer, Peer},
    is_open,
};
use crate::model::{Code, Finding, counted};

/// Strangers that are listed; the rest are counted.
const MOST: usize = 8;

/// Of one that cannot be asked and may be an agent.
const MAYBE_OLD: &str = ", that of version 0.1.0";

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Each with a connection, where there is one, which shows whether it lives.
    known: Vec<(String, Option<UnixStream>)>,
    more: usize,
}

impl Strangers {
    /// Takes an answer that was no agent's.
    pub(super) fn add(&mut self, answer: Answer) {
        let (text, stream) = match answer {
            Answer::Ended => return,
            Answer::OtherUser { peer, stream } => (describe(peer, ""), Some(stream)),
            Answer::NoHello { peer } => (describe(peer, " and does not answer as an agent"), None),
            // In another distribution, or in a container: nothing shows which.
            Answer::Old { peer, stream } if peer.pid.is_none() => {
                (describe(peer, MAYBE_OLD), Some(stream))
            }
            Answer::Hello { peer, stream, .. } | Answer::Old { peer, stream } => (
                describe(
                    peer,
                    " and has no CAP_NET_ADMIN in this network namespace (root in a container?)",
                ),
                Some(stream),
            ),
        };
        if self.known.len() < MOST {
            self.known.push((text, stream));
        } else {
            self.more += 1;
        }
    }

    /// Those that live, in one finding, with the number of those that have not answered.
    pub(super) fn finding(&mut self, silent: usize) -> Option<Finding> {
        self.known
            .retain(|(_, stream)| stream.as_ref().is_none_or(is_open));
        let mut texts: Vec<String> = self.known.iter().map(|(text, _)| text.clone()).collect();
        if self.more > 0 {
            texts.push(format!("so do {} more", self.more));
        }
        if silent > 0 {
            let count = counted(silent, "leader-election socket");
            texts.push(format!("{count} without an answer"));
        }
        if texts.is_empty() {
            return None;
        }
        let code = match texts.iter().any(|text| text.ends_with(MAYBE_OLD)) {
            true => Code::LeaderOutdated,
            false => Code::LeaderUntrusted,
        };
        let text = format!("{}; ignored", texts.join("; "));
        Some(Finding::new(code, "", text))
    }
}

/// Who holds a socket, in words.
pub(super) fn describe(peer: Peer, and: &str) -> String {
    let user = match peer.uid {
        0 => "root".to_owned(),
        uid => format!("user {uid}"),
    };
    let who = match peer.pid {
        Some(pid) => format!("process {pid} of {user}"),
        None => format!("a process of {user} in another distribution or a container"),
    };
    format!("{who} holds a leader-election socket{and}")
}
