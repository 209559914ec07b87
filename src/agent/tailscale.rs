//! Has tailscaled look at the network again, beside the loop: after the node's address
//! changed or its link came back, and after a sleep. Where none runs nothing happens.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{select, task::JoinSet};

use crate::{
    backoff::until,
    units::{TAILSCALED, TailscaleCall, ask_tailscaled},
};

/// It answers at once. One that does not has no second call until the first has ended.
const DEADLINE: Duration = Duration::from_secs(2);

/// What asks it.
#[derive(Debug)]
pub(super) struct Tailscale {
    socket: PathBuf,
    /// The call in flight, at most one.
    call: JoinSet<Result<bool, String>>,
    /// Until when its answer is no news.
    deadline: Option<Instant>,
    /// The call after it.
    then: Option<TailscaleCall>,
    /// Whether it is known that it does not do it.
    fails: bool,
}

impl Tailscale {
    pub(super) fn new() -> Self {
        Self::at(TAILSCALED.into())
    }

    fn at(socket: PathBuf) -> Self {
        Self {
            socket,
            call: JoinSet::new(),
            deadline: None,
            then: None,
            fails: false,
        }
    }

    /// Asks it; once the call in flight has ended, where there is one.
    pub(super) fn ask(&mut self, call: TailscaleCall) {
        if !self.call.is_empty() {
            // What rebinds finds out its addresses, too.
            if self.then != Some(TailscaleCall::Rebind) {
                self.then = Some(call);
            }
            return;
        }
        let socket = self.socket.clone();
        self.call
            .spawn(async move { ask_tailscaled(&socket, call).await });
        self.deadline = Some(Instant::now() + DEADLINE);
    }

    /// Says what came of calls, as long as it is polled; has nothing for the loop. Cancel
    /// safe.
    pub(super) async fn run(&mut self) {
        loop {
            select! {
                // It never panics and is never aborted.
                Some(Ok(answer)) = self.call.join_next(), if !self.call.is_empty() => {
                    let was_late = self.deadline.take().is_none();
                    match answer {
                        Ok(is_there) => {
                            if is_there {
                                tracing::debug!(event = "tailscale", "tailscaled looks at the network again");
                            }
                            self.fails = false;
                        }
                        // That it hung was said.
                        Err(_) if was_late => {}
                        Err(why) => self.failed(&why),
                    }
                    if let Some(call) = self.then.take() {
                        self.ask(call);
                    }
                }
                () = until(self.deadline) => {
                    self.deadline = None;
                    self.failed(&format!("no answer within {DEADLINE:?}"));
                }
            }
        }
    }

    /// Says so once, until it works again.
    fn failed(&mut self, why: &str) {
        let line =
            format!("tailscaled does not look at the network again: {why}; it will by itself");
        match std::mem::replace(&mut self.fails, true) {
            true => tracing::debug!(event = "tailscale", "{line}"),
            false => tracing::info!(event = "tailscale", "{line}"),
        }
    }
}

#[cfg(test)]
mod tests;
