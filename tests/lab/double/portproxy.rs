//! Which portproxy rules have to change, and the changes one by one.

use crate::contract::Rule;
use crate::double::machine::{Machine, Name, Values, ledger_name, pending_name, sorted};
use crate::double::sync::{Died, Fuse};

/// What one sync has to do.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// New rules.
    pub(crate) add: Values,
    /// Rules of ours that lead elsewhere.
    pub(crate) set: Values,
    pub(crate) remove: Vec<Name>,
    pub(crate) kept: usize,
    /// Foreign rules in the way.
    pub(crate) conflicts: Vec<Rule>,
    owned: Values,
}

/// Whether two listeners would contend for some connection: the same port, on the
/// same address or with one of them on all.
fn overlap(one: &Name, other: &Name) -> bool {
    one.1 == other.1 && (one.0 == other.0 || one.0.is_unspecified() || other.0.is_unspecified())
}

/// The rules that stand as the user's ledger has them.
pub(crate) fn owned(machine: &Machine, sid: &str) -> Values {
    let done = machine.ledger_values(sid, "tcp/");
    let pending = machine.ledger_values(sid, "pending/tcp/");
    let mut rules = machine.values();
    rules.retain(|name, to| done.get(name) == Some(to) || pending.get(name) == Some(to));
    rules
}

impl Plan {
    /// For these rules and no others.
    pub(crate) fn new(machine: &Machine, sid: &str, wanted: &Values) -> Self {
        let owned = owned(machine, sid);
        let mut foreign = machine.values();
        foreign.retain(|name, _| !owned.contains_key(name));
        let mut plan = Self::default();
        let unwanted = owned.keys().filter(|name| !wanted.contains_key(name));
        plan.remove.extend(unwanted);
        for (name, target) in wanted {
            match owned.get(name) {
                // An installed rule of ours stays, whatever overlaps it by now.
                Some(standing) if standing == target => plan.kept += 1,
                Some(_) => drop(plan.set.insert(*name, target.clone())),
                None if foreign.keys().any(|other| overlap(name, other)) => {}
                None => drop(plan.add.insert(*name, target.clone())),
            }
        }
        foreign.retain(|other, _| wanted.keys().any(|name| overlap(name, other)));
        plan.conflicts = sorted(foreign.iter());
        plan.owned = owned;
        plan
    }

    /// How many rules would change.
    pub(crate) fn changes(&self) -> usize {
        self.add.len() + self.set.len() + self.remove.len()
    }

    /// Whether a rule of ours has that port already, at another address: who tries
    /// the port finds that one.
    pub(crate) fn moves(&self, name: &Name) -> bool {
        self.owned.keys().any(|own| overlap(own, name))
    }

    /// Ledger, rules, ledger. The rules are those of the port proxy only.
    pub(crate) fn apply(
        &self,
        machine: &mut Machine,
        sid: &str,
        fuse: &mut Fuse,
    ) -> Result<(), Died> {
        let before = self.owned.iter().chain(&self.add);
        let before: Vec<_> = before
            .map(|(name, to)| (ledger_name(*name), to))
            .chain(self.set.iter().map(|(name, to)| (pending_name(*name), to)))
            .collect();
        forget_others(machine, sid, |name| before.iter().any(|(n, _)| n == name));
        for (name, to) in before {
            fuse.burn()?;
            machine.note(sid, &name, Some(to));
        }
        for name in &self.remove {
            fuse.burn()?;
            machine.set_rule(*name, None);
        }
        for (name, to) in self.set.iter().chain(&self.add) {
            fuse.burn()?;
            machine.set_rule(*name, Some(to.clone()));
        }
        fuse.burn()?;
        let after = owned(machine, sid);
        forget_others(machine, sid, |name| {
            after.keys().any(|own| ledger_name(*own) == name)
        });
        for (name, to) in after {
            machine.note(sid, &ledger_name(name), Some(&to));
        }
        Ok(())
    }
}

/// Drops the ledger's entries of portproxy rules that are not among `stay`.
fn forget_others(machine: &mut Machine, sid: &str, stay: impl Fn(&str) -> bool) {
    if let Some(user) = machine.users.get_mut(sid) {
        user.ledger
            .retain(|name, _| name.starts_with("firewall/") || stay(name));
    }
}
