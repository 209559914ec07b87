//! `wslmesh host install` and `uninstall`: what is approved, what it gives, and
//! that nothing is left of it.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{CONFIG, LIMIT};
use crate::contract::{Backend, Firewall, Grant, Policy, Protocol};
use crate::double::firewall::{BLOCK, LOOPBACK};
use crate::double::machine::{
    FirewallKind, ME, OTHER, PROGRAM_FILES, Task, forward_task, inbox, logon_task,
};
use crate::double::situation::Elevation;
use crate::fault::Fault;
use crate::options::Options;
use crate::runner::{trial_alone, trial_with};
use crate::setup::{OPEN, all, files, firewall_rule, others, said};
use crate::topology::FIRST;
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    let mut trials = vec![
        quick("host_install::approved_and_used", approved_and_used),
        quick("host_install::at_a_terminal", at_a_terminal),
        quick("host_install::no_terminal", no_terminal),
        quick("host_install::dry_runs", dry_runs),
        quick("host_install::elevated", elevated),
        quick("host_install::no_command_runs", no_command_runs),
        quick("host_install::over_the_shoulder", over_the_shoulder),
        quick("host_install::upgrade_keeps_the_ledger", upgrade),
        quick("host_install::of_another_contract", of_another_contract),
        quick("host_install::two_users", two_users),
        quick("host_uninstall::leaves_nothing", leaves_nothing),
        quick("host_uninstall::beside_a_running_agent", beside_an_agent),
        quick("host_uninstall::others_stay", others_stay),
        quick("host_uninstall::twice", twice),
    ];
    trials.extend(REFUSALS.iter().map(|refusal| {
        trial_alone(&format!("host_refused::{}", refusal.name), move || {
            let world = World::start(&Options::quick())?;
            refused(&world, refusal)?;
            world.windows().check()
        })
    }));
    trials
}

const TUNNEL: &str = crate::installed::TUNNEL;

/// A grant as a person is shown it.
fn shown(grant: &Grant) -> String {
    let ports = |range: (u16, u16)| {
        if range.0 == range.1 {
            range.0.to_string()
        } else {
            format!("{}-{}", range.0, range.1)
        }
    };
    let protocol = match grant.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let who = match grant.firewall {
        Firewall::None => "no firewall rule",
        Firewall::Local => "from the local subnet",
        Firewall::Full => "from everywhere",
    };
    let by = match grant.backend {
        Backend::Auto => "",
        Backend::Relay => ", by the relay",
        Backend::Portproxy => ", by the port proxy",
    };
    format!(
        "{protocol} {} -> {} on {} {who}{by}",
        ports(grant.listen_ports),
        ports(grant.connect_ports),
        grant.listen_address
    )
}

/// The lines of an output that are grants, with single blanks.
fn grant_lines(text: &str) -> Vec<String> {
    let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let grants = text.lines().map(plain);
    grants
        .filter(|line| line.starts_with("tcp ") || line.starts_with("udp "))
        .collect()
}

/// Whether exactly this text's policy is in the registry.
fn agreed(world: &World, text: &str) -> Result<Policy> {
    let policy = world.windows().view()?.machine.policy(ME).cloned();
    let policy = policy.context("no policy")?;
    let grants: Vec<String> = policy.grants.iter().map(shown).collect();
    ensure!(grant_lines(text) == grants, "{text}\n{policy:#?}");
    let networks = format!("networks: {}", policy.profiles.join(", "));
    ensure!(text.contains(&networks), "{text}\n{policy:#?}");
    let logon = if policy.logon {
        format!("{} is started", policy.distribution)
    } else {
        "nothing is started".to_owned()
    };
    ensure!(text.contains(&logon), "{text}\n{policy:#?}");
    Ok(policy)
}

/// Where powershell.exe runs files alone, what is installed comes on standard input still.
fn no_command_runs(world: &World) -> Result<()> {
    world.windows().set_fault(Fault::NoCommand)?;
    world.write(CONFIG, OPEN)?;
    let output = world.cli(&["host", "install", "--yes"])?;
    said(&output, 0, &["installed on Windows"])?;
    agreed(world, &output.stdout)?;
    let calls = world.windows().calls()?;
    let ways: Vec<&str> = calls.iter().map(|call| call.by.as_str()).collect();
    ensure!(ways == ["-Command", "-File", "-File"], "{ways:?}");
    Ok(())
}

