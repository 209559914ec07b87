//! Name resolution, beside the loop: whether the server of /etc/resolv.conf answers, and
//! the zones of tunnels in systemd-resolved.
//!
//! It is looked at for a reason alone: another resolv.conf, address or tunnel, a reload, a
//! sleep of Windows. While something is wrong the look is made again, less and less
//! often.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use tokio::{select, task::JoinSet};

use crate::{
    apply::saved::{Saved, SavedError, ZonesWere},
    backoff::{Retry, until},
    blocking::{SingleFlight, run_blocking},
    config::Settings,
    model::{Code, DnsAnswer, DnsPlan, DnsSource, Finding, LinkDns, LinkZones, Zone},
    observe::{DNS_DEADLINE, query_first},
    paths::Paths,
    plan::{ZoneStep, dns_finding, zone_step},
    report::{DnsEntry, ZoneEntry},
    units::{RESOLVED, Resolved, Systemd, UnitsError, ZoneServers},
};

/// Longest wait for what was set to be saved.
const SAVE_DEADLINE: Duration = Duration::from_secs(10);

/// What came of a look.
#[derive(Debug, Clone, Default)]
pub(super) struct Looked {
    answer: Option<DnsAnswer>,
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
    /// Zones that resolve.
    working: BTreeSet<Zone>,
    /// What it changed, one line each.
    pub(super) changes: Vec<String>,
}

impl Looked {
    fn works(&self) -> Option<bool> {
        self.answer.as_ref().and_then(DnsAnswer::works)
    }

    /// Whether the other one says the same, but for how long an answer took.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.works() == other.works()
            && self.findings == other.findings
            && self.working == other.working
    }

    /// What the status document has of it.
    pub(super) fn entry(&self, plan: &DnsPlan) -> DnsEntry {
        let zones = plan.zones.values().flat_map(|link| {
            link.zones.iter().map(|zone| ZoneEntry {
                zone: zone.to_string(),
                interface: link.name.to_string(),
                servers: link.servers.clone(),
                works: self.working.contains(zone),
            })
        });
        let first = plan.resolver.servers().first();
        let took_us = match self.answer {
            Some(DnsAnswer::Asked {
                server, took_us, ..
            }) if first.is_some_and(|first| first.address == server) => Some(took_us),
            _ => None,
        };
        DnsEntry {
            server: first.map(ToString::to_string),
            source: plan.source.map(|source| source.to_string()),
            works: took_us.and_then(|_| self.works()),
            took_us,
            zones: zones.collect(),
        }
    }
}

/// What looks at name resolution.
#[derive(Debug)]
pub(super) struct Dns {
    saved: Saved,
    saves: SingleFlight,
    /// The look in flight, at most one.
    run: JoinSet<Looked>,
    /// What the last one was made for.
    seen: Option<(DnsPlan, bool)>,
    /// Whether systemd-resolved may be started: once for each time that it is found down.
    may_start: bool,
    retry: Retry,
    last: Looked,
}

impl Dns {
    /// Nothing has been looked at yet.
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            saved: Saved::new(&paths.state),
            saves: SingleFlight::default(),
            run: JoinSet::new(),
            seen: None,
            may_start: true,
            retry: Retry::default(),
            last: Looked::default(),
        }
    }

    /// What the last look has found.
    pub(super) fn looked(&self) -> &Looked {
        &self.last
    }

    /// Has it looked at again at once.
    pub(super) fn look_again(&mut self) {
        self.seen = None;
        self.may_start = true;
        self.retry.reset();
    }

    /// Begins the look that is due, if there is one.
    pub(super) fn follow(&mut self, settings: &Settings, plan: &DnsPlan) {
        let wanted = (plan.clone(), settings.dns.repair);
        let same = self.seen.as_ref() == Some(&wanted);
        if !self.run.is_empty() || same && self.retry.failures == 0 {
            return;
        }
        if same && self.retry.due.is_some() {
            return;
        }
        if !same {
            self.retry.reset();
        }
        let may_start = settings.dns.repair && std::mem::take(&mut self.may_start);
        self.seen = Some(wanted);
        let (plan, saves) = (plan.clone(), Saves(self.saved.clone(), self.saves.clone()));
        self.run
            .spawn(async move { look(&plan, may_start, &saves).await });
    }

    /// Makes one look and waits for it.
    pub(super) async fn once(&mut self, settings: &Settings, plan: &DnsPlan) {
        self.follow(settings, plan);
        self.changed().await;
    }

    /// Waits until there is something for the loop: a look has ended, or is due again.
    pub(super) async fn changed(&mut self) {
        select! {
            // A look never panics and is never aborted.
            Some(Ok(looked)) = self.run.join_next(), if !self.run.is_empty() => {
                self.record(looked, Instant::now());
            }
            () = until(self.retry.due) => self.retry.due = None,
        }
    }

    fn record(&mut self, looked: Looked, now: Instant) {
        if looked.findings.is_empty() {
            self.retry.reset();
            self.may_start = true;
        } else {
            self.retry.failed(now);
        }
        self.last = looked;
    }
}

