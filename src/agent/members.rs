//! The leader's side of several distributions: their agents register forwards over the
//! connections on which they wait for the leader's end, and learn what became of them.
//!
//! Only the last registration of each and the last answer are kept, and both are bounded:
//! no standby and no stranger holds up the loop or the other standbys.

pub(super) mod inheritance;
pub(super) mod wire;

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    select,
    sync::{Notify, watch},
    time::sleep,
};

use self::inheritance::Inheritance;
use self::wire::{Answer, Answered, Lines, Refusal, Registration};
use crate::{
    config::Forward,
    model::{Finding, ForwardState, ForwardStatus, Listen, Severity},
    plan::Member,
};

/// Most ports of all members' forwards together.
const MOST_FORWARDS: usize = 1000;
/// How long forwards outlive their agent's connection: its restart cuts nothing.
const GRACE: Duration = Duration::from_secs(2);
/// How long those of a leader that has ended, and of whom it served, are kept without a
/// registration: the others have registered within a second, and systemd starts one that
/// was killed again after another.
const TAKEOVER: Duration = Duration::from_secs(5);
/// Between two lines to or from one member, each of which may be worth a pass.
const PAUSE: Duration = Duration::from_millis(100);

/// The agents on standby that have registered. A clone is the same list.
#[derive(Debug, Clone, Default)]
pub(super) struct Members(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    list: Mutex<List>,
    /// The list has changed.
    changed: Notify,
    /// The answers may have changed.
    answers: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct List {
    entries: Vec<Entry>,
    next: u64,
    /// The leader's distribution, as far as it is known.
    leader: String,
    /// Members' forwards after the last pass, by their names in it.
    served: BTreeMap<String, Answered>,
    /// What this leader leaves.
    left: Inheritance,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    member: Member,
    /// When it is dropped: it has no connection.
    until: Option<Instant>,
}

impl Members {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a member registered, left, or is to be dropped.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Those whose forwards are to be served now, and when one of them is to be dropped.
    pub(super) fn current(&self, now: Instant) -> (Vec<Member>, Option<Instant>) {
        let mut list = self.list();
        list.entries
            .retain(|entry| entry.until.is_none_or(|until| until > now));
        let entries = list.entries.iter();
        let due = entries.clone().filter_map(|entry| entry.until).min();
        (entries.map(|entry| entry.member.clone()).collect(), due)
    }

    /// Goes on with what the leader before left, until those have had time to register.
    pub(super) fn inherit(&self, left: Inheritance) {
        let (mut list, until) = (self.list(), Some(Instant::now() + TAKEOVER));
        for (place, member) in left.members.iter().enumerate() {
            let mut entries = list.entries.iter();
            // Some may have registered already.
            if entries.all(|entry| entry.member.distribution != member.distribution) {
                list.next += 1;
                let (id, member) = (list.next, member.clone());
                let place = place.min(list.entries.len());
                list.entries.insert(place, Entry { id, member, until });
            }
        }
        list.left = left;
    }

    /// Has every member whose answer changed hear of it. Says whether what this leader
    /// leaves has changed.
    pub(super) fn publish(
        &self,
        leader: &str,
        forwards: &[ForwardStatus],
        findings: &[Finding],
        left: &Inheritance,
    ) -> bool {
        let of_members = forwards
            .iter()
            .filter(|status| status.distribution.is_some());
        // What keeps a forward from being served need not be a finding of that forward.
        let general = findings.iter().filter(|finding| {
            finding.subject.is_empty() && finding.code.severity() > Severity::Info
        });
        let general: Vec<&str> = general.map(|finding| finding.code.as_str()).collect();
        let general = match general.as_slice() {
            [] => String::new(),
            codes => format!("the leader has {}", codes.join(", ")),
        };
        let mut by_subject = BTreeMap::<&str, Vec<&Finding>>::new();
        for finding in findings {
            if finding.code.severity() > Severity::Info {
                let of_it = by_subject.entry(&finding.subject).or_default();
                of_it.push(finding);
            }
        }
        let answered = |status: &ForwardStatus| {
            let mut detail = String::new();
            for finding in by_subject.get(status.name.as_str()).into_iter().flatten() {
                let between = if detail.is_empty() { "" } else { "; " };
                write!(detail, "{between}{}: {}", finding.code, finding.detail).unwrap_or_default();
            }
            if detail.is_empty() && status.state != ForwardState::Up {
                detail.clone_from(&general);
            }
            let answered = Answered {
                status: status.clone(),
                detail: Some(detail).filter(|detail| !detail.is_empty()),
            };
            (status.name.clone(), answered)
        };
        let served = of_members.map(answered).collect();
        let mut list = self.list();
        let is_new = list.left != *left;
        if is_new || list.served != served || list.leader != leader {
            (list.served, list.leader) = (served, leader.to_owned());
            list.left.clone_from(left);
            self.0.answers.send_replace(());
        }
        is_new
    }

    /// Takes the registrations of the process at the other end until it closes the
    /// connection. `may_register` is asked before each.
    pub(super) async fn serve(
        &self,
        mut stream: UnixStream,
        mut may_register: impl FnMut() -> bool,
    ) {
        let (reader, mut writer) = stream.split();
        let mut lines = Lines::new(reader);
        let mut answers = self.0.answers.subscribe();
        let mut place = Place {
            members: self,
            id: None,
        };
        let mut sent = Vec::new();
        loop {
            let (line, asked) = select! {
                line = lines.next() => {
                    let Ok(Some(line)) = line else { return };
                    let registration = line.map_err(Refusal::from).and_then(|line| {
                        if may_register() { Registration::parse(&line) } else { Err(Refusal::Unproven) }
                    });
                    answers.mark_unchanged();
                    (place.take(registration).line(), true)
                }
                // Its sender lives as long as the list.
                Ok(()) = answers.changed(), if place.id.is_some() => (place.answer().line(), false),
            };
            if asked || line != sent {
                if writer.write_all(&line).await.is_err() {
                    return;
                }
                sent = line;
            }
            sleep(PAUSE).await;
        }
    }
}

/// A connection's place in the list, which it leaves when this is dropped.
struct Place<'a> {
    members: &'a Members,
    id: Option<u64>,
}

