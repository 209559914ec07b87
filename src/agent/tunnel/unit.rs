//! systemd's unit of the tunnel: started while it is wanted, and stopped again where it was
//! the agent that started it.

use std::{path::Path, time::Instant};

use tokio::{select, task::JoinSet};

use crate::{
    backoff::{Retry, until},
    model::{Code, Finding, TunnelReason, TunnelState},
    units::{Systemd, TUNNEL_UNIT, TunnelMark, TunnelUnitState, UnitsError},
};

/// What systemd is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Start,
    Stop,
    /// Its state alone.
    Look,
}

/// What came of a job: whether it changed something, and the state after it.
type Ended = (bool, Result<TunnelUnitState, UnitsError>);

/// The unit.
#[derive(Debug)]
pub(super) struct Unit {
    mark: TunnelMark,
    /// Why it is wanted, if it is, with the facts.
    wanted: Option<(TunnelReason, String)>,
    /// Whether the agent has started it.
    ours: bool,
    /// Whether a person has stopped what the agent started.
    held: bool,
    /// Whether it runs and the agent has not started it.
    foreign: bool,
    /// Whether the link is up.
    is_up: bool,
    /// Whether it is known what is wanted.
    decided: bool,
    /// Whether its state is to be looked at.
    look: bool,
    /// The job in flight, at most one.
    in_flight: Option<Job>,
    job: JoinSet<Ended>,
    retry: Retry,
    finding: Option<Finding>,
    /// What the tunnel's process says of itself, where one runs.
    pub(super) says: Option<TunnelState>,
    /// How often the agent has started it.
    pub(super) starts: u32,
}

impl Unit {
    pub(super) fn new(runtime: &Path) -> Self {
        let mark = TunnelMark::new(runtime);
        Self {
            ours: mark.is_set(),
            mark,
            wanted: None,
            held: false,
            foreign: false,
            is_up: false,
            decided: false,
            look: false,
            in_flight: None,
            job: JoinSet::new(),
            retry: Retry::default(),
            finding: None,
            says: None,
            starts: 0,
        }
    }

