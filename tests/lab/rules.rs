//! Windows' rules as trials of faults expect them: ours, and others', which must
//! be there after everything.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use crate::agent::{Agent, LIMIT, forward};
use crate::contract::Rule;
use crate::control::View;
use crate::world::{World, until};

/// Makes two rules of others.
pub(crate) fn foreign(world: &World) -> Result<Vec<Rule>> {
    world
        .windows()
        .put_foreign("0.0.0.0:8080".parse()?, "nas.example/80")?;
    world
        .windows()
        .put_foreign("127.0.0.1:9999".parse()?, "10.0.0.1/80")?;
    Ok(vec![
        Rule::new(("0.0.0.0", 8080), ("nas.example", 80))?,
        Rule::new(("127.0.0.1", 9999), ("10.0.0.1", 80))?,
    ])
}

/// The two forwards of most trials.
pub(crate) fn two() -> String {
    forward("ssh", 2222, 22) + &forward("web", 8000, 80)
}

/// The rules of [`two`] once they lead to this address.
pub(crate) fn ours(address: &str) -> Result<Vec<Rule>> {
    Ok(vec![
        Rule::new(("0.0.0.0", 2222), (address, 22))?,
        Rule::new(("0.0.0.0", 8000), (address, 80))?,
    ])
}

/// Whether Windows has these rules alone, knows ours, and listens for them. Each
/// list is in the order of the registry, by port.
pub(crate) fn has_rules(view: &View, ours: &[Rule], foreign: &[Rule]) -> bool {
    let mut all = [ours, foreign].concat();
    all.sort_by_key(|rule| (rule.listen_port, rule.listen_address));
    let mut listening: Vec<SocketAddr> = all
        .iter()
        // The port proxy of the lab knows addresses only.
        .filter(|rule| rule.connect_address.as_deref() != Some("nas.example"))
        .map(|rule| SocketAddr::new(rule.listen_address, rule.listen_port))
        .collect();
    listening.sort_unstable();
    view.table == all
        && view.ledger == ours
        && view
            .listening
            .iter()
            .copied()
            .map(SocketAddr::V4)
            .eq(listening)
}

/// Waits until Windows has these rules alone.
pub(crate) fn wait_for_rules(
    world: &World,
    agent: &Agent,
    ours: &[Rule],
    foreign: &[Rule],
) -> Result<()> {
    until("the right rules", LIMIT, || {
        Ok(has_rules(&world.windows().view()?, ours, foreign).then_some(()))
    })
    .with_context(|| {
        let view = world.windows().view();
        format!("{view:#?}\n{}", agent.log().unwrap_or_default())
    })
}

/// Others' rules exist, and all further ones are noted as ours.
pub(crate) fn nothing_foreign(view: &View, foreign: &[Rule]) -> Result<()> {
    let others: Vec<&Rule> = view
        .table
        .iter()
        .filter(|rule| !view.ledger.contains(rule))
        .collect();
    ensure!(others == foreign.iter().collect::<Vec<_>>(), "{view:#?}");
    Ok(())
}
