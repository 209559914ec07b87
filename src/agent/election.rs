//! One agent for each network namespace.
//!
//! All WSL distributions of a user share one network namespace, and two agents in it
//! would undo each other's work. Names of abstract Unix sockets belong to the network
//! namespace (unix(7), network_namespaces(7)) and end with their process, but any user
//! may bind any of them. So a name that is taken says nothing: each agent binds one of
//! its own, and leads if it then finds no other agent. Of two that start at once, the
//! one that looks later finds the other. `hello.rs` tells an agent from a stranger.

mod hello;
mod strangers;

use std::{fmt, future::pending, io, time::Duration};

use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    time::{Instant, sleep, timeout_at},
};

use self::{
    hello::{Answer, Inquiry, Proofs, random},
    strangers::Strangers,
};
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
    stream: UnixStream,
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
    let (peer, is_old, stream) = match answer {
        Answer::Hello { name, peer, stream } if peer.uid != 0 || proofs.has(&name) => {
            (peer, false, stream)
        }
        Answer::Old { peer, stream } if peer.uid != 0 || peer.may_administer() => {
            (peer, true, stream)
        }
        other => {
            strangers.add(other);
            return None;
        }
    };
    let pid = peer.pid;
    let holder = Holder { pid, is_old };
    Some(Leader { holder, stream })
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
    /// Waits for its end.
    pub async fn ended(mut self) {
        // After its hello it never writes: whatever is read means that it has ended.
        self.stream.read_u8().await.map(drop).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