    /// Whether the agent, or one before it, has started it.
    pub(super) fn is_ours(&self) -> bool {
        self.ours
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// Takes the link as a pass has seen it.
    pub(super) fn see(&mut self, is_up: bool, changed: bool) {
        // `wslmesh tunnel up` may have taken it.
        self.ours &= self.mark.is_set();
        self.is_up = is_up;
        self.look |= changed || self.ours && !is_up;
        if changed {
            self.foreign = false;
            self.retry.reset();
        }
    }

    /// Takes what is wanted, and begins what that needs.
    pub(super) fn want(&mut self, wanted: Option<(TunnelReason, String)>) {
        let reason = |wanted: &Option<(TunnelReason, String)>| wanted.as_ref().map(|one| one.0);
        if reason(&self.wanted) != reason(&wanted) {
            self.retry.reset();
        }
        if wanted.is_none() {
            self.held = false;
        }
        self.wanted = wanted;
        self.decided = true;
        if self.job.is_empty() && self.retry.due.is_none() {
            self.next();
        }
    }

    /// Begins what is to be done next.
    fn next(&mut self) {
        let look = std::mem::take(&mut self.look);
        let job = match (self.wanted.is_some(), self.ours) {
            (true, false) if !self.held && !self.foreign && !self.is_up => Job::Start,
            (true, true) if look => Job::Look,
            (false, true) => Job::Stop,
            (false, false) => {
                self.finding = None;
                return;
            }
            (true, ours) => {
                // Someone else has it up, or is to have it.
                self.finding.take_if(|_| !ours);
                return;
            }
        };
        self.in_flight = Some(job);
        self.job.spawn(run(job));
    }

    /// What failed is tried at once; `by_hand`: also what a person has stopped.
    pub(super) fn retry(&mut self, by_hand: bool) {
        self.foreign = false;
        self.held &= !by_hand;
        self.retry.reset();
        self.look = true;
        if self.job.is_empty() && self.decided {
            self.next();
        }
    }

    /// Waits for the end of a job, or until the next one is due. Cancel safe.
    pub(super) async fn changed(&mut self) {
        select! {
            // A job never panics and is never aborted.
            Some(Ok(ended)) = self.job.join_next(), if !self.job.is_empty() => self.end(ended),
            () = until(self.retry.due), if self.job.is_empty() => {
                (self.retry.due, self.look) = (None, true);
            }
        }
    }

    fn end(&mut self, (did, result): Ended) {
        let Some(job) = self.in_flight.take() else {
            return;
        };
        match result {
            Err(error) => self.fail(job, &error),
            Ok(state) => match job {
                Job::Start => self.started(did, state),
                Job::Stop => self.stopped(did),
                Job::Look => self.seen(state),
            },
        }
    }

    fn fail(&mut self, job: Job, error: &UnitsError) {
        self.retry.failed(Instant::now());
        let code = match error {
            UnitsError::Unreachable(_) => Code::TunnelNoSystemd,
            UnitsError::Refused(_) => Code::TunnelFailed,
        };
        let finding = Finding::new(code, "", error.to_string());
        if job == Job::Stop {
            tracing::info!(
                event = "tunnel",
                "cannot stop {TUNNEL_UNIT}: {error}; retrying"
            );
        }
        self.finding = (self.wanted.is_some() || job == Job::Stop).then_some(finding);
    }

    fn started(&mut self, did: bool, state: TunnelUnitState) {
        use TunnelUnitState::{Between, Failed, Inactive, Missing, Running, Unusable};
        match state {
            Running | Between if did => {
                let why = self.wanted.as_ref().map_or("", |wanted| wanted.1.as_str());
                tracing::info!(event = "tunnel", "started {TUNNEL_UNIT}: {why}");
                // Without the mark it runs until a person stops it.
                if let Err(error) = self.mark.set() {
                    tracing::info!(
                        event = "tunnel",
                        "the tunnel will not be stopped by the agent: {error}"
                    );
                }
                self.ours = true;
                self.starts = self.starts.saturating_add(1);
                self.retry.reset();
                self.finding = None;
            }
            Running | Between => {
                self.foreign = true;
                self.finding = None;
            }
            Missing | Unusable | Failed | Inactive => {
                self.retry.failed(Instant::now());
                let detail = format!("{TUNNEL_UNIT}: {state}");
                self.finding = Some(Finding::new(Code::TunnelFailed, "", detail));
            }
        }
    }

    fn stopped(&mut self, did: bool) {
        if did {
            let why = "it is not needed any more";
            tracing::info!(event = "tunnel", "stopped {TUNNEL_UNIT}: {why}");
        }
        self.mark.clear().unwrap_or_default();
        self.ours = false;
        self.retry.reset();
        self.finding = None;
    }

    /// Takes the state of what the agent has started.
    fn seen(&mut self, state: TunnelUnitState) {
        use TunnelUnitState::{Between, Failed, Inactive, Missing, Running, Unusable};
        match state {
            Running | Between if self.is_up => {
                self.retry.reset();
                self.finding = None;
            }
            // The program on Windows is being started again.
            Running | Between => {
                if self.retry.failures > 1 {
                    self.finding = Some(self.no_connection(state));
                }
                self.retry.failed(Instant::now());
            }
            Inactive => {
                tracing::info!(
                    event = "tunnel",
                    "{TUNNEL_UNIT} was stopped by hand, and is not started again before a reload"
                );
                self.mark.clear().unwrap_or_default();
                (self.ours, self.held) = (false, true);
                self.finding = None;
            }
            Failed | Missing | Unusable => {
                self.mark.clear().unwrap_or_default();
                self.ours = false;
                self.retry.failed(Instant::now());
                let detail = format!("{TUNNEL_UNIT}: {state}");
                self.finding = Some(Finding::new(Code::TunnelFailed, "", detail));
            }
        }
    }

    fn no_connection(&self, state: TunnelUnitState) -> Finding {
        let says = self.says.as_ref();
        let code = says.and_then(TunnelState::code);
        let why = says.and_then(|says| says.last_error.clone());
        let why = why.unwrap_or_else(|| state.to_string());
        let detail = format!("{TUNNEL_UNIT} has no connection to its program on Windows ({why})");
        Finding::new(code.unwrap_or(Code::TunnelFailed), "", detail)
    }

    pub(super) fn finding(&self) -> Option<&Finding> {
        self.finding.as_ref()
    }

    /// Why it is up, for a person.
    pub(super) fn reason(&self) -> String {
        match self.wanted.as_ref().filter(|_| self.ours) {
            Some((reason, _)) => reason.to_string(),
            None if self.ours => "it is about to be stopped".to_owned(),
            None => "it was started by hand, or by another distribution".to_owned(),
        }
    }

    /// The same as a word, also of one that is wanted.
    pub(super) fn reason_word(&self, is_up: bool) -> Option<&'static str> {
        match &self.wanted {
            Some((TunnelReason::Always, _)) if self.ours || !is_up => Some("always"),
            Some((TunnelReason::NatBroken, _)) if self.ours || !is_up => Some("nat-broken"),
            _ if is_up => Some("by-hand"),
            _ => None,
        }
    }

    /// `up`, `starting`, `down` or `failed`.
    pub(super) fn state(&self, is_up: bool) -> &'static str {
        match (is_up, &self.finding, self.wanted.is_some()) {
            (true, ..) => "up",
            (false, Some(_), _) => "failed",
            (false, None, true) if !self.held => "starting",
            (false, None, _) => "down",
        }
    }
}

/// Does a job where the unit is not in that state.
async fn run(job: Job) -> Ended {
    use TunnelUnitState::{Between, Failed, Inactive, Running};
    let mut did = false;
    let result = async {
        let systemd = Systemd::connect().await?;
        let state = systemd.tunnel().await?;
        match (job, state) {
            (Job::Start, Inactive | Failed) => {
                did = true;
                systemd.start_tunnel().await
            }
            (Job::Stop, Running | Between) => {
                did = true;
                systemd.stop_tunnel().await
            }
            _ => Ok(state),
        }
    };
    let result = result.await;
    (did, result)
}

#[cfg(test)]
mod tests;
