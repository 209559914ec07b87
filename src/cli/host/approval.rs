//! Whether Windows' administrator has approved forwards.

use anyhow::Context;

use crate::{
    config::{Forward, Settings},
    host::{
        contract::PolicyGap,
        setup::{Agreed, Order, Setup},
    },
    paths::Paths,
};

/// What Windows allows already.
pub(in super::super) enum Approval {
    /// All of it.
    Given,
    /// Nothing: `host install` was never run.
    NotInstalled,
    /// The policy lacks something: it ... this.
    Lacks(&'static str),
}

/// Reads the policy on Windows and compares it with these forwards.
pub(in super::super) async fn approval(
    forwards: &[&Forward],
    settings: &Settings,
    paths: &Paths,
) -> anyhow::Result<Approval> {
    let looked = async {
        let setup = Setup::find(&paths.state)?;
        setup.call(Order::Look).await
    };
    let before = looked.await.context("cannot read what Windows allows")?;
    let policy = match &before.policy {
        // Without an installation an administrator's own programs may do all of it.
        Agreed::Nothing if before.elevated => return Ok(Approval::Given),
        Agreed::Nothing => return Ok(Approval::NotInstalled),
        Agreed::Unreadable => return Ok(Approval::Lacks("cannot be read")),
        Agreed::Policy(policy) => policy,
    };
    let forbidden = before.relay_forbidden();
    let gap = |forward: &&Forward| policy.gap(forward, settings.backend_of(forward), forbidden);
    Ok(match forwards.iter().find_map(gap) {
        None => Approval::Given,
        Some(PolicyGap::OutsidePolicy) => Approval::Lacks("does not allow these ports"),
        Some(PolicyGap::ListenAddress) => Approval::Lacks("allows these ports on another address"),
        Some(PolicyGap::Firewall) => Approval::Lacks("allows these ports with another firewall"),
        Some(PolicyGap::Backend) => Approval::Lacks("allows these ports with another backend"),
    })
}