impl Place<'_> {
    /// Takes a registration instead of the one before; one that is refused leaves none.
    fn take(&mut self, registration: Result<Registration, Refusal>) -> Answer {
        let taken = registration.and_then(|registration| {
            let mut list = self.members.list();
            let (id, changed) = list.register(self.id, registration)?;
            self.id = Some(id);
            if changed {
                self.members.0.changed.notify_one();
            }
            Ok(())
        });
        match taken {
            Ok(()) => self.answer(),
            Err(refusal) => {
                self.leave(Duration::ZERO);
                Answer {
                    refused: Some(refusal.to_string()),
                    ..self.answer()
                }
            }
        }
    }

    fn answer(&self) -> Answer {
        let list = self.members.list();
        let entry = list.entries.iter().find(|entry| Some(entry.id) == self.id);
        Answer {
            version: wire::VERSION,
            leader: list.leader.clone(),
            forwards: entry.map_or_else(Vec::new, |entry| list.answered(&entry.member)),
            refused: None,
            left: list
                .left
                .clone()
                .without(entry.map(|entry| entry.member.distribution.as_str())),
        }
    }

    fn leave(&mut self, grace: Duration) {
        let Some(id) = self.id.take() else { return };
        let mut list = self.members.list();
        for entry in list.entries.iter_mut().filter(|entry| entry.id == id) {
            entry.until = Some(Instant::now() + grace);
        }
        // What has no forwards has nothing to keep.
        list.entries
            .retain(|entry| entry.id != id || !entry.member.forwards.is_empty());
        self.members.0.changed.notify_one();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave(GRACE);
    }
}

impl List {
    /// Puts a registration into the place of this number, or into one that its
    /// distribution had a moment ago, else at the end. Says whether that changed anything.
    fn register(
        &mut self,
        id: Option<u64>,
        registration: Registration,
    ) -> Result<(u64, bool), Refusal> {
        let name = &registration.distribution.clone();
        let its = |entry: &&mut Entry| match id {
            Some(id) => entry.id == id,
            None => entry.until.is_some() && entry.member.distribution == *name,
        };
        let place = self.entries.iter_mut().find(its).map(|entry| entry.id);
        let others = self.entries.iter().filter(|entry| Some(entry.id) != place);
        let count = |of: &dyn Fn(&&Entry) -> bool| {
            let counted = others.clone().filter(of).map(|entry| &entry.member);
            let more: usize = counted
                .map(|one| wire::ports(&one.forwards) + wire::ports(&one.discovered))
                .sum();
            more + registration.ports()
        };
        if count(&|entry| entry.until.is_none()) > MOST_FORWARDS {
            return Err(Refusal::Full(MOST_FORWARDS));
        }
        // Those without a connection make room.
        let is_full = count(&|_| true) > MOST_FORWARDS;
        let is_free = |name: &String| {
            *name != self.leader
                && others
                    .clone()
                    .all(|entry| entry.member.distribution != *name)
        };
        let names = (2..).map(|number| format!("{name}-{number}"));
        let mut names = std::iter::once(name.clone()).chain(names);
        let member = Member {
            // There are fewer others than numbers.
            distribution: names.find(is_free).unwrap_or_default(),
            forwards: registration.forwards,
            discovered: registration.discovered,
        };
        if is_full {
            self.entries
                .retain(|entry| entry.until.is_none() || Some(entry.id) == place);
        }
        self.next += 1;
        let entry = Entry {
            id: id.unwrap_or(self.next),
            member,
            until: None,
        };
        let new = entry.id;
        match self
            .entries
            .iter_mut()
            .find(|entry| Some(entry.id) == place)
        {
            Some(before) => {
                let changed = before.member != entry.member;
                *before = entry;
                Ok((new, changed))
            }
            None => {
                self.entries.push(entry);
                Ok((new, true))
            }
        }
    }

    /// The forwards of a member by its own names; those of which no pass has decided yet
    /// are pending.
    fn answered(&self, member: &Member) -> Vec<Answered> {
        let name = |forward: &Forward| format!("{}/{}", member.distribution, forward.name);
        let discovered = member.discovered.iter();
        // One whose port another one has is not answered.
        let discovered = discovered.filter(|one| self.served.contains_key(&name(one)));
        let answered = member.forwards.iter().chain(discovered).map(|forward| {
            let mut answered =
                self.served
                    .get(&name(forward))
                    .cloned()
                    .unwrap_or_else(|| Answered {
                        status: ForwardStatus {
                            connect_address: forward.connect_address,
                            name: String::new(),
                            listen: Listen {
                                protocol: forward.protocol,
                                listen_address: forward.listen_address,
                                listen_port: forward.listen_port.first(),
                            },
                            connect_port: forward.connect_port.first(),
                            // No more than a distribution may have.
                            ports: u16::try_from(forward.listen_port.len()).unwrap_or(u16::MAX),
                            state_ports: None,
                            backend: None,
                            state: ForwardState::Pending,
                            distribution: None,
                            owner: None,
                            answers: None,
                            unanswered: None,
                            discovered: None,
                        },
                        detail: None,
                    });
            answered.status.name.clone_from(&forward.name);
            answered.status.distribution = None;
            answered
        });
        answered.collect()
    }
}

#[cfg(test)]
mod tests;
