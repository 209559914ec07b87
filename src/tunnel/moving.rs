//! How far packets are on their way from the standard streams to the second way.

use std::{
    fmt,
    future::{Future, pending},
    os::fd::OwnedFd,
    pin::Pin,
    time::{Duration, Instant},
};

use wslmesh_relay::link::ToSwitch;

use super::{
    TunnelError,
    pump::Fault,
    second::{Invitation, Plan},
};
use crate::model::{TunnelWay, plain};

/// A link that ends so soon after its packets moved is not moved again.
const SOON: Duration = Duration::from_secs(5);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Turn {
    /// Ask the switch to connect.
    Ask(ToSwitch),
    /// Let packets go there.
    Leave(OwnedFd),
    /// They stay, and why; what the switch is to know of it.
    Stay(String, Option<ToSwitch>),
}

type Step<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

/// The state of the move.
#[derive(Default)]
enum State {
    /// They stay.
    #[default]
    Stays,
    /// It is made ready.
    Inviting(Step<Invitation>),
    /// The switch was asked.
    Asked(Step<OwnedFd>),
    /// Packets to the switch go there since then.
    Left(Instant),
    /// Packets from it as well.
    Moved(Instant),
}

/// The move of one session.
#[derive(Default)]
pub(super) struct Moving {
    state: State,
    /// Where to, where it is moved at all.
    way: Option<TunnelWay>,
}

impl fmt::Debug for Moving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Stays => "Stays",
            State::Inviting(_) => "Inviting",
            State::Asked(_) => "Asked",
            State::Left(_) => "Left",
            State::Moved(_) => "Moved",
        };
        f.debug_tuple("Moving")
            .field(&state)
            .field(&self.way)
            .finish()
    }
}

impl Moving {
    pub(super) fn begin(plan: Plan) -> Self {
        Self {
            way: Some(plan.way()),
            state: State::Inviting(Box::pin(Invitation::new(plan))),
        }
    }

    /// What is to be done next. Cancel safe; there may never be anything.
    pub(super) async fn turn(&mut self) -> Turn {
        match &mut self.state {
            State::Inviting(step) => match step.await {
                Ok(invitation) => {
                    let message = invitation.message();
                    self.state = State::Asked(Box::pin(invitation.taken()));
                    Turn::Ask(message)
                }
                Err(why) => self.stay(why, None),
            },
            State::Asked(step) => match step.await {
                Ok(second) => {
                    self.state = State::Left(Instant::now());
                    Turn::Leave(second)
                }
                Err(why) => self.stay(why, Some(ToSwitch::Stay)),
            },
            State::Stays | State::Left(_) | State::Moved(_) => pending().await,
        }
    }

    fn stay(&mut self, why: String, message: Option<ToSwitch>) -> Turn {
        self.state = State::Stays;
        Turn::Stay(why, message)
    }

    /// The switch has moved; where to, unless that is out of turn.
    pub(super) fn arrived(&mut self) -> Option<TunnelWay> {
        let State::Left(since) = self.state else {
            return None;
        };
        self.state = State::Moved(since);
        self.way
    }

    /// The switch cannot connect.
    pub(super) fn refused(&mut self, why: &str) -> Option<Turn> {
        let State::Asked(_) = self.state else {
            // It was given up.
            return None;
        };
        // The switch knows.
        Some(self.stay(format!("the switch: {}", plain(why)), None))
    }

    /// Why the next switch's packets are to stay, if the move may be what ended the link.
    pub(super) fn blamed(&self, error: &TunnelError) -> Option<String> {
        let soon = match self.state {
            State::Asked(_) => true,
            State::Left(since) | State::Moved(since) => since.elapsed() < SOON,
            State::Stays | State::Inviting(_) => false,
        };
        let of_link = match error {
            TunnelError::Fault(fault) => !matches!(fault, Fault::Device(_)),
            TunnelError::Hung(_) => true,
            _ => false,
        };
        let way = self.way.filter(|_| soon && of_link)?;
        Some(format!(
            "the link ended when packets had just moved to {way}: {error}"
        ))
    }
}

#[cfg(test)]
mod tests;
