//! One agent for each network namespace.
//!
//! All WSL distributions of a user share one network namespace, and two agents in it
//! would undo each other's work. Names of abstract Unix sockets belong to the network
//! namespace (unix(7), network_namespaces(7)) and end with their process, but any user
//! may bind any of them. So a name that is taken says nothing: each agent binds one of
//! its own, and leads if it then finds no other agent. Of two that start at once, the
//! one that looks later finds the other. `hello.rs` tells an agent from a stranger.

mod hello;
mod proof;
mod strangers;

use std::{fmt, future::pending, io, time::Duration};

use tokio::{
    net::UnixStream,
    time::{Instant, sleep, timeout_at},
};

use self::{
    hello::{Answer, Inquiry},
    proof::{Proofs, prove, random},
    strangers::Strangers,
};
use super::members::Members;
use crate::model::{Code, Finding};

/// How long a process of root may take to say that it is an agent. One that takes longer
/// does not keep this one from leading within a second.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Rounds of an election between agents that start at once.
const ROUNDS: usize = 8;

/// The leadership, for as long as this lives.
pub struct Leadership {
    proofs: Proofs,
    /// Of names whose holder has not answered yet. Other agents find this one by it.
    inquiry: Inquiry,
    strangers: Strangers,
}

/// What an attempt to lead gave.
pub enum Election {
    /// This process leads.
    Won(Leadership),
    /// Another one does.
    Lost(Leader),
}

/// An agent that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process number; `None` when it lives in another distribution, whose
    /// processes have no number here.
    pub pid: Option<i32>,
    /// Whether it leads as version 0.1.0 does, which cannot be asked. It has a number.
    pub is_old: bool,
}

impl Holder {
    /// Why this agent is on standby.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let code = if self.is_old {
            Code::LeaderOutdated
        } else {
            Code::Standby
        };
        Finding::new(code, "", self.to_string())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.is_old) {
            (Some(pid), true) => write!(f, "process {pid} leads, an agent of version 0.1.0"),
            (Some(pid), false) => write!(f, "process {pid} leads"),
            (None, _) => f.write_str("an agent in another distribution leads"),
        }
    }
}

/// The one that leads.
#[derive(Debug)]
pub struct Leader {
    /// Who it is.
    pub holder: Holder,
    /// The version of its registrations; 0 where it takes none.
    pub(super) version: u32,
    pub(super) stream: UnixStream,
    /// Its name, and where a proof of ours goes.
    proof: Option<(String, u32, u64)>,
}

/// Tries to lead. Takes a moment where another agent leads, and [`ANSWER_TIMEOUT`] where a
/// process of root holds a name and stays silent.
///
/// # Errors
/// The kernel gives no socket, or no list of them.
pub async fn elect() -> io::Result<Election> {
    let mut round = 0;
    loop {
        round += 1;
        let leader = match look().await? {
            Election::Won(leadership) => return Ok(Election::Won(leadership)),
            Election::Lost(leader) => leader,
        };
        // A leader stays; another candidate has gone, as this one has.
        sleep(Duration::from_millis(10 + random() % 50)).await;
        if round == ROUNDS || is_open(&leader.stream) {
            return Ok(Election::Lost(leader));
        }
    }
}

/// Asks the holders of all other names.
async fn look() -> io::Result<Election> {
    let proofs = Proofs::new()?;
    let mut leadership = Leadership {
        inquiry: Inquiry::begin(proofs.request())?,
        proofs,
        strangers: Strangers::default(),
    };
    let leader = timeout_at(Instant::now() + ANSWER_TIMEOUT, leadership.leader()).await;
    Ok(match leader {
        Ok(Some(leader)) => Election::Lost(leader),
        Ok(None) | Err(_) => Election::Won(leadership),
    })
}

/// The agent that answered; `None` where a stranger did.
fn judge(answer: Answer, proofs: &mut Proofs, strangers: &mut Strangers) -> Option<Leader> {
    let (peer, version, stream, proof) = match answer {
        Answer::Hello {
            name,
            peer,
            stream,
            version,
            request,
        } if peer.uid != 0 || proofs.has(&name) => {
            let proof = request.map(|(port, nonce)| (name, port, nonce));
            (peer, version, stream, proof)
        }
        Answer::Old { peer, stream } if peer.uid != 0 || peer.may_administer() => {
            (peer, 0, stream, None)
        }
        other => {
            strangers.add(other);
            return None;
        }
    };
    let pid = peer.pid;
    // Hellos of version 0 were never written.
    let is_old = version == 0;
    Some(Leader {
        holder: Holder { pid, is_old },
        version,
        stream,
        proof,
    })
}

impl Leadership {
    /// Waits for an agent among those that have not answered.
    async fn leader(&mut self) -> Option<Leader> {
        while let Some(answer) = self.inquiry.next().await {
            let leader = judge(answer, &mut self.proofs, &mut self.strangers);
            if leader.is_some() {
                return leader;
            }
        }
        None
    }

    /// Waits until a process of root that stayed silent during the election turns out
    /// to be an agent that was slow: it leads already. Mostly never.
    pub(super) async fn overruled(&mut self) -> Holder {
        match self.leader().await {
            Some(leader) => leader.holder,
            None => pending().await,
        }
    }

    /// Those that wait for this process's end.
    pub(super) fn members(&self) -> Members {
        self.inquiry.members()
    }

    /// The strangers that hold names of this election now.
    #[must_use]
    pub fn finding(&mut self) -> Option<Finding> {
        self.strangers.finding(self.inquiry.silent())
    }
}

/// Whether the other end has not been closed.
fn is_open(stream: &UnixStream) -> bool {
    match stream.try_read(&mut [0; 64]) {
        Ok(read) => read > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

impl Leader {
    /// Proves to it that this process may register forwards, and says whether it takes any.
    pub(super) fn accepts(&self) -> bool {
        // What cannot be sent is refused by it, with the reason.
        self.proof.as_ref().is_some_and(|(name, port, nonce)| {
            prove(*port, *nonce, name).unwrap_or_default();
            true
        })
    }
}

#[cfg(test)]
mod tests;