/// What is shown is what is approved; forwards then work for the home network,
/// and there is no further prompt.
fn approved_and_used(world: &World) -> Result<()> {
    others(world)?;
    let agent = world.start_agent(&[OPEN, TUNNEL].concat())?;
    agent.raised("relay-loopback")?;
    world.unreachable(2222)?;
    let output = world.cli(&["host", "install", "--yes"])?;
    said(
        &output,
        0,
        &["installed on Windows", "reloads its configuration"],
    )?;
    let policy = agreed(world, &output.stdout)?;
    ensure!(
        policy.distribution == crate::init::DISTRIBUTION,
        "{policy:#?}"
    );
    agent.healthy()?;
    world.reached(2222)?;
    let machine = world.windows().view()?.machine;
    for (port, name) in [
        (2222, format!("wslmesh-{ME}-tcp-2222-relay")),
        (51820, format!("wslmesh-{ME}-udp-51820-relay")),
    ] {
        let rule = machine.firewall.get(&name).with_context(|| name.clone())?;
        ensure!(
            rule.ports == Some((port, port)) && rule.local_only,
            "{rule:?}"
        );
        ensure!(rule.profiles == policy.profiles, "{rule:?}");
    }
    // Windows neither asks about the relay nor lets strangers in to it.
    for (name, allow, profiles) in [
        (LOOPBACK, true, &["domain", "private"][..]),
        (BLOCK, false, &["public"]),
    ] {
        let rule = machine.firewall.get(name).context(name)?;
        ensure!(rule.allow == allow && rule.profiles == profiles, "{rule:?}");
    }
    // Nothing of ours runs with administrator rights from now on.
    let elevated = |task: &&Task| task.principal != ME && task.may_start == [ME];
    ensure!(
        !machine.tasks.values().any(|task| elevated(&task)),
        "{machine:#?}"
    );
    ensure!(!world.path(inbox(ME)).exists(), "an inbox");
    let logon = machine
        .tasks
        .get(&logon_task(ME))
        .context("no logon task")?;
    ensure!(logon.principal == ME, "{logon:?}");
    // Once more: nothing to do, and no person could be asked.
    let before = world.windows().snapshot()?;
    world
        .windows()
        .set(|now| now.elevation = Elevation::NoDesktop)?;
    let output = world.cli(&["host", "install"])?;
    said(&output, 0, &["nothing to do"])?;
    world.windows().snapshot()?.is(&before)?;
    agent.stop()
}

/// At a terminal the person is asked, and only yes is yes.
fn at_a_terminal(world: &World) -> Result<()> {
    others(world)?;
    world.write(CONFIG, OPEN)?;
    let before = all(world)?;
    for answer in ["n\n", "\n", "yes please\n"] {
        let output = world.cli_at_terminal("host install", answer)?;
        said(&output, 1, &["Go on? [y/N]", "nothing was changed"])?;
        all(world)?.is(&before)?;
    }
    let output = world.cli_at_terminal("host install", "yes\n")?;
    said(&output, 0, &["Go on? [y/N]", "installed on Windows"])?;
    agreed(world, &output.stdout)?;
    let output = world.cli_at_terminal("host install", "")?;
    said(&output, 0, &["nothing to do"])?;
    ensure!(!output.stdout.contains("Go on?"), "{output:?}");
    // The uninstall asks too.
    let installed = all(world)?;
    let output = world.cli_at_terminal("host uninstall", "n\n")?;
    said(&output, 1, &["Go on? [y/N]", "nothing was changed"])?;
    all(world)?.is(&installed)?;
    let output = world.cli_at_terminal("host uninstall", "y\n")?;
    said(&output, 0, &["removed from Windows"])?;
    all(world)?.is(&before)
}

/// Without a terminal and without --yes nothing is begun.
fn no_terminal(world: &World) -> Result<()> {
    others(world)?;
    world.write(CONFIG, OPEN)?;
    let before = world.windows().snapshot()?;
    let output = world.cli(&["host", "install"])?;
    said(&output, 2, &["there is no terminal", "--yes"])?;
    world.windows().snapshot()?.is(&before)?;
    let output = world.cli(&["host", "uninstall"])?;
    said(&output, 2, &["there is no terminal", "--yes"])?;
    world.windows().snapshot()?.is(&before)
}

