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

use futures_util::{StreamExt, stream};
use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    time::{Instant, sleep, timeout_at},
};

use self::{
    hello::{Answer, Answers, Candidate, Proofs, random},
    strangers::Strangers,
};
use crate::model::{Code, Finding};

/// How long a process of root may take to say that it is an agent. One that takes longer
/// does not keep this one from leading within a second.
const PATIENCE: Duration = Duration::from_millis(500);

/// Rounds of an election between agents that start at once.
const ROUNDS: usize = 8;

/// Names that are asked at once. Only those of root take time.
const AT_ONCE: usize = 128;

/// The leadership, for as long as this lives.
pub struct Leadership {
    /// Other agents find this.
    _own: Candidate,
    proofs: Proofs,
    /// Of names whose holder has not answered yet.
    answers: Answers,
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
}

impl Holder {
    /// Why this agent is on standby.
    #[must_use]
    pub fn finding(&self) -> Finding {
        Finding::new(Code::Standby, "", self.to_string())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid} leads"),
            None => f.write_str("an agent in another distribution leads"),
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

/// Tries to lead. Takes a moment where another agent leads, and [`PATIENCE`] where a
/// process of root holds a name and stays silent.
///
/// # Errors
/// The kernel gives no socket, or no list of them.
pub async fn elect() -> io::Result<Election> {
    let mut round = 0;
    loop {
        round += 1;
        // From here on others find this one: whoever looks later does not lead.
        let own = Candidate::listen()?;
        let leader = match look(own).await? {
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
async fn look(own: Candidate) -> io::Result<Election> {
    let names = hello::others(&own.name)?;
    let mut proofs = Proofs::new()?;
    let mut strangers = Strangers::new(names.len());
    let request = proofs.request();
    let ask = move |name| hello::ask(name, request.clone());
    let asked = stream::iter(names).map(ask);
    let mut answers: Answers = asked.buffer_unordered(AT_ONCE).boxed_local();
    let deadline = Instant::now() + PATIENCE;
    while let Ok(Some(answer)) = timeout_at(deadline, answers.next()).await {
        if let Some(leader) = judge(answer, &mut proofs, &mut strangers) {
            return Ok(Election::Lost(leader));
        }
    }
    Ok(Election::Won(Leadership {
        _own: own,
        proofs,
        answers,
        strangers,
    }))
}

/// The agent that answered; `None` where a stranger did.
fn judge(answer: Answer, proofs: &mut Proofs, strangers: &mut Strangers) -> Option<Leader> {
    match answer {
        Answer::Hello { name, peer, stream } if peer.uid != 0 || proofs.has(&name) => {
            let holder = Holder { pid: peer.pid };
            Some(Leader { holder, stream })
        }
        other => {
            strangers.add(other);
            None
        }
    }
}

impl Leadership {
    /// Waits until a process of root that stayed silent during the election turns out
    /// to be an agent that was slow: it leads already. Mostly never.
    pub(super) async fn overruled(&mut self) -> Holder {
        while let Some(answer) = self.answers.next().await {
            if let Some(leader) = judge(answer, &mut self.proofs, &mut self.strangers) {
                return leader.holder;
            }
        }
        pending().await
    }

    /// The strangers that hold names of this election now.
    #[must_use]
    pub fn finding(&mut self) -> Option<Finding> {
        self.strangers.finding()
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
