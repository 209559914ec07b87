//! The elevated task and what it finds on Windows, when they are not as they
//! should be: the running agent reports it and its fix, leaves what is installed, and is
//! right again by itself.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, LIMIT, PROXY};
use crate::caller::{begin, request, sync};
use crate::contract::{Firewall, Grant, Rule};
use crate::double::machine::{ME, OTHER, forward_task};
use crate::double::situation::{Entry, Inbox, Lxss, Situation};
use crate::fault::Fault;
use crate::options::Options;
use crate::process::HUP;
use crate::runner::{trial_alone, trial_with};
use crate::setup::{OPEN, others, policy, proxied};
use crate::snapshot::Snapshot;
use crate::topology::{FIRST, SECOND, THIRD};
use crate::world::{World, until};

/// A fault that leaves everything as it is, what the agent says of it, and its
/// end. What the situation is after it is what it was before.
struct Fails {
    name: &'static str,
    code: &'static str,
    mentions: &'static str,
    begin: fn(&World) -> Result<()>,
}

fn task(world: &World, change: impl FnOnce(&mut crate::double::machine::Task)) -> Result<()> {
    let name = forward_task(ME);
    world.windows().alter(|machine| {
        machine.tasks.entry(name).and_modify(change);
    })
}

fn lxss(world: &World, change: impl FnOnce(&mut Lxss)) -> Result<()> {
    world.windows().set(|now| change(&mut now.lxss))
}

fn address(world: &World, text: &str) -> Result<()> {
    lxss(world, |lxss| {
        lxss.nat_ip_address = Entry::Text(text.to_owned())
    })
}

const UNKNOWN: &str = "guest-address-unknown";

const FAILS: [Fails; 20] = [
    Fails {
        name: "task_missing",
        code: "host-task-failed",
        mentions: "there is no task",
        begin: |world| world.windows().put_task(&forward_task(ME), None),
    },
    Fails {
        name: "task_disabled",
        code: "host-task-failed",
        mentions: "is disabled",
        begin: |world| task(world, |task| task.enabled = false),
    },
    Fails {
        name: "task_of_another_program",
        code: "host-task-failed",
        mentions: "no access",
        begin: |world| task(world, |task| task.may_start = vec![OTHER.to_owned()]),
    },
    Fails {
        name: "battery_and_an_edited_task",
        code: "host-task-failed",
        mentions: "batteries",
        begin: |world| {
            task(world, |task| task.on_batteries = false)?;
            world.windows().set(|now| now.battery = true)
        },
    },
    Fails {
        name: "answer_to_another_ticket",
        code: "host-task-timeout",
        mentions: "no answer",
        begin: |world| {
            let text = "{\"version\":1,\"ticket\":7,\"mode\":1,\"forwards\":[[6,2222,22,9]]}";
            world.windows().set(|now| {
                now.task_wait_ms = 200;
                now.inbox = Some(Inbox::Text(text.to_owned()));
            })
        },
    },
    Fails {
        name: "iphlpsvc_off",
        code: "forward-service",
        mentions: "iphlpsvc",
        begin: |world| world.windows().set_service_running(false),
    },
    Fails {
        name: "interop_gone",
        code: "interop-missing",
        mentions: "no interop socket",
        begin: |world| world.windows().set_fault(Fault::InteropGone),
    },
    Fails {
        name: "contract_of_another_version",
        code: "host-version",
        mentions: "contract 3",
        begin: |world| {
            world.windows().alter(|machine| {
                if let Some(installed) = &mut machine.installed {
                    installed.contract = 3;
                }
            })
        },
    },
    Fails {
        name: "no_address_of_the_guest",
        code: UNKNOWN,
        mentions: "NatIpAddress is missing",
        begin: |world| lxss(world, |lxss| lxss.nat_ip_address = Entry::Missing),
    },
    Fails {
        name: "no_network",
        code: UNKNOWN,
        mentions: "NatNetwork is missing",
        begin: |world| lxss(world, |lxss| lxss.nat_network = Entry::Missing),
    },
    Fails {
        name: "no_gateway",
        code: UNKNOWN,
        mentions: "NatGatewayIpAddress is missing",
        begin: |world| lxss(world, |lxss| lxss.nat_gateway_ip_address = Entry::Missing),
    },
    Fails {
        name: "address_empty",
        code: UNKNOWN,
        mentions: "NatIpAddress is no address",
        begin: |world| address(world, ""),
    },
    Fails {
        name: "address_with_a_command",
        code: UNKNOWN,
        mentions: "NatIpAddress is no address",
        begin: |world| address(world, "172.28.16.5; Remove-Item C:\\"),
    },
    Fails {
        name: "address_of_the_gateway",
        code: UNKNOWN,
        mentions: "is the gateway",
        begin: |world| address(world, "172.28.16.1"),
    },
    Fails {
        name: "broadcast_address",
        code: UNKNOWN,
        mentions: "broadcast",
        begin: |world| address(world, "172.28.31.255"),
    },
    Fails {
        name: "address_of_the_network",
        code: UNKNOWN,
        mentions: "the network's own",
        begin: |world| address(world, "172.28.16.0"),
    },
    Fails {
        name: "address_elsewhere",
        code: UNKNOWN,
        mentions: "not in NatNetwork",
        begin: |world| address(world, "192.168.50.20"),
    },
    Fails {
        name: "network_malformed",
        code: UNKNOWN,
        mentions: "NatNetwork is no network",
        begin: |world| {
            lxss(world, |lxss| {
                lxss.nat_network = Entry::Text("172.28.16.0/0".to_owned());
            })
        },
    },
    Fails {
        name: "gateway_malformed",
        code: UNKNOWN,
        mentions: "NatGatewayIpAddress is no address",
        begin: |world| {
            lxss(world, |lxss| {
                lxss.nat_gateway_ip_address = Entry::Text("fe80::1".to_owned());
            })
        },
    },
    Fails {
        name: "task_slow",
        code: "host-task-timeout",
        mentions: "no answer",
        begin: |world| {
            world.windows().set(|now| {
                now.task_start_ms = 3_000;
                now.task_wait_ms = 200;
            })
        },
    },
];

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = FAILS
        .iter()
        .map(|fails| {
            trial_alone(&format!("host_faults::{}", fails.name), move || {
                let world = World::start(&Options::quick())?;
                comes_and_goes(&world, fails)?;
                world.windows().check()
            })
        })
        .collect();
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    trials.extend([
        quick("host_faults::task_dies_in_the_middle", dies),
        quick("host_faults::answer_lost_in_the_middle", answer_lost),
        quick("host_faults::on_battery", on_battery),
        quick("host_faults::two_at_once", two_at_once),
        quick("host_faults::another_address", another_address),
    ]);
    trials
}