/// Queries the server, starts systemd-resolved where that may be and helps, and brings the
/// zones of tunnels to where they should be.
async fn look(plan: &DnsPlan, may_start: bool, saves: &Saves) -> Looked {
    let mut looked = Looked::default();
    let servers = plan.resolver.servers();
    let mut answer = query_first(servers, false, DNS_DEADLINE).await;
    if plan.source == Some(DnsSource::ResolvedStub) && !answer.is_alive() {
        match revive(may_start).await {
            Ok(()) => {
                let line = format!("started {RESOLVED}, which /etc/resolv.conf names");
                tracing::info!(event = "dns", "{line}");
                looked.changes.push(line);
                answer = query_first(servers, false, DNS_DEADLINE).await;
            }
            Err(why) => looked
                .findings
                .push(Finding::new(Code::ResolvedDown, "", why)),
        }
    }
    if looked.findings.is_empty() {
        looked.findings.extend(dns_finding(plan, &answer));
    }
    looked.answer = Some(answer);
    zones(plan, saves, &mut looked).await;
    looked
}

/// Starts systemd-resolved.
///
/// # Errors
/// Why it does not run.
async fn revive(may_start: bool) -> Result<(), String> {
    let down = "nothing answers at the address of systemd-resolved";
    if !may_start {
        return Err(down.to_owned());
    }
    let revived = async { Systemd::connect().await?.revive_resolved().await };
    match revived.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "{down}, and it is not one that is enabled and has failed"
        )),
        Err(error) => Err(format!("{down}; {error}")),
    }
}

/// Where it is kept what was set.
#[derive(Debug)]
struct Saves(Saved, SingleFlight);

impl Saves {
    async fn load(&self) -> Result<BTreeMap<u32, ZonesWere>, SavedError> {
        let saved = self.0.clone();
        let load = move || saved.load();
        Ok(run_blocking(self.1.begin()?, SAVE_DEADLINE, load)
            .await??
            .zones)
    }

    /// Notes what is about to be set for a link; `None` once it is taken back.
    async fn note(&self, index: u32, to: Option<ZonesWere>) -> Result<(), SavedError> {
        let saved = self.0.clone();
        let note = move || {
            saved.update(|values| match to {
                Some(to) => drop(values.zones.insert(index, to)),
                None => drop(values.zones.remove(&index)),
            })
        };
        run_blocking(self.1.begin()?, SAVE_DEADLINE, note).await?
    }
}

/// Brings the links' settings in systemd-resolved to where they should be.
async fn zones(plan: &DnsPlan, saves: &Saves, looked: &mut Looked) {
    let ours = match saves.load().await {
        Ok(ours) => ours,
        // Without zones it matters to nothing here.
        Err(_) if plan.zones.is_empty() => return,
        Err(error) => {
            let finding = Finding::new(Code::StateUnwritable, "", error.to_string());
            return looked.findings.push(finding);
        }
    };
    if plan.zones.is_empty() && ours.is_empty() {
        return;
    }
    let resolved = match Resolved::connect().await {
        Ok(resolved) => resolved,
        Err(error) => {
            if !plan.zones.is_empty() {
                let (UnitsError::Unreachable(why) | UnitsError::Refused(why)) = error;
                looked
                    .findings
                    .push(Finding::new(Code::ZoneNoResolved, "", why));
            }
            return;
        }
    };
    keep_zones(plan, &resolved, &ours, saves, looked).await;
    let hosts = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let asked = plan.source == Some(DnsSource::ResolvedStub) || asks_resolved(&hosts);
    if !plan.zones.is_empty() && !asked {
        let detail = "neither /etc/resolv.conf nor the line hosts: of /etc/nsswitch.conf names it";
        looked
            .findings
            .push(Finding::new(Code::ZoneUnused, "", detail));
    }
}

