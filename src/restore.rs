//! Puts back what the agent changed, where it is still as the agent left it.

use std::{collections::BTreeMap, fmt, path::Path};

use crate::{
    agent,
    apply::{
        self, ApplyError, resolv_conf,
        saved::{ResolvConfWas, Saved, SavedError, Values, ZonesWere},
    },
    model::{InterfaceName, SysctlKey, SysctlReading, SysctlValue},
    netlink::{Netlink, NetlinkError, mtu_of, name_of},
    observe::{self, RESOLV_CONF},
    paths::Paths,
    plan::{self, ZoneStep},
    units::{Resolved, UnitsError, ZoneServers as _},
};

/// What became of a saved value, or of the rules on Windows; what, and why.
#[derive(Debug)]
pub enum Outcome {
    /// The parameter or link has its previous value.
    Restored(String),
    /// Another program has set it since, or it no longer exists.
    Left(String),
    /// It could not be put back and stays saved, or rules of ours may remain on Windows.
    Failed(String),
    /// No rule of ours remains on Windows.
    Withdrawn(String),
}

impl Outcome {
    /// Whether something is not as it was before the agent.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored(what) => write!(f, "restored: {what}"),
            Self::Left(what) => write!(f, "left: {what}"),
            Self::Failed(what) => write!(f, "failed: {what}"),
            Self::Withdrawn(what) => write!(f, "withdrawn: {what}"),
        }
    }
}