/// --dry-run shows the policy that an install then makes, and changes nothing.
fn dry_runs(world: &World) -> Result<()> {
    others(world)?;
    world.write(CONFIG, [OPEN, TUNNEL].concat())?;
    let before = world.windows().snapshot()?;
    let options = [
        "--ports",
        "tcp:8000-8010",
        "--profiles",
        "public",
        "--no-logon",
    ];
    let dry = [&["host", "install", "--dry-run"][..], &options].concat();
    let output = world.cli(&dry)?;
    said(
        &output,
        0,
        &["Nothing was changed.", "setup.ps1", "SHA-256", "8000-8010"],
    )?;
    world.windows().snapshot()?.is(&before)?;
    let calls = world.windows().calls()?;
    ensure!(
        calls.iter().all(|call| call.outcome == "looked"),
        "{calls:#?}"
    );
    let planned = output.stdout;
    let install = [&["host", "install", "--yes"][..], &options].concat();
    said(&world.cli(&install)?, 0, &["installed on Windows"])?;
    let policy = agreed(world, &planned)?;
    ensure!(policy.grants.len() == 3 && !policy.logon, "{policy:#?}");
    let machine = world.windows().view()?.machine;
    ensure!(!machine.tasks.contains_key(&logon_task(ME)), "{machine:#?}");
    let installed = world.windows().snapshot()?;
    let output = world.cli(&["host", "uninstall", "--dry-run"])?;
    said(&output, 0, &["This is removed:", "Nothing was changed."])?;
    world.windows().snapshot()?.is(&installed)
}

/// An administrator who says --yes is not asked.
fn elevated(world: &World) -> Result<()> {
    world.write(CONFIG, OPEN)?;
    world
        .windows()
        .set(|now| now.elevation = Elevation::Refused)?;
    let output = world.cli(&["host", "install", "--yes"])?;
    said(&output, 0, &["installed on Windows"])?;
    agreed(world, &output.stdout)?;
    // Who does not say it is asked, on Windows too.
    world.write(CONFIG, TUNNEL)?;
    let output = world.cli_at_terminal("host install", "y\n")?;
    said(&output, 1, &["type yes there"])
}

/// Another account's password: it is for the user who asked all the same.
fn over_the_shoulder(world: &World) -> Result<()> {
    others(world)?;
    world.write(CONFIG, OPEN)?;
    world.windows().set(|now| now.standard_account = true)?;
    let output = world.cli(&["host", "install", "--yes"])?;
    said(&output, 0, &["another account's password was given", ME])?;
    agreed(world, &output.stdout)?;
    let view = world.windows().view()?;
    let users: Vec<&String> = view.machine.users.keys().collect();
    ensure!(users == [ME, OTHER], "{users:?}");
    Ok(())
}

/// Of version 0.1.0: what the port proxy had goes with its task, inbox and firewall rules.
fn of_another_contract(world: &World) -> Result<()> {
    crate::rules::foreign(world)?;
    let windows = world.windows();
    windows.install(&crate::installed::proxied())?;
    let own = |end: &str| format!("wslmesh-{ME}-{end}");
    windows.alter(|machine| {
        if let Some(installed) = &mut machine.installed {
            (installed.contract, installed.version) = (1, "0.1.0".to_owned());
        }
        if let Some(policy) = machine
            .users
            .get_mut(ME)
            .and_then(|user| user.policy.as_mut())
        {
            policy.version = 1;
        }
        let target = "172.28.16.5/22".to_owned();
        machine.note(ME, "tcp/0.0.0.0/2222", Some(&target));
        machine.rules.insert("0.0.0.0/2222".to_owned(), target);
        for (end, kind) in [
            ("tcp-2222-portproxy", FirewallKind::Windows),
            ("udp-51820-guest", FirewallKind::HyperV),
        ] {
            let mut rule = firewall_rule(true, Some(2222));
            rule.kind = kind;
            machine.note(ME, &format!("firewall/{}", own(end)), Some(kind.text()));
            machine.firewall.insert(own(end), rule);
        }
    })?;
    let agent = world.start_agent(OPEN)?;
    agent.raised("host-version")?;
    let output = world.cli(&["host", "install", "--yes"])?;
    said(&output, 0, &["installed on Windows"])?;
    agent.healthy()?;
    world.reached(2222)?;
    let machine = windows.view()?.machine;
    ensure!(machine.ledger(ME).is_empty(), "{machine:#?}");
    let names = machine.firewall.keys().filter(|name| name.contains(ME));
    let names: Vec<&String> = names.collect();
    ensure!(names == [&own("tcp-2222-relay")], "{names:?}");
    ensure!(
        !machine.tasks.contains_key(&forward_task(ME)),
        "{machine:#?}"
    );
    ensure!(!world.path(inbox(ME)).exists(), "an inbox");
    agent.stop()
}