/// One forward is installed, and Windows is as it is with that.
fn prepare(world: &World) -> Result<(Agent<'_>, Snapshot)> {
    others(world)?;
    world
        .windows()
        .install(&policy(vec![proxied((2222, 2223), (22, 22))]))?;
    let agent = world.start_agent(&[PROXY, OPEN].concat())?;
    agent.settled(FIRST)?;
    let before = world.windows().snapshot()?.without_messages();
    Ok((agent, before))
}

/// Waits until ours leads there; all else is as it was.
fn repaired(world: &World, before: &Snapshot, address: &str) -> Result<()> {
    let mut expected = before.clone();
    let target = format!("{address}/22");
    let rule = "0.0.0.0/2222".to_owned();
    expected.machine.rules.insert(rule.clone(), target.clone());
    expected
        .machine
        .note(ME, &format!("tcp/{rule}"), Some(&target));
    let now = || world.windows().snapshot()?.without_messages().is(&expected);
    until("the right rules", LIMIT, || Ok(now().ok())).or_else(|_| now())
}

fn comes_and_goes(world: &World, fails: &Fails) -> Result<()> {
    let (agent, before) = prepare(world)?;
    let view = world.windows().view()?;
    (fails.begin)(world)?;
    let broken = world.windows().snapshot()?.without_messages();
    world.change_address(&format!("{SECOND}/20"))?;
    agent.has_written(SECOND)?;
    let found = agent.ill(fails.code)?;
    ensure!(found.detail.contains(fails.mentions), "{found:?}");
    world.windows().snapshot()?.without_messages().is(&broken)?;
    // It ends, and a person does what the fix says where it takes a person.
    world.windows().clear_fault()?;
    let tasks = view.machine.tasks;
    world.windows().alter(|machine| {
        machine.tasks = tasks;
        machine.installed = view.machine.installed;
    })?;
    let was = view.situation;
    world.windows().set(|now| *now = Situation { ..was })?;
    if fails.code == "host-version" {
        agent.process().signal(HUP)?;
    }
    repaired(world, &before, SECOND)?;
    agent.healthy()?;
    agent.says(&format!("{} cleared", fails.code))?;
    agent.stop()
}

