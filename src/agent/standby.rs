//! On standby: the forwards of this distribution are the leader's to serve, and what it
//! says of them is this agent's status.

use std::{future::pending, io};

use tokio::{
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    select,
    signal::unix::Signal,
};

use super::{
    election::{Holder, Leader},
    lifetime::Lifetime,
    listeners::Listeners,
    members::{
        inheritance::Inheritance,
        wire::{Answer, Answered, Lines, Registration, VERSION},
    },
    metrics::Metrics,
    publish::{publish_health, publish_standby, standby_document},
    timer::Timer,
};
use crate::{
    blocking::{LIMIT, SingleFlight, run_async},
    bus::Bus,
    config::{ConfigError, Forward, Settings, Source},
    control::{RequestQueue, Requested},
    interop,
    model::{Code, Finding, ForwardState, ForwardStatus, Listener, Mode, plain},
    paths::Paths,
    plan::{discovered_forwards, discovery_limit},
    report::{Document, Manager, Tracker, read_status},
};

/// What an agent on standby leaves to itself as the leader.
#[derive(Debug)]
pub(super) struct Inherited {
    /// What the leader left.
    pub(super) left: Inheritance,
    /// This distribution's name, if it is known.
    pub(super) name: Option<String>,
    /// What holds it open.
    pub(super) lifetime: Lifetime,
    /// What writes the numbers.
    pub(super) metrics: Metrics,
}

/// An agent that waits for the leader's end.
pub(super) struct Standby<'a> {
    paths: &'a Paths,
    source: &'a Source,
    bus: &'a Bus,
    settings: Settings,
    listeners: Listeners,
    lifetime: Lifetime,
    metrics: Metrics,
    /// The configuration that was refused.
    rejected: Option<Finding>,
    /// This distribution's name, once it is known.
    name: Option<String>,
    naming: SingleFlight,
    holder: Option<Holder>,
    /// The version of the leader's registrations.
    version: u32,
    answer: Option<Answer>,
    /// What the leader, or an earlier process of this agent, leaves to this one.
    left: Inheritance,
    is_silent: bool,
    tracker: Tracker,
    published: Option<Document>,
}

impl<'a> Standby<'a> {
    pub(super) fn new(
        settings: Settings,
        paths: &'a Paths,
        source: &'a Source,
        bus: &'a Bus,
    ) -> Self {
        Self {
            paths,
            source,
            bus,
            settings,
            listeners: Listeners::default(),
            lifetime: Lifetime::default(),
            metrics: Metrics::default(),
            rejected: None,
            name: None,
            naming: SingleFlight::default(),
            holder: None,
            version: 0,
            answer: None,
            left: Inheritance::load(&paths.runtime),
            is_silent: false,
            tracker: Tracker::default(),
            published: None,
        }
    }

    /// What this agent leads with, and the settings in force.
    pub(super) fn into_parts(self) -> (Settings, Inherited) {
        let inherited = Inherited {
            left: self.left,
            name: self.name,
            lifetime: self.lifetime,
            metrics: self.metrics,
        };
        (self.settings, inherited)
    }

    /// Registers with this leader, and waits for its end.
    pub(super) async fn follow(
        &mut self,
        leader: Leader,
        manager: &mut Manager,
        watchdog: &mut Timer,
        reload: &mut Signal,
        queue: &mut RequestQueue,
    ) {
        if self.holder.as_ref() != Some(&leader.holder) {
            manager.status(&format!("standby: {}", leader.holder));
            self.holder = Some(leader.holder.clone());
        }
        (self.version, self.answer, self.is_silent) = (leader.version, None, false);
        self.look_for_listeners();
        self.follow_lifetime();
        self.publish();
        if !self.is_beside_the_leader() {
            Inheritance::forget(&self.paths.runtime);
        }
        manager.ready();
        self.bus.start();
        let accepts = leader.accepts();
        let mut link = Link::new(leader.stream);
        let (known, naming) = (self.name.is_some(), self.naming.begin());
        let name = async move {
            if known || !accepts {
                return pending().await;
            }
            // A Windows drive that hangs does not keep the forwards from being registered.
            let asked = async { run_async(naming?, LIMIT, interop::distribution).await };
            asked.await.ok().flatten().unwrap_or_else(interop::hostname)
        };
        tokio::pin!(name);
        if accepts {
            self.register(&mut link);
        }
        loop {
            let registers = select! {
                line = link.next() => match line {
                    Ok(line) => {
                        self.answered(&line);
                        false
                    }
                    Err(_) => return,
                },
                name = &mut name, if self.name.is_none() => {
                    self.name = Some(name);
                    true
                }
                _ = reload.recv() => {
                    self.reload().unwrap_or_default();
                    self.bus.retry();
                    true
                }
                requested = queue.requested() => {
                    let reload = matches!(requested, Requested::Pass { reload: true, .. });
                    if reload {
                        queue.set_reloaded(self.reload().map_err(|error| error.to_string()));
                    }
                    queue.answer(&[]);
                    reload
                }
                () = self.listeners.changed() => {
                    self.publish();
                    true
                }
                () = self.lifetime.changed() => {
                    self.publish();
                    false
                }
                changed = self.metrics.changed() => {
                    if changed {
                        self.publish();
                    }
                    false
                }
                () = watchdog.fired() => {
                    manager.alive();
                    self.set_silent(link.is_unanswered());
                    let path = self.settings.textfile.path();
                    self.metrics.on_tick(path, self.bus.document());
                    // Asks whether it is there: it answers each registration.
                    !self.is_silent
                }
            };
            if registers && accepts {
                self.register(&mut link);
            }
        }
    }