/// The block rule holds the networks that no user of the machine agreed to.
fn two_users(world: &World) -> Result<()> {
    let windows = world.windows();
    windows.set(|now| now.user = OTHER.to_owned())?;
    windows.install(&Policy {
        profiles: vec!["private".to_owned()],
        ..crate::installed::policy()
    })?;
    windows.set(|now| now.user = ME.to_owned())?;
    let before = all(world)?;
    let blocked = || -> Result<Vec<String>> {
        let rules = windows.view()?.machine.firewall;
        Ok(rules.get(BLOCK).context("no block rule")?.profiles.clone())
    };
    ensure!(blocked()? == ["domain", "public"], "{:?}", blocked()?);
    world.write(CONFIG, OPEN)?;
    let install = ["host", "install", "--yes", "--profiles", "domain"];
    said(&world.cli(&install)?, 0, &["installed on Windows"])?;
    ensure!(blocked()? == ["public"], "{:?}", blocked()?);
    let agent = world.start_agent(OPEN)?;
    agent.wait("the relay", |status| status.serves("relay", &["ssh"]))?;
    agent.stop()?;
    said(
        &world.cli(&["host", "uninstall", "--yes"])?,
        0,
        &["removed"],
    )?;
    all(world)?.is(&before)
}

/// Another policy and another version: installed rules stay ours.
fn upgrade(world: &World) -> Result<()> {
    let open = format!("{OPEN}backend = \"portproxy\"\n");
    let agent = world.start_agent(&open)?;
    world.windows().set_elevated(false)?;
    said(&world.cli(&["host", "install", "--yes"])?, 0, &[])?;
    agent.settled(FIRST)?;
    agent.stop()?;
    let ledger = world.windows().ledger()?;
    ensure!(ledger.len() == 1, "{ledger:?}");
    world.windows().alter(|machine| {
        if let Some(installed) = &mut machine.installed {
            installed.version = "0.0.9".to_owned();
        }
    })?;
    world.write(CONFIG, [&open, TUNNEL].concat())?;
    let output = world.cli(&["host", "install", "--yes"])?;
    said(&output, 0, &["installed on Windows", "Changes:"])?;
    agreed(world, &output.stdout)?;
    ensure!(
        world.windows().ledger()? == ledger,
        "{:?}",
        world.windows().ledger()?
    );
    let installed = world
        .windows()
        .view()?
        .machine
        .installed
        .context("nothing")?;
    ensure!(
        installed.version == env!("CARGO_PKG_VERSION"),
        "{installed:?}"
    );
    Ok(())
}

/// Rules, firewall rules, tasks, registry, files: all removed, and nothing else.
fn leaves_nothing(world: &World) -> Result<()> {
    let before = all(world)?;
    world.windows().set_elevated(false)?;
    world.write(CONFIG, [OPEN, TUNNEL].concat())?;
    said(&world.cli(&["host", "install", "--yes"])?, 0, &[])?;
    let agent = world.start_agent(&[OPEN, TUNNEL].concat())?;
    let machine = world.windows().view()?.machine;
    let all_of = machine.firewall.len() == 4 && machine.rules.is_empty();
    ensure!(all_of, "{machine:#?}");
    world.reached(2222)?;
    agent.healthy()?;
    agent.stop()?;
    let output = world.cli(&["host", "uninstall", "--yes"])?;
    said(&output, 0, &["removed from Windows"])?;
    let after = all(world)?;
    ensure!(
        files(&after) == files(&before),
        "{:?}",
        files(&after).keys()
    );
    after.is(&before)?;
    world.unreachable(2222)
}

/// The same while the agent and its relay run: they are back where they were
/// before the install.
fn beside_an_agent(world: &World) -> Result<()> {
    others(world)?;
    let agent = world.start_agent(&[OPEN, TUNNEL].concat())?;
    agent.raised("relay-loopback")?;
    until("the relay", LIMIT, || {
        Ok(world.windows().relay()?.map(drop))
    })?;
    let before = world.windows().snapshot()?;
    said(&world.cli(&["host", "install", "--yes"])?, 0, &[])?;
    agent.healthy()?;
    world.reached(2222)?;
    let output = world.cli(&["host", "uninstall", "--yes"])?;
    said(
        &output,
        0,
        &["removed from Windows", "reloads its configuration"],
    )?;
    agent.raised("relay-loopback")?;
    until("Windows as before", LIMIT, || {
        Ok(world.windows().snapshot()?.is(&before).ok())
    })
    .or_else(|_| world.windows().snapshot()?.is(&before))?;
    agent.stop()
}