/// After any number of its changes the task is ended; the next sync makes it as
/// if nothing had happened.
fn dies(world: &World) -> Result<()> {
    others(world)?;
    world.windows().install(&policy(vec![Grant {
        firewall: Firewall::None,
        ..proxied((2222, 2230), (22, 22))
    }]))?;
    let one = [(2222, 22), (2223, 22)];
    let two = [(2223, 22), (2224, 22)];
    let all = || -> Result<Snapshot> { Ok(world.windows().snapshot()?.without_messages()) };
    let to = |address: &str, forwards: &[(u16, u16)]| -> Result<()> {
        world.change_address(&format!("{address}/20"))?;
        let answer = sync(world, address, forwards)?;
        ensure!(answer.state == "synced", "{answer:#?}");
        Ok(())
    };
    to(SECOND, &two)?;
    let right = all()?;
    let mut died = 0;
    for changes in 0..100 {
        to(FIRST, &one)?;
        world.windows().set(|now| {
            now.task_dies_after = Some(changes);
            now.task_wait_ms = 100;
        })?;
        world.change_address(&format!("{SECOND}/20"))?;
        let answer = sync(world, SECOND, &two)?;
        let end = world.windows().view()?.task_runs.pop();
        world.windows().set(|now| {
            now.task_dies_after = None;
            now.task_wait_ms = 2000;
        })?;
        if end.as_deref() == Some("died") {
            ensure!(answer.state == "task-timeout", "{answer:#?}");
            died += 1;
            to(SECOND, &two)?;
        }
        all()?.is(&right)?;
        if end.as_deref() == Some("synced") {
            ensure!(died > 5, "it died {died} times");
            return Ok(());
        }
    }
    anyhow::bail!("it died every time")
}

/// Windows does what it has to, and interop ends before it can say so.
fn answer_lost(world: &World) -> Result<()> {
    let (agent, before) = prepare(world)?;
    world.windows().set_fault(Fault::DiesAfterwards)?;
    world.change_address(&format!("{SECOND}/20"))?;
    // WSL's init does not notice, and waits for more than the agent does.
    let found = agent.wait_for("the deadline", 2 * LIMIT, |status| {
        status.problems() == ["interop-timeout"]
    });
    found.map(drop)?;
    repaired(world, &before, SECOND)?;
    world.windows().clear_fault()?;
    agent.healthy()?;
    repaired(world, &before, SECOND)?;
    agent.stop()
}

fn on_battery(world: &World) -> Result<()> {
    let (agent, before) = prepare(world)?;
    world.windows().set(|now| now.battery = true)?;
    world.change_address(&format!("{SECOND}/20"))?;
    repaired(world, &before, SECOND)?;
    agent.settled(SECOND)?;
    agent.stop()
}

/// Two programs of the user's ask at the same time: starts are queued, each gets
/// the answer to its own, and the later one wins.
fn two_at_once(world: &World) -> Result<()> {
    others(world)?;
    world.windows().install(&policy(vec![Grant {
        firewall: Firewall::None,
        ..proxied((2222, 2230), (22, 22))
    }]))?;
    world.windows().set(|now| now.task_start_ms = 150)?;
    let first = begin(world, false, &request(FIRST, &[(2222, 22)]))?;
    until("the first one's task", LIMIT, || {
        let selection = crate::double::machine::selection_file(ME);
        Ok(world.path(selection).exists().then_some(()))
    })?;
    let second = begin(world, false, &request(FIRST, &[(2223, 22)]))?;
    for (process, port) in [(first, 2222), (second, 2223)] {
        let text = process.finish(LIMIT)?.ok()?;
        let answer: crate::contract::Answer = serde_json::from_str(&text)?;
        ensure!(answer.state == "synced", "{answer:#?}");
        let ports: Vec<u16> = answer.rules.iter().map(|rule| rule.listen_port).collect();
        ensure!(ports == [port], "{answer:#?}");
    }
    let view = world.windows().view()?;
    ensure!(
        view.task_runs == ["synced", "synced"],
        "{:?}",
        view.task_runs
    );
    let last = Rule::new(("0.0.0.0", 2223), (FIRST, 22))?;
    ensure!(view.ledger == [last], "{:?}", view.ledger);
    Ok(())
}

/// Windows has another address on record than eth0's: that is where the rules
/// lead, and the agent says so until it is not so any more.
fn another_address(world: &World) -> Result<()> {
    let (agent, before) = prepare(world)?;
    address(world, THIRD)?;
    agent.process().signal(HUP)?;
    let found = agent.ill("guest-address-differs")?;
    ensure!(
        found.detail.contains(THIRD) && found.detail.contains(FIRST),
        "{found:?}"
    );
    repaired(world, &before, THIRD)?;
    lxss(world, |lxss| lxss.nat_ip_address = Entry::True)?;
    agent.settled(FIRST)?;
    repaired(world, &before, FIRST)?;
    agent.stop()
}
