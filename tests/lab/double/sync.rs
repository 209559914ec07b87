//! One sync by an elevated program, whichever.

use crate::contract::{Answer, Protocol, Restored, ServedBy, Taken};
use crate::double::check::{Order, Wanted};
use crate::double::firewall;
use crate::double::machine::{Machine, Name, Values, sorted};
use crate::double::portproxy::{Plan, owned};
use crate::double::situation::Situation;

/// The program was ended before it was done.
#[derive(Debug)]
pub(crate) struct Died;

/// How many single changes a program gets to before it is ended.
#[derive(Debug)]
pub(crate) struct Fuse(Option<usize>);

impl Fuse {
    /// Ends after this many changes, or never.
    pub(crate) fn new(changes: Option<usize>) -> Self {
        Self(changes)
    }

    /// Before each change.
    pub(crate) fn burn(&mut self) -> Result<(), Died> {
        match &mut self.0 {
            Some(0) => Err(Died),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Whether a port can be had, by trying it out.
pub(crate) type Probe<'a> = &'a dyn Fn(Name) -> bool;

fn targets(order: &Order) -> Values {
    let by_portproxy = |wanted: &&Wanted| wanted.served_by == ServedBy::Portproxy;
    let target = |wanted: &Wanted| {
        (
            (wanted.listen_address, wanted.listen_port),
            format!("{}/{}", order.connect_address, wanted.connect_port),
        )
    };
    order
        .forwards
        .iter()
        .filter(by_portproxy)
        .map(target)
        .collect()
}

/// The installed rules, without a change.
pub(crate) fn unchanged(
    machine: &Machine,
    sid: &str,
    order: Option<&Order>,
    answer: Answer,
) -> Answer {
    let rules = sorted(owned(machine, sid).iter());
    let plan = order.map(|order| Plan::new(machine, sid, &targets(order)));
    Answer {
        kept: plan.as_ref().map_or(0, |plan| plan.kept),
        conflicts: plan.map(|plan| plan.conflicts).unwrap_or_default(),
        rules,
        ..answer
    }
}

/// How many rules would have to change.
pub(crate) fn changes(machine: &Machine, sid: &str, order: &Order) -> usize {
    Plan::new(machine, sid, &targets(order)).changes()
}

/// Whether the service is needed and does not run.
pub(crate) fn stopped(machine: &Machine, situation: &Situation, sid: &str, order: &Order) -> bool {
    let wanted = targets(order);
    !situation.service && (!wanted.is_empty() || Plan::new(machine, sid, &wanted).changes() > 0)
}

fn find_taken(situation: &Situation, plan: &Plan, probe: Probe) -> Vec<Taken> {
    let taken = |name: &Name| {
        let known = situation.ports.get(&name.1);
        let known = known.filter(|port| port.protocol == Protocol::Tcp);
        let forbidden = known.is_some_and(|port| port.forbidden);
        let free = || plan.moves(name) || probe(*name);
        (forbidden || !free()).then(|| Taken {
            protocol: Protocol::Tcp,
            listen_address: name.0,
            listen_port: name.1,
            kind: if forbidden { "forbidden" } else { "in-use" }.to_owned(),
            owner: known.and_then(|port| port.owner.clone()),
        })
    };
    plan.add.keys().filter_map(taken).collect()
}

/// Makes rules and firewall what the order says, and the policy.
pub(crate) fn elevated(
    machine: &mut Machine,
    situation: &Situation,
    sid: &str,
    order: &Order,
    probe: Probe,
    fuse: &mut Fuse,
) -> Result<Answer, Died> {
    if stopped(machine, situation, sid, order) {
        let answer = Answer::of("service-stopped", None);
        return Ok(unchanged(machine, sid, Some(order), answer));
    }
    let wanted = targets(order);
    let mut plan = Plan::new(machine, sid, &wanted);
    let taken = find_taken(situation, &plan, probe);
    let is_taken = |name: &Name| {
        let at = |taken: &Taken| (taken.listen_address, taken.listen_port) == *name;
        taken.iter().any(at)
    };
    plan.add.retain(|name, _| !is_taken(name));
    let noted = machine.ledger_values(sid, "tcp/");
    let lost = plan.add.keys().filter(|name| noted.contains_key(name));
    let restored = lost.map(|name| Restored {
        listen_address: name.0,
        listen_port: name.1,
    });
    let restored = restored.collect();
    plan.apply(machine, sid, fuse)?;
    let installed = owned(machine, sid);
    let served: Vec<Wanted> = order
        .forwards
        .iter()
        .filter(|forward| {
            forward.served_by != ServedBy::Portproxy
                || installed.contains_key(&(forward.listen_address, forward.listen_port))
        })
        .copied()
        .collect();
    let rules = firewall::wanted(machine, sid, &served, firewall::Guest::AsTheyAre);
    let firewall = firewall::apply(machine, situation, sid, rules, fuse)?;
    Ok(Answer {
        rules: sorted(installed.iter()),
        added: plan.add.len() + plan.set.len(),
        removed: plan.remove.len(),
        kept: plan.kept,
        restored,
        conflicts: plan.conflicts,
        taken,
        firewall: Some(firewall),
        ..Answer::of("synced", None)
    })
}