    fn register(&self, link: &mut Link) {
        let Some(name) = &self.name else { return };
        let (settings, discovered) = match self.is_beside_the_leader() {
            true => (&Settings::default(), Vec::new()),
            false => (&self.settings, self.discovered().0),
        };
        link.send(Registration::new(name, settings, &discovered).line());
    }

    /// Each distribution is held open by its own agent, of which one is enough.
    fn follow_lifetime(&mut self) {
        let hold = self.settings.hold_open && !self.is_beside_the_leader();
        self.lifetime.follow(hold);
    }

    fn look_for_listeners(&mut self) {
        let mode = (!interop::is_wsl()).then_some(Mode::NotWsl);
        self.listeners.follow(&self.settings, mode);
    }

    /// What was discovered, as forwards, and how many ports are left out. Where this node is only the leader knows, so
    /// that only what listens on all addresses counts.
    fn discovered(&self) -> (Vec<Forward>, usize) {
        let found = self.listeners.found();
        discovered_forwards(&self.settings, found, Listener::is_everywhere)
    }

    /// Whether the leader is an agent of this distribution: its forwards are ours.
    fn is_beside_the_leader(&self) -> bool {
        let leader = self.holder.as_ref().and_then(|holder| holder.pid);
        let written = read_status(&self.paths.runtime).ok().flatten();
        written.is_some_and(|written| i32::try_from(written.pid).ok() == leader)
    }

    fn reload(&mut self) -> Result<(), ConfigError> {
        let result = Settings::load(self.source).map(|settings| self.settings = settings);
        self.look_for_listeners();
        self.lifetime.look_again();
        self.lifetime.retry();
        self.metrics.retry();
        self.follow_lifetime();
        self.rejected = result.as_ref().err().map(|error| {
            let subject = self.source.main().display().to_string();
            Finding::new(Code::ConfigRejected, subject, error.summary())
        });
        if result.is_ok() {
            tracing::info!(event = "reload", "configuration reloaded");
        }
        self.publish();
        result
    }

    fn answered(&mut self, line: &[u8]) {
        // A version that writes others is not asked.
        let Some(mut answer) = Answer::parse(line) else {
            return;
        };
        let discovered = self.discovered().0;
        answer.leader = plain(&answer.leader);
        answer.forwards.retain_mut(|one| {
            let mut forwards = self.settings.forwards.iter().chain(&discovered);
            let forward = forwards.find(|forward| forward.name == one.status.name);
            one.status.discovered = forward.and_then(|one| one.remarks.discovered.clone());
            forward.is_some()
        });
        self.left = std::mem::take(&mut answer.left);
        self.is_silent = false;
        if self.answer.as_ref() != Some(&answer) {
            self.answer = Some(answer);
        }
        self.publish();
    }

    fn set_silent(&mut self, is_silent: bool) {
        if self.is_silent != is_silent {
            self.is_silent = is_silent;
            self.publish();
        }
    }

