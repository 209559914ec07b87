//! What another program of the user's can do to the elevated task: write what it
//! likes into the one file that the task reads from that side. It gets no further
//! than the policy.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{PROXY, forward};
use crate::caller::sync;
use crate::contract::{Answer, Firewall, Grant, Protocol};
use crate::double::machine::{ME, answer_file};
use crate::double::situation::Inbox;
use crate::options::Options;
use crate::runner::trial_with;
use crate::setup::{grant, others, policy, proxied};
use crate::snapshot::Snapshot;
use crate::topology::FIRST;
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("host_hostile::not_the_form", not_the_form),
        quick("host_hostile::commands_in_every_field", commands),
        quick("host_hostile::something_else_in_its_place", in_its_place),
        quick("host_hostile::outside_the_policy", outside),
        quick("host_hostile::the_port_of_a_foreign_rule", foreign_port),
        quick("host_hostile::under_a_running_agent", under_an_agent),
    ]
}

/// One rule of ours is installed, among rules of others, one of which has a port that
/// the policy holds.
fn prepare(world: &World) -> Result<Snapshot> {
    others(world)?;
    world
        .windows()
        .put_foreign("0.0.0.0:2225".parse()?, "10.9.8.7/22")?;
    let none = |grant| Grant {
        firewall: Firewall::None,
        ..grant
    };
    world.windows().install(&policy(vec![
        none(proxied((2222, 2230), (22, 22))),
        none(grant(Protocol::Tcp, (3000, 3000), (22, 22))),
    ]))?;
    let answer = sync(world, FIRST, &[(2222, 22)])?;
    ensure!(
        answer.state == "synced" && answer.rules.len() == 1,
        "{answer:#?}"
    );
    Ok(world.windows().snapshot()?.without_messages())
}

/// The caller's answer, and what the task left, with this in the selection's
/// place.
fn with(world: &World, inbox: Inbox) -> Result<(Answer, Answer)> {
    world.windows().set(|now| now.inbox = Some(inbox))?;
    let answer = sync(world, FIRST, &[(2222, 22)])?;
    let left = serde_json::from_str(&world.read(answer_file(ME))?)?;
    Ok((answer, left))
}

/// Nothing changes, and the task's answer has this reason.
fn refused(world: &World, before: &Snapshot, inbox: Inbox, why: &str) -> Result<Answer> {
    let what = format!("{inbox:.200?}");
    let (answer, left) = with(world, inbox)?;
    ensure!(left.state == "invalid-request", "{what}: {left:#?}");
    let detail = left.detail.as_deref().unwrap_or_default();
    ensure!(detail.contains(why), "{what}: {detail:?}");
    let now = world.windows().snapshot()?.without_messages();
    now.is(before).context(what)?;
    Ok(answer)
}

fn text(forwards: &str) -> Inbox {
    let all = format!("{{\"version\":1,\"ticket\":TICKET,\"mode\":1,\"forwards\":[{forwards}]}}");
    Inbox::Text(all)
}

fn not_the_form(world: &World) -> Result<()> {
    let before = prepare(world)?;
    let many = vec!["[6,2223,22,1]"; 2001].join(",");
    let form = "not what was agreed";
    let forwards = [
        ("[6,2222.5,22,1]", form),
        ("[6,-2222,22,1]", form),
        ("[6,1e3,22,1]", form),
        ("[6,\"2222\",22,1]", form),
        ("[6,99999999999999999999999,22,1]", form),
        ("[6,2222,22]", form),
        ("[6,2222,22,1,1]", form),
        ("[[6,2222,22,1]]", form),
        ("null", form),
        ("[6,0,22,1]", "no port"),
        ("[6,2222,65536,1]", "no port"),
        ("[6,18446744073709551615,22,1]", "no port"),
        ("[1,2222,22,1]", "no protocol"),
        ("[6,2222,22,0]", "does not serve"),
        ("[17,2222,22,1]", "does not serve"),
        ("[17,2222,22,2]", "does not serve"),
        ("[6,2222,22,2]", "does not serve"),
        ("[6,2222,22,3]", "does not serve"),
        ("[6,2222,22,1],[6,2222,22,1]", "twice"),
        (&many, "too many"),
    ];
    for (forwards, why) in forwards {
        let answer = refused(world, &before, text(forwards), why)?;
        ensure!(
            ["invalid-request", "task-timeout"].contains(&answer.state.as_str()),
            "{answer:#?}"
        );
    }
    // Each of these would withdraw the rule if it were believed.
    let versions = [
        (
            "{\"version\":2,\"ticket\":TICKET,\"mode\":1,\"forwards\":[]}",
            "another version",
        ),
        (
            "{\"version\":1,\"ticket\":TICKET,\"mode\":3,\"forwards\":[]}",
            "no such mode",
        ),
        (
            "{\"version\":1,\"ticket\":TICKET,\"mode\":1,\"forwards\":[],\"policy\":[]}",
            form,
        ),
        ("{\"version\":1,\"ticket\":TICKET,\"forwards\":[]}", form),
    ];
    for (text, why) in versions {
        let answer = refused(world, &before, Inbox::Text(text.to_owned()), why)?;
        ensure!(answer.state == "invalid-request", "{answer:#?}");
    }
    // No ticket can be read of these, so that no caller gets the answer.
    world.windows().set(|now| now.task_wait_ms = 100)?;
    let size = format!(
        "{{\"version\":1,\"ticket\":TICKET,\"mode\":1,\"forwards\":[]{}}}",
        " ".repeat(1_000_000)
    );
    let no_ticket = [
        (size.as_str(), "too large"),
        ("", form),
        ("\u{0}\u{0}", form),
        (
            "{\"version\":1,\"ticket\":0,\"mode\":1,\"forwards\":[]}",
            "no ticket",
        ),
        (
            "{\"version\":1,\"ticket\":2147483648,\"mode\":1,\"forwards\":[]}",
            "no ticket",
        ),
        (
            "{\"version\":1,\"ticket\":TICKET,\"mode\":1,\"forwards\":[",
            form,
        ),
        (
            "{\"version\":1,\"ticket\":TICKET,\"mode\":1,\"forwards\":[]}{}",
            form,
        ),
    ];
    for (text, why) in no_ticket {
        let answer = refused(world, &before, Inbox::Text(text.to_owned()), why)?;
        ensure!(answer.state == "task-timeout", "{answer:#?}");
        ensure!(answer.rules.len() == 1, "{answer:#?}");
    }
    Ok(())
}