/// Rules, firewall rules and the install of another Windows user stay, and so do
/// the programs that both share.
fn others_stay(world: &World) -> Result<()> {
    others(world)?;
    let before = all(world)?;
    world.write(CONFIG, OPEN)?;
    said(
        &world.cli(&["host", "install", "--yes"])?,
        0,
        &["1 other Windows user"],
    )?;
    let agent = world.start_agent(OPEN)?;
    agent.settled(FIRST)?;
    agent.stop()?;
    let output = world.cli(&["host", "uninstall", "--yes"])?;
    said(&output, 0, &["removed from Windows", "stays for 1 other"])?;
    ensure!(world.path(format!("{PROGRAM_FILES}/forward.ps1")).exists());
    all(world)?.is(&before)
}

/// Nothing is installed, and nothing is done.
fn twice(world: &World) -> Result<()> {
    others(world)?;
    world.write(CONFIG, OPEN)?;
    said(&world.cli(&["host", "install", "--yes"])?, 0, &[])?;
    said(
        &world.cli(&["host", "uninstall", "--yes"])?,
        0,
        &["removed"],
    )?;
    let before = world.windows().snapshot()?;
    let output = world.cli(&["host", "uninstall", "--yes"])?;
    said(&output, 0, &["nothing to do"])?;
    world.windows().snapshot()?.is(&before)
}

/// A way to be refused, and the words of it alone.
struct RefusedCase {
    name: &'static str,
    words: &'static str,
    prepare: fn(&World) -> Result<()>,
}

fn elevation(world: &World, elevation: Elevation) -> Result<()> {
    world.windows().set(|now| now.elevation = elevation)
}

const REFUSALS: [RefusedCase; 9] = [
    RefusedCase {
        name: "declined",
        words: "prompt was declined, or not answered",
        prepare: |world| elevation(world, Elevation::Declined),
    },
    RefusedCase {
        name: "refused_in_the_window",
        words: "the elevated window was closed or answered with something else",
        prepare: |world| elevation(world, Elevation::Refused),
    },
    RefusedCase {
        name: "forbidden",
        words: "a policy of this Windows machine forbids it",
        prepare: |world| elevation(world, Elevation::Forbidden),
    },
    RefusedCase {
        name: "constrained",
        words: "PowerShell is restricted on this Windows machine",
        prepare: |world| elevation(world, Elevation::Constrained),
    },
    RefusedCase {
        name: "no_desktop",
        words: "no user is logged on at the Windows desktop",
        prepare: |world| elevation(world, Elevation::NoDesktop),
    },
    RefusedCase {
        name: "all_signed",
        words: "keeps the script from running (MachinePolicy is AllSigned)",
        prepare: |world| {
            world
                .windows()
                .set(|now| now.script_policy = Some("AllSigned".to_owned()))
        },
    },
    RefusedCase {
        name: "constrained_without_rights",
        words: "keeps the script from running (language mode ConstrainedLanguage)",
        prepare: |world| world.windows().set(|now| now.constrained = true),
    },
    RefusedCase {
        name: "file_changed_on_the_way",
        words: "a file was changed on its way to Windows",
        prepare: |world| world.windows().set(|now| now.staged_file_changes = true),
    },
    RefusedCase {
        name: "other_users_version",
        words: "another Windows user of this machine has installed another version",
        prepare: |world| {
            world.windows().alter(|machine| {
                if let Some(installed) = &mut machine.installed {
                    installed.contract = 3;
                }
            })
        },
    },
];

/// Nothing changes, the exit code says that nothing was done, and the words are
/// those of this refusal and of no other.
fn refused(world: &World, refusal: &RefusedCase) -> Result<()> {
    others(world)?;
    world.write(CONFIG, OPEN)?;
    (refusal.prepare)(world)?;
    let before = all(world)?;
    let output = world.cli(&["host", "install", "--yes"])?;
    said(&output, 1, &[refusal.words])?;
    let others = REFUSALS.iter().filter(|other| other.name != refusal.name);
    for other in others {
        ensure!(!output.stderr.contains(other.words), "{output:?}");
    }
    all(world)?.is(&before)
}