    /// The journal, the status document and D-Bus, of what is known now.
    fn publish(&mut self) {
        let findings = self.findings();
        publish_health(&self.tracker.update(findings));
        let forwards = self.answer.iter().flat_map(|answer| &answer.forwards);
        let served: Vec<ForwardStatus> = forwards.map(|one| one.status.clone()).collect();
        let document = Document {
            distribution: self.name.clone(),
            leader: Some(self.leader().to_owned()).filter(|leader| !leader.is_empty()),
            served,
            lifetime: self.lifetime.entry(),
            unlisted: self.tracker.unlisted(),
            ..standby_document(self.tracker.listed())
        };
        if self.published.as_ref() != Some(&document) {
            publish_standby(&self.paths.runtime, self.bus, document.clone());
            self.published = Some(document);
        }
        let path = self.settings.textfile.path();
        self.metrics.after_pass(path, self.bus.document());
    }

    fn leader(&self) -> &str {
        self.answer.as_ref().map_or("", |answer| &answer.leader)
    }

    fn findings(&self) -> Vec<Finding> {
        let holder = self.holder.iter().map(Holder::finding);
        let holder = holder.chain(self.listeners.findings());
        let holder = holder.chain(self.lifetime.failure().cloned());
        let holder = holder.chain(discovery_limit(self.discovered().1));
        let holder = holder.chain(self.metrics.finding.clone());
        let mut findings: Vec<Finding> = holder.chain(self.rejected.clone()).collect();
        let mut find = |code, subject: &str, detail: String| {
            findings.push(Finding::new(code, subject, detail));
        };
        let leader = match self.leader() {
            "" => "the leader's distribution",
            leader => leader,
        };
        let has_forwards = !self.settings.forwards.is_empty();
        // Of version 0.1.0 the finding of the standby itself says so.
        if has_forwards && self.version != 0 && self.version != VERSION {
            let older = if self.version < VERSION {
                leader
            } else {
                "this distribution"
            };
            let detail = format!(
                "the leader takes registrations of version {}, this agent makes version {VERSION}: upgrade wslmesh in {older}",
                self.version
            );
            find(Code::LeaderVersion, "", detail);
        }
        if self.is_silent {
            let detail = format!("the agent of {leader} has not answered for a while");
            find(Code::LeaderSilent, "", detail);
        }
        let Some(answer) = &self.answer else {
            return findings;
        };
        if let Some(reason) = &answer.refused {
            let detail = format!("the agent of {leader} refused: {}", plain(reason));
            find(Code::ForwardsRefused, "", detail);
        }
        let is_cut = |status: &ForwardStatus| {
            let forwards = self.settings.forwards.iter();
            let mut forwards = forwards.filter(|forward| forward.name == status.name);
            status.listen.listen_address.is_loopback()
                && forwards.any(|forward| !forward.listen_address.is_loopback())
        };
        for Answered { status, detail } in &answer.forwards {
            if let Some(owner) = &status.owner {
                let detail = format!("{} has {}", plain(owner), status.listen);
                find(Code::ForwardOwned, &status.name, detail);
            } else if let Some(detail) = detail {
                find(Code::ForwardUnserved, &status.name, plain(detail));
            } else if status.state == ForwardState::Down {
                let detail = format!("the agent of {leader} does not serve it");
                find(Code::ForwardUnserved, &status.name, detail);
            } else if is_cut(status) {
                let detail = format!(
                    "the agent of {leader} serves it at {} of Windows alone: the relay is not installed there",
                    status.listen
                );
                find(Code::ForwardUnserved, &status.name, detail);
            }
        }
        findings
    }
}

/// The connection to the leader. Writing waits for nothing: of two registrations that
/// have not begun to leave, the later one does.
struct Link {
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    leaving: Vec<u8>,
    next: Option<Vec<u8>>,
    unanswered: bool,
}

impl Link {
    fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            lines: Lines::new(reader),
            writer,
            leaving: Vec::new(),
            next: None,
            unanswered: false,
        }
    }

    fn send(&mut self, line: Vec<u8>) {
        self.next = Some(line);
        self.unanswered = true;
    }

    /// Whether what was sent last has no answer yet.
    fn is_unanswered(&self) -> bool {
        self.unanswered
    }

    /// Writes what is to be written, and gives the next line of the leader; an error at
    /// its end. Nothing is lost where this is dropped.
    async fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if self.leaving.is_empty() {
                self.leaving = self.next.take().unwrap_or_default();
            }
            select! {
                line = self.lines.next() => match line? {
                    Some(Ok(line)) => {
                        self.unanswered = false;
                        return Ok(line);
                    }
                    Some(Err(_)) => {}
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                },
                ready = self.writer.writable(), if !self.leaving.is_empty() => {
                    ready?;
                    match self.writer.try_write(&self.leaving) {
                        Ok(written) => drop(self.leaving.drain(..written)),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}