/// Whether programs ask systemd-resolved by nsswitch.conf(5).
fn asks_resolved(text: &str) -> bool {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("hosts:"));
    let mut words = lines.flat_map(str::split_whitespace);
    words.any(|word| word == "resolve")
}

async fn keep_zones(
    plan: &DnsPlan,
    resolved: &impl ZoneServers,
    ours: &BTreeMap<u32, ZonesWere>,
    saves: &Saves,
    looked: &mut Looked,
) {
    for (index, was) in ours {
        if !plan.zones.contains_key(index) {
            withdraw(*index, was, resolved, saves, looked).await;
        }
    }
    for (index, link) in &plan.zones {
        let ours = ours.get(index).map(|was| &was.set);
        match set(*index, link, ours, resolved, saves).await {
            Ok(line) => {
                looked.changes.extend(line);
                for zone in &link.zones {
                    match resolved.resolve(zone).await {
                        Ok(()) => drop(looked.working.insert(zone.clone())),
                        Err(why) => {
                            let finding = Finding::new(Code::ZoneFailed, zone.as_str(), why);
                            looked.findings.push(finding);
                        }
                    }
                }
            }
            Err(finding) => looked.findings.push(finding),
        }
    }
}

/// Takes back what was set for a link that no zone needs any more.
async fn withdraw(
    index: u32,
    was: &ZonesWere,
    resolved: &impl ZoneServers,
    saves: &Saves,
    looked: &mut Looked,
) {
    let name = &was.name;
    let reverted = async {
        // A link that went has taken its settings with it.
        let Ok(now) = resolved.link(index).await else {
            return Ok(false);
        };
        if zone_step(None, Some(&was.set), &now) != ZoneStep::Revert {
            return Ok(false);
        }
        resolved.revert(index).await.map(|()| true)
    };
    match reverted.await {
        Ok(reverted) => {
            if reverted {
                let line = format!("{name} name servers {} -> none", was.set);
                tracing::info!(event = "dns", interface = name, "{line}");
                looked.changes.push(line);
            }
            if let Err(error) = saves.note(index, None).await {
                let finding = Finding::new(Code::StateUnwritable, "", error.to_string());
                looked.findings.push(finding);
            }
        }
        Err(error) => {
            let finding = Finding::new(Code::ZoneFailed, name, error.to_string());
            looked.findings.push(finding);
        }
    }
}

/// Sets what a link lacks: reads, compares, writes and reads back. Gives a line where it
/// changed something.
async fn set(
    index: u32,
    link: &LinkZones,
    ours: Option<&LinkDns>,
    resolved: &impl ZoneServers,
    saves: &Saves,
) -> Result<Option<String>, Finding> {
    let (name, wanted) = (link.name.to_string(), link.wanted());
    let failed = |error: UnitsError| Finding::new(Code::ZoneFailed, &name, error.to_string());
    let now = resolved.link(index).await.map_err(failed)?;
    match zone_step(Some(&wanted), ours, &now) {
        ZoneStep::Nothing | ZoneStep::Revert => return Ok(None),
        ZoneStep::Taken => {
            let detail = format!("{name} has {now}, and {wanted} is wanted");
            return Err(Finding::new(Code::ZoneTaken, &name, detail));
        }
        ZoneStep::Set => {}
    }
    let was = ZonesWere {
        name: name.clone(),
        set: wanted.clone(),
    };
    let not_saved = |error: SavedError| Finding::new(Code::StateUnwritable, "", error.to_string());
    saves.note(index, Some(was)).await.map_err(not_saved)?;
    resolved.set(index, &wanted).await.map_err(failed)?;
    let found = resolved.link(index).await.map_err(failed)?;
    if found != wanted {
        let detail = format!("{name} reads back as {found}, and {wanted} was set");
        return Err(Finding::new(Code::ZoneFailed, &name, detail));
    }
    let line = format!("{name} name servers {wanted}");
    tracing::info!(event = "dns", interface = name, "{line}");
    Ok(Some(line))
}

#[cfg(test)]
mod tests;