/// Why nothing could be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The saved values.
    #[error(transparent)]
    Saved(#[from] SavedError),
    /// The kernel.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// Puts all saved values of this boot back and forgets those that are restored. With
/// `keep_resolv_conf` the link of /etc/resolv.conf to WSL's file stays.
///
/// # Errors
/// The saved values cannot be read or written, or there is no rtnetlink.
pub async fn restore(paths: &Paths, keep_resolv_conf: bool) -> Result<Vec<Outcome>, RestoreError> {
    let saved = Saved::new(&paths.state);
    let Values {
        sysctl,
        mtu,
        zones,
        resolv_conf,
        ..
    } = saved.load()?;
    let netlink = Netlink::connect()?;
    let mut outcomes = Vec::new();
    let mut kept = (BTreeMap::new(), BTreeMap::new());
    for (name, was) in sysctl {
        let outcome = parameter(&name, &was.before, &was.after).await;
        if outcome.failed() {
            kept.0.insert(name, was);
        }
        outcomes.push(outcome);
    }
    for (index, was) in mtu {
        let outcome = link(&netlink, index, &was.name, was.mtu.before, was.mtu.after).await;
        if outcome.failed() {
            kept.1.insert(index, was);
        }
        outcomes.push(outcome);
    }
    saved.update(|values| (values.sysctl, values.mtu) = kept)?;
    let mut kept = BTreeMap::new();
    for (index, was) in zones {
        let outcome = name_servers(index, &was).await;
        if outcome.failed() {
            kept.insert(index, was);
        }
        outcomes.push(outcome);
    }
    let resolv_conf = resolv_conf.filter(|_| !keep_resolv_conf);
    let outcome = resolv_conf.as_ref().map(linked);
    saved.update(|values| {
        values.zones = kept;
        if outcome.as_ref().is_some_and(|outcome| !outcome.failed()) {
            values.resolv_conf = None;
        }
    })?;
    outcomes.extend(outcome);
    Ok(outcomes)
}

/// Withdraws the rules on Windows, where any may remain.
///
/// # Errors
/// The saved values cannot be read.
pub async fn withdraw(paths: &Paths) -> Result<Option<Outcome>, RestoreError> {
    if !Saved::new(&paths.state).load()?.forwards {
        return Ok(None);
    }
    let outcome = agent::withdraw(paths).await;
    if outcome.rules_remain == Some(false) {
        let changed = outcome.changed.as_deref();
        let changed = changed.unwrap_or("no rules were installed");
        return Ok(Some(Outcome::Withdrawn(changed.to_owned())));
    }
    let mut why = "rules may remain on Windows".to_owned();
    for finding in &outcome.findings {
        why += &format!("; {finding}");
    }
    Ok(Some(Outcome::Failed(why)))
}

/// Takes a tunnel's name servers back.
async fn name_servers(index: u32, was: &ZonesWere) -> Outcome {
    let what = format!("{} name servers", was.name);
    let reverted = async {
        let resolved = Resolved::connect().await?;
        // A link that went has taken its settings with it.
        let now = resolved.link(index).await.unwrap_or_default();
        if plan::zone_step(None, Some(&was.set), &now) != ZoneStep::Revert {
            return Ok(now);
        }
        resolved.revert(index).await?;
        resolved.link(index).await
    };
    match reverted.await {
        Ok(now) if now.is_empty() => Outcome::Restored(format!("{what} none")),
        Ok(now) => Outcome::Left(format!("{what}: another program has set them to {now}")),
        // They went with it.
        Err(UnitsError::Unreachable(why)) => Outcome::Left(format!("{what}: {why}")),
        Err(error) => Outcome::Failed(format!("{what}: {error}")),
    }
}

/// Puts back what was in the place of the link to WSL's file.
fn linked(was: &ResolvConfWas) -> Outcome {
    match resolv_conf::unlink(Path::new(RESOLV_CONF), was) {
        Ok(true) => Outcome::Restored(format!("{RESOLV_CONF} as it was, without a server")),
        Ok(false) => Outcome::Left(format!("{RESOLV_CONF}: another program has changed it")),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

async fn parameter(name: &str, before: &str, after: &str) -> Outcome {
    let Ok(key) = SysctlKey::parse(name) else {
        return Outcome::Left(format!("{name}: wslmesh does not set it"));
    };
    let found = match observe::read_sysctl(&key) {
        SysctlReading::Value { value, .. } => Some(value),
        SysctlReading::Missing => None,
        SysctlReading::Unreadable(why) => {
            return Outcome::Failed(format!("{name}: cannot be read: {why}; it stays saved"));
        }
    };
    let (before, after) = (SysctlValue::new(before), SysctlValue::new(after));
    let write = async || apply::write_sysctl(&key, &before);
    put_back(name, found, &before, &after, write).await
}

async fn link(netlink: &Netlink, index: u32, name: &str, before: u32, after: u32) -> Outcome {
    let what = format!("{name} mtu");
    let Some(interface) = InterfaceName::new(name) else {
        return Outcome::Left(format!("{what}: no longer exists"));
    };
    let found = match netlink.link(index).await {
        Ok(found) => found.filter(|link| name_of(link) == Some(name)),
        Err(error) => return Outcome::Failed(format!("{name}: {error}")),
    };
    let found = found.as_ref().and_then(mtu_of);
    let write = async || apply::set_mtu(netlink, index, &interface, before).await;
    put_back(&what, found, &before, &after, write).await
}

/// Gives a value that is still as the agent set it its previous value.
async fn put_back<T: PartialEq + fmt::Display>(
    what: &str,
    found: Option<T>,
    before: &T,
    after: &T,
    write: impl AsyncFnOnce() -> Result<bool, ApplyError>,
) -> Outcome {
    let restored = Outcome::Restored(format!("{what} {before}"));
    match found {
        Some(found) if found == *after => match write().await {
            Ok(_) => restored,
            Err(error) => Outcome::Failed(error.to_string()),
        },
        Some(found) if found == *before => restored,
        Some(found) => Outcome::Left(format!("{what}: another program has set it to {found}")),
        None => Outcome::Left(format!("{what}: no longer exists")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rules_that_cannot_be_withdrawn_are_no_success() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            state: folder.path().to_owned(),
            runtime: folder.path().to_owned(),
            lib: folder.path().to_owned(),
        };
        assert!(
            withdraw(&paths).await.unwrap().is_none(),
            "nothing was made"
        );
        let saved = Saved::new(&paths.state);
        saved.update(|values| values.forwards = true).unwrap();
        // There is no interop here, so the call never reaches a Windows.
        let outcome = withdraw(&paths).await.unwrap().unwrap();
        assert!(outcome.failed());
        let text = outcome.to_string();
        assert!(text.starts_with("failed: rules may remain on Windows; interop-missing"));
        assert!(saved.load().unwrap().forwards, "they are not forgotten");
    }
}
