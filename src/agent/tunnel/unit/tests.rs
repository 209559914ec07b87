use TunnelUnitState::{Between, Failed, Inactive, Missing, Running};

use super::*;

struct Machine {
    unit: Unit,
    _folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            unit: Unit::new(folder.path()),
            _folder: folder,
        }
    }

    /// What is asked of systemd, with the link as it is and the tunnel wanted or not. No job
    /// of a test runs.
    fn asks(&mut self, wanted: bool, is_up: bool) -> Option<Job> {
        let changed = self.unit.is_up != is_up;
        self.unit.see(is_up, changed);
        self.again(wanted)
    }

    fn again(&mut self, wanted: bool) -> Option<Job> {
        let reason = TunnelReason::NatBroken;
        self.unit.want(wanted.then(|| (reason, reason.to_string())));
        let asked = self.unit.in_flight.take();
        self.unit.job = JoinSet::new();
        asked
    }

    fn ends(&mut self, job: Job, did: bool, state: TunnelUnitState) {
        self.unit.in_flight = Some(job);
        self.unit.end((did, Ok(state)));
    }

    fn finding(&self) -> Option<Code> {
        self.unit.finding().map(|finding| finding.code)
    }

    /// It runs, and the agent has started it.
    fn started() -> Self {
        let mut machine = Self::new();
        assert_eq!(machine.asks(true, false), Some(Job::Start));
        machine.ends(Job::Start, true, Running);
        assert!(machine.unit.is_ours() && machine.unit.mark.is_set());
        assert_eq!(machine.asks(true, true), Some(Job::Look));
        machine.ends(Job::Look, false, Running);
        assert_eq!(machine.finding(), None);
        machine
    }
}

#[tokio::test]
async fn not_wanted_and_not_started_asks_nothing() {
    let mut machine = Machine::new();
    assert_eq!(machine.asks(false, false), None);
    assert_eq!(machine.asks(false, true), None);
    assert_eq!(machine.unit.state(true), "up");
    assert_eq!(machine.unit.reason_word(true), Some("by-hand"));
}

#[tokio::test]
async fn it_stops_what_it_started() {
    let mut machine = Machine::started();
    assert_eq!(
        machine.asks(true, true),
        None,
        "and asks for nothing meanwhile"
    );
    assert_eq!(machine.unit.reason_word(true), Some("nat-broken"));
    assert_eq!(machine.asks(false, true), Some(Job::Stop));
    machine.ends(Job::Stop, true, Inactive);
    assert!(!machine.unit.is_ours() && !machine.unit.mark.is_set());
    assert_eq!(machine.asks(false, false), None);
    assert_eq!(machine.unit.starts, 1);
}

#[tokio::test]
async fn next_agent_stops_it_too() {
    let machine = Machine::started();
    let mut next = Unit::new(machine._folder.path());
    assert!(next.is_ours());
    // As long as it is not known what is wanted, nothing is done.
    next.retry(true);
    assert_eq!(next.in_flight, None);
    next.see(true, true);
    next.want(None);
    assert_eq!(next.in_flight, Some(Job::Stop));
}

#[tokio::test]
async fn what_runs_by_hand_stays() {
    let mut machine = Machine::new();
    assert_eq!(machine.asks(true, false), Some(Job::Start));
    machine.ends(Job::Start, false, Running);
    assert!(!machine.unit.is_ours() && !machine.unit.mark.is_set());
    assert_eq!(machine.asks(true, true), None);
    assert_eq!(machine.asks(false, true), None);
    // It goes, and is wanted.
    assert_eq!(machine.asks(true, false), Some(Job::Start));
    // A person takes what the agent has started.
    let mut machine = Machine::started();
    machine.unit.mark.clear().unwrap();
    assert_eq!(machine.asks(false, true), None);
}

#[tokio::test]
async fn what_was_stopped_by_hand_stays_down_until_a_reload() {
    let mut machine = Machine::started();
    assert_eq!(machine.asks(true, false), Some(Job::Look));
    machine.ends(Job::Look, false, Inactive);
    assert!(!machine.unit.mark.is_set());
    for _ in 0..3 {
        assert_eq!(machine.asks(true, false), None);
    }
    assert_eq!(machine.finding(), None);
    assert_eq!(machine.unit.state(false), "down");
    machine.unit.retry(false);
    assert_eq!(machine.again(true), None, "nor after a sleep");
    machine.unit.retry(true);
    assert_eq!(machine.again(true), Some(Job::Start));
    // Or until it was not wanted for a while.
    let mut machine = Machine::started();
    machine.asks(true, false);
    machine.ends(Job::Look, false, Inactive);
    assert_eq!(machine.asks(false, false), None);
    assert_eq!(machine.asks(true, false), Some(Job::Start));
}

#[tokio::test]
async fn failures_are_findings_and_retried() {
    for state in [Failed, Missing] {
        let mut machine = Machine::new();
        machine.asks(true, false);
        machine.ends(Job::Start, true, state);
        assert_eq!(machine.finding(), Some(Code::TunnelFailed));
        assert_eq!(machine.unit.state(false), "failed");
        assert_eq!(machine.asks(true, false), None, "it waits");
        assert!(machine.unit.retry.due.is_some());
        machine.unit.retry(false);
        assert_eq!(machine.again(true), Some(Job::Start));
        assert_eq!(machine.asks(false, false), None);
        assert_eq!(machine.finding(), None, "what is not wanted cannot fail");
    }
    let mut machine = Machine::new();
    machine.asks(true, false);
    let error = UnitsError::Unreachable("no bus".to_owned());
    machine.unit.in_flight = Some(Job::Start);
    machine.unit.end((false, Err(error)));
    assert_eq!(machine.finding(), Some(Code::TunnelNoSystemd));
}

#[tokio::test]
async fn lost_link_is_given_a_moment() {
    let mut machine = Machine::started();
    assert_eq!(machine.asks(true, false), Some(Job::Look));
    machine.ends(Job::Look, false, Running);
    assert_eq!(machine.finding(), None);
    machine.ends(Job::Look, false, Between);
    machine.ends(Job::Look, false, Running);
    assert_eq!(machine.finding(), Some(Code::TunnelFailed));
    machine.unit.says = Some(TunnelState {
        last_error: Some("it answers as version 2".to_owned()),
        last_code: Some("tunnel-version".to_owned()),
        ..TunnelState::default()
    });
    machine.ends(Job::Look, false, Running);
    assert_eq!(machine.finding(), Some(Code::TunnelVersion));
    let detail = &machine.unit.finding().unwrap().detail;
    assert!(detail.ends_with("(it answers as version 2)"), "{detail}");
    assert_eq!(machine.asks(true, true), Some(Job::Look));
    machine.ends(Job::Look, false, Running);
    assert_eq!(machine.finding(), None);
}