/// A text that ends a string and a command, wherever there is a place for one.
fn commands(world: &World) -> Result<()> {
    let before = prepare(world)?;
    world.windows().set(|now| now.task_wait_ms = 100)?;
    let good = ["1", "TICKET", "1", "6", "2222", "22", "1"];
    for place in 0..good.len() {
        for hostile in [
            "\"1\\\"; Remove-Item C:\\\\ -Recurse #\"",
            "1; Remove-Item C:\\ -Recurse",
            "\"$(Remove-Item C:\\\\)\"",
            "\"1 protocol=tcp & del\"",
        ] {
            let mut fields = good;
            let field = fields.get_mut(place).context("no such field")?;
            *field = hostile;
            let [version, ticket, mode, rest @ ..] = fields;
            let text = format!(
                "{{\"version\":{version},\"ticket\":{ticket},\"mode\":{mode},\"forwards\":[[{}]]}}",
                rest.join(",")
            );
            refused(world, &before, Inbox::Text(text), "not what was agreed")?;
        }
    }
    Ok(())
}

/// Links and folders are not followed, not even to what would be a selection.
fn in_its_place(world: &World) -> Result<()> {
    let target = "/mnt/c/Users/other/selection.json";
    let selection = "{\"version\":1,\"ticket\":7,\"mode\":1,\"forwards\":[]}";
    world.write(target, selection)?;
    let before = prepare(world)?;
    world.windows().set(|now| now.task_wait_ms = 100)?;
    for (inbox, why) in [
        (Inbox::Folder, "no plain file"),
        (Inbox::Nothing, "not there"),
        (Inbox::Link("/nowhere".to_owned()), "no plain file"),
        (Inbox::Link(target.to_owned()), "no plain file"),
    ] {
        // What a call before has left is the user's own to clear.
        let path = world.path(crate::double::machine::selection_file(ME));
        if std::fs::remove_file(&path).is_err() {
            drop(std::fs::remove_dir(&path));
        }
        let answer = refused(world, &before, inbox, why)?;
        ensure!(answer.state == "task-timeout", "{answer:#?}");
    }
    ensure!(world.read(target)? == selection);
    Ok(())
}

/// Each of these forwards is refused by itself, and the good one is served.
fn outside(world: &World) -> Result<()> {
    let before = prepare(world)?;
    let forwards = [
        "[6,2221,22,1]",
        "[6,2231,22,1]",
        "[6,2223,23,1]",
        "[6,7001,22,1]",
        "[6,8080,80,1]",
        "[6,65535,22,1]",
    ];
    // The relay serves this one.
    let other = "[6,3000,22,1]";
    let all = [&["[6,2222,22,1]", other], &forwards[..]]
        .concat()
        .join(",");
    let (answer, _) = with(world, text(&all))?;
    ensure!(answer.state == "synced" && answer.kept == 1, "{answer:#?}");
    let count = |reason: &str| {
        let refused = answer.refused.iter();
        refused.filter(|one| one.reason == reason).count()
    };
    ensure!(count("outside-policy") == forwards.len(), "{answer:#?}");
    ensure!(count("backend") == 1, "{answer:#?}");
    world.windows().snapshot()?.without_messages().is(&before)
}

/// A port that the policy holds and another program's rule has.
fn foreign_port(world: &World) -> Result<()> {
    let before = prepare(world)?;
    let (answer, _) = with(world, text("[6,2222,22,1],[6,2225,22,1]"))?;
    ensure!(answer.state == "synced" && answer.kept == 1, "{answer:#?}");
    let [conflict] = answer.conflicts.as_slice() else {
        anyhow::bail!("{answer:#?}")
    };
    ensure!(
        conflict.listen_port == 2225 && conflict.connect_address.as_deref() == Some("10.9.8.7"),
        "{conflict:?}"
    );
    world.windows().snapshot()?.without_messages().is(&before)?;
    // A start of the task by hand does the same once more.
    world.windows().run_task()?;
    world.windows().snapshot()?.without_messages().is(&before)
}

/// The agent reports what it gets, leaves everything as it is, and goes on when it
/// is left alone.
fn under_an_agent(world: &World) -> Result<()> {
    let before = prepare(world)?;
    let agent = world.start_agent(&(PROXY.to_owned() + &forward("ssh", 2222, 22)))?;
    agent.settled(FIRST)?;
    let hostile = Inbox::Text(
        "{\"version\":\"; Remove-Item\",\"ticket\":TICKET,\"mode\":1,\"forwards\":[]}".to_owned(),
    );
    world.windows().set(|now| now.inbox = Some(hostile))?;
    agent.process().signal(crate::process::HUP)?;
    let found = agent.ill("forward-failed")?;
    ensure!(found.detail.contains("selection.json"), "{found:?}");
    world.windows().snapshot()?.without_messages().is(&before)?;
    world.windows().set(|now| now.inbox = None)?;
    agent.healthy()?;
    world.windows().snapshot()?.without_messages().is(&before)?;
    agent.stop()
}
