//! `host.ps1` with the elevated setup behind it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::contract::{Backend, MIRRORED, NAT, POLICY, Policy, Protocol, ServedBy, VERSION};
use crate::double::check::Wanted;
use crate::double::firewall::{self, Guest};
use crate::double::machine::{
    FileHash, InstalledValue, Machine, Name, PROGRAM_FILES, RELAY_NAME, Task, Values, answer_file,
    forward_task, inbox, local_app_data, logon_task, selection_file,
};
use crate::double::portproxy;
use crate::double::situation::{Elevation, Lxss, Situation};
use crate::double::sync::Fuse;
use crate::interop::{Host, State, shipped};
use crate::launch::environment;

/// What an installation needs beside `host.ps1`.
const FILES: [&str; 3] = ["forward.ps1", "setup.ps1", RELAY_NAME];
/// What of it is installed.
const INSTALLED: [&str; 2] = ["forward.ps1", RELAY_NAME];
pub(crate) const CONTRACT: u64 = 2;

/// What `wslmesh host` sends to `host.ps1` on standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct HostRequest {
    version: u64,
    action: String,
    #[serde(default)]
    policy: Option<Policy>,
    #[serde(default)]
    package: Option<String>,
    #[serde(default)]
    files: Option<Vec<FileHash>>,
    #[serde(default)]
    agreed: bool,
    #[serde(default)]
    probe: Option<bool>,
}

/// What `host.ps1` prints on standard output.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct HostAnswer {
    pub(crate) version: u64,
    pub(crate) state: String,
    pub(crate) detail: Option<String>,
    pub(crate) installed: Option<crate::contract::Installed>,
    pub(crate) policy: Option<Policy>,
    pub(crate) user: String,
    pub(crate) elevated: bool,
    pub(crate) over_the_shoulder: bool,
    pub(crate) other_users: Vec<String>,
    pub(crate) done: Vec<String>,
    pub(crate) checks: Vec<Check>,
    /// What the task was asked for last.
    pub(crate) selection: Option<String>,
}

/// One statement about Windows, tried out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    pub(crate) id: String,
    /// `ok`, `differs` or `not-run`.
    pub(crate) result: String,
    pub(crate) detail: String,
}

struct Done(String, Option<String>, Vec<String>);

fn ended(state: &str, detail: &str) -> Done {
    let detail = (!detail.is_empty()).then(|| detail.to_owned());
    Done(state.to_owned(), detail, Vec::new())
}

/// One call of the script, with what follows the request.
pub(crate) fn host(host: &Host, request: &HostRequest, follows: &[u8]) -> HostAnswer {
    let mut state = host.state();
    let state = &mut *state;
    let done = if request.version != VERSION {
        ended("invalid-request", "version: only 1 is known")
    } else {
        match request.action.as_str() {
            "look" => ended("looked", ""),
            _ if request.agreed && !state.situation.elevated => {
                ended("invalid-request", "agreed: the caller is not elevated")
            }
            "install" => install(state, request, follows),
            "uninstall" => uninstall(state, request, follows),
            "check" => ended("checked", ""),
            _ => ended("invalid-request", "action: unknown"),
        }
    };
    if let Err(error) = host.settle(state) {
        let text = format!("the port proxy failed: {error:#}");
        state.violations.push(text);
    }
    let checks = if request.action == "check" {
        if request.probe.is_none() {
            let text = "a check that says nothing of a probe";
            state.violations.push(text.to_owned());
        }
        checks(state)
    } else {
        Vec::new()
    };
    let Done(result, detail, done) = done;
    answer(state, result, detail, done, checks)
}

fn answer(
    state: &State,
    result: String,
    detail: Option<String>,
    done: Vec<String>,
    checks: Vec<Check>,
) -> HostAnswer {
    let sid = &state.situation.user;
    let asked = matches!(result.as_str(), "installed" | "removed");
    HostAnswer {
        version: VERSION,
        state: result,
        detail,
        installed: state.machine.installed_for(sid),
        // One of another version cannot be read.
        policy: state
            .machine
            .policy(sid)
            .filter(|policy| policy.version == POLICY)
            .cloned(),
        user: sid.clone(),
        elevated: state.situation.elevated,
        over_the_shoulder: asked && state.situation.standard_account,
        other_users: others(&state.machine, sid),
        done,
        // An installation begins with an empty one.
        selection: (!checks.is_empty() && state.machine.needs_task(sid))
            .then(|| fs::read_to_string(selection_file(sid)).unwrap_or_default()),
        checks,
    }
}

/// Other users with a policy.
fn others(machine: &Machine, sid: &str) -> Vec<String> {
    let users = machine.users.iter();
    let with_policy = users.filter(|(other, user)| *other != sid && user.policy.is_some());
    with_policy.map(|(other, _)| other.clone()).collect()
}

/// Asks for elevation, and in the elevated window.
fn elevate(situation: &Situation, agreed: bool) -> Result<(), Done> {
    if agreed {
        return Ok(());
    }
    Err(match situation.elevation {
        Elevation::Granted => return Ok(()),
        Elevation::Declined => ended("declined", "the prompt was declined or not answered (1223)"),
        Elevation::Refused => ended("refused", "the word yes was not typed"),
        Elevation::Forbidden => ended("forbidden", "blocked by group policy (1260)"),
        Elevation::Constrained => ended("constrained", "Constrained Language Mode"),
        Elevation::NoDesktop => ended("no-desktop", "no user is logged on at the desktop"),
    })
}

fn invalid_policy(policy: &Policy) -> bool {
    let known = ["domain", "private", "public"];
    let reversed = |range: (u16, u16)| range.0 == 0 || range.0 > range.1;
    policy.version != POLICY
        || ![NAT, MIRRORED].contains(&policy.mode.as_str())
        || policy.profiles.is_empty()
        || policy.distribution.is_empty()
        || policy.profiles.iter().any(|p| !known.contains(&p.as_str()))
        || policy
            .grants
            .iter()
            .any(|grant| reversed(grant.listen_ports) || reversed(grant.connect_ports))
        || policy
            .grants
            .iter()
            .any(|grant| grant.protocol == Protocol::Udp && grant.backend == Backend::Portproxy)
}

/// SHA-256 by a program that has nothing to do with the agent.
pub(crate) fn sha256(path: &Path) -> Option<String> {
    let mut command = Command::new("sha256sum");
    let output = command.arg(path).env_clear().envs(environment()).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let digest = text.trim_start_matches('\\').split_whitespace().next()?;
    (digest.len() == 64).then(|| digest.to_owned())
}

/// What follows a request: of each of its files a line with the length, and the bytes.
fn unpacked(mut follows: &[u8], names: &[&str]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut found = BTreeMap::new();
    for name in names {
        let end = follows.iter().position(|byte| *byte == b'\n');
        let (length, rest) = end
            .and_then(|end| follows.split_at_checked(end))
            .ok_or_else(|| format!("no length of {name}"))?;
        let length = String::from_utf8_lossy(length);
        let length: usize = length
            .parse()
            .map_err(|e| format!("{name}: {length}: {e}"))?;
        let cut = rest.get(1..).and_then(|rest| rest.split_at_checked(length));
        let (bytes, rest) = cut.ok_or_else(|| format!("{name} breaks off"))?;
        found.insert((*name).to_owned(), bytes.to_vec());
        follows = rest;
    }
    if follows.is_empty() {
        Ok(found)
    } else {
        Err(format!("{} bytes more than the files", follows.len()))
    }
}

/// The files that the request names, if each exists with that hash, and is
/// what is shipped.
fn verified(files: &[FileHash], folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut found = BTreeMap::new();
    for file in files {
        let name = file.name.as_str();
        let path = folder.join(name);
        if sha256(&path).as_deref() != Some(&file.sha256) {
            return Err(format!("{name} has another SHA-256"));
        }
        let bytes = fs::read(&path).map_err(|error| format!("{name}: {error}"))?;
        if shipped(name).is_none_or(|shipped| shipped != bytes) {
            return Err(format!("{name} is not the shipped one"));
        }
        found.insert(name.to_owned(), bytes);
    }
    Ok(found)
}

/// What follows the request in the user's folder, if it is these files as they are shipped.
fn stage(
    state: &mut State,
    files: &[FileHash],
    names: &[&str],
    follows: &[u8],
) -> Result<(), Done> {
    let asked: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let staging = staging(&state.situation.user);
    let staged = if asked == names {
        unpacked(follows, names).and_then(|contents| {
            write_all(&staging, &contents).map_err(|error| error.to_string())?;
            verified(files, Path::new(&staging)).map(drop)
        })
    } else {
        Err(format!("the files are {asked:?}"))
    };
    staged.map_err(|why| {
        state.violations.push(format!("host.ps1: {why}"));
        ended("verification-failed", &why)
    })
}

fn staging(sid: &str) -> String {
    format!("{}/wslmesh/staging", local_app_data(sid))
}

fn install(state: &mut State, request: &HostRequest, follows: &[u8]) -> Done {
    let (Some(policy), Some(package), Some(files)) =
        (&request.policy, &request.package, &request.files)
    else {
        return ended("invalid-request", "policy, package and files are needed");
    };
    if invalid_policy(policy) {
        return ended("invalid-request", "policy");
    }
    let sid = state.situation.user.clone();
    if up_to_date(state, policy, package, files) {
        return ended("nothing-to-do", "it is installed with this policy");
    }
    if let Some(installed) = &state.machine.installed
        && !others(&state.machine, &sid).is_empty()
        && installed.contract != CONTRACT
    {
        let detail = format!("contract {} serves other users", installed.contract);
        return ended("other-user-version", &detail);
    }
    let staging = staging(&sid);
    let end = match stage(state, files, &FILES, follows) {
        Ok(()) => setup(state, request, policy, package, &staging),
        Err(end) => end,
    };
    match gone(&staging) {
        Ok(()) => end,
        Err(error) => ended("failed", &format!("staging: {error}")),
    }
}

/// Whether an installation would change nothing.
fn up_to_date(state: &State, policy: &Policy, package: &str, files: &[FileHash]) -> bool {
    let (machine, situation) = (&state.machine, &state.situation);
    let sid = &situation.user;
    let installed = machine.installed.as_ref();
    let same = |name: &str| {
        let found = sha256(&Path::new(PROGRAM_FILES).join(name));
        let wanted = files.iter().find(|file| file.name == name);
        found.as_ref() == wanted.map(|file| &file.sha256)
    };
    let logon = machine.tasks.contains_key(&logon_task(sid));
    let forward = machine.tasks.get(&forward_task(sid));
    let has_inbox = Path::new(&inbox(sid)).is_dir();
    let (task, owned) = (machine.needs_task(sid), portproxy::owned(machine, sid));
    let granted = granted(machine, sid, &owned);
    // An administrator's program cannot tell.
    let forbidden = !situation.elevated && situation.relay_forbidden;
    let rules = firewall::wanted(machine, sid, &granted, guest(situation, policy));
    installed.is_some_and(|found| found.version == package && found.contract == CONTRACT)
        && machine.policy(sid) == Some(policy)
        && INSTALLED.iter().all(|name| same(name))
        && task == forward.is_some_and(|task| task.enabled)
        && task == has_inbox
        && logon == policy.logon
        && (situation.elevated || forbidden == machine.forbidden(sid))
        && granted.len() == owned.len()
        && firewall::look(machine, situation, sid, &rules).state != "failed"
}

/// Which firewall has rules for the guest from now on.
fn guest(situation: &Situation, policy: &Policy) -> Guest {
    if policy.mode == MIRRORED && !situation.host_policy_merge {
        Guest::HyperV
    } else {
        Guest::Windows
    }
}

/// Those of the port proxy's rules that a grant holds, as forwards.
fn granted(machine: &Machine, sid: &str, owned: &Values) -> Vec<Wanted> {
    let read = |(name, target): (&Name, &String)| {
        let connect = target.split_once('/')?.1.parse().ok()?;
        let policy = machine.policy(sid)?;
        let grant = policy.covering(Protocol::Tcp, name.1, connect)?;
        let served = machine.server(sid, grant) == ServedBy::Portproxy;
        (served && grant.listen_address == name.0).then_some(Wanted {
            protocol: Protocol::Tcp,
            listen_address: name.0,
            listen_port: name.1,
            connect_port: connect,
            served_by: ServedBy::Portproxy,
            firewall: grant.firewall,
        })
    };
    owned.iter().filter_map(read).collect()
}

/// What happens with administrator rights.
fn setup(
    state: &mut State,
    request: &HostRequest,
    policy: &Policy,
    package: &str,
    staging: &str,
) -> Done {
    let sid = state.situation.user.clone();
    if state.situation.staged_file_changes {
        let path = Path::new(staging).join(RELAY_NAME);
        if let Err(error) = fs::write(path, "MZ another program") {
            return ended("failed", &error.to_string());
        }
    }
    if let Err(end) = elevate(&state.situation, request.agreed) {
        return end;
    }
    let files = request.files.as_deref().unwrap_or_default();
    let contents = match verified(files, Path::new(staging)) {
        Ok(contents) => contents,
        Err(why) => return ended("verification-failed", &why),
    };
    match put(
        &mut state.machine,
        &state.situation,
        &sid,
        policy,
        package,
        &contents,
    ) {
        Ok(()) => Done(
            "installed".to_owned(),
            None,
            vec![format!("agreed for {sid}")],
        ),
        Err(error) => ended("failed", &error.to_string()),
    }
}

fn write_all(folder: &str, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, bytes) in files {
        let path = Path::new(folder).join(name);
        fs::write(&path, bytes)?;
        // Every file of a Windows drive can be executed.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(&path, mode)?;
    }
    Ok(())
}

/// An installation that took place before the trial begins.
pub(crate) fn agree(
    machine: &mut Machine,
    situation: &Situation,
    sid: &str,
    policy: &Policy,
) -> std::io::Result<()> {
    let content = |name: &str| Some((name.to_owned(), shipped(name)?));
    let contents = INSTALLED.iter().filter_map(|name| content(name)).collect();
    let package = env!("CARGO_PKG_VERSION");
    put(machine, situation, sid, policy, package, &contents)
}

/// Writes files, tries the relay, then registry, tasks and firewall. Of the port
/// proxy's rules those stay that the policy still allows.
fn put(
    machine: &mut Machine,
    situation: &Situation,
    sid: &str,
    policy: &Policy,
    package: &str,
    contents: &BTreeMap<String, Vec<u8>>,
) -> std::io::Result<()> {
    let mut contents = contents.clone();
    contents.retain(|name, _| INSTALLED.contains(&name.as_str()));
    write_all(PROGRAM_FILES, &contents)?;
    fs::create_dir_all(format!("{PROGRAM_FILES}/{sid}"))?;
    fs::write(format!("{PROGRAM_FILES}/{sid}/setup.json"), "{}\n")?;
    let files = contents.keys().map(|name| FileHash {
        name: name.clone(),
        sha256: sha256(&Path::new(PROGRAM_FILES).join(name)).unwrap_or_default(),
    });
    machine.installed = Some(InstalledValue {
        version: package.to_owned(),
        contract: CONTRACT,
        files: files.collect(),
    });
    let user = machine.users.entry(sid.to_owned()).or_default();
    user.policy = Some(policy.clone());
    user.relay = situation.relay_forbidden.then(|| "forbidden".to_owned());
    let task = |principal: &str, action: String| Task {
        principal: principal.to_owned(),
        may_start: vec![sid.to_owned()],
        enabled: true,
        on_batteries: true,
        action,
    };
    if machine.needs_task(sid) {
        fs::create_dir_all(inbox(sid))?;
        let forward = task("SYSTEM", "forward.ps1".to_owned());
        machine.tasks.insert(forward_task(sid), forward);
    } else {
        gone(&inbox(sid))?;
        if Path::new(&answer_file(sid)).exists() {
            fs::remove_file(answer_file(sid))?;
        }
        machine.tasks.remove(&forward_task(sid));
    }
    if policy.logon {
        let action = format!(
            "wsl.exe -d {} --cd / --exec sleep infinity",
            policy.distribution
        );
        machine.tasks.insert(logon_task(sid), task(sid, action));
    } else {
        machine.tasks.remove(&logon_task(sid));
    }
    let wanted = granted(machine, sid, &portproxy::owned(machine, sid));
    let mut values = portproxy::owned(machine, sid);
    values.retain(|name, _| {
        wanted
            .iter()
            .any(|one| (one.listen_address, one.listen_port) == *name)
    });
    let rules = portproxy::Plan::new(machine, sid, &values);
    let died = rules.apply(machine, sid, &mut Fuse::new(None));
    died.map_err(|_| std::io::Error::other("it was ended"))?;
    if situation.firewall {
        let rules = firewall::wanted(machine, sid, &wanted, guest(situation, policy));
        let died = firewall::apply_all(machine, situation, sid, rules);
        died.map_err(|_| std::io::Error::other("it was ended"))?;
        firewall::share(machine);
    }
    Ok(())
}

fn uninstall(state: &mut State, request: &HostRequest, follows: &[u8]) -> Done {
    let sid = state.situation.user.clone();
    if !state.machine.users.contains_key(&sid) {
        return ended("nothing-to-do", "");
    }
    let files = request.files.as_deref().unwrap_or_default();
    let staged = stage(state, files, &["setup.ps1"], follows);
    let staged = staged.and_then(|()| elevate(&state.situation, request.agreed));
    if let Err(error) = gone(&staging(&sid)) {
        return ended("failed", &format!("staging: {error}"));
    }
    if let Err(end) = staged {
        return end;
    }
    match take_away(&mut state.machine, &state.situation, &sid) {
        Ok(()) => Done("removed".to_owned(), None, vec![format!("all of {sid}")]),
        Err(error) => ended("failed", &error.to_string()),
    }
}

/// Removes a folder, if it exists.
fn gone(path: &str) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes every trace of one user's, and what all share with the last one.
fn take_away(machine: &mut Machine, situation: &Situation, sid: &str) -> std::io::Result<()> {
    let fuse = &mut Fuse::new(None);
    let rules = portproxy::Plan::new(machine, sid, &BTreeMap::new());
    let no_rules = BTreeMap::new();
    let died = rules
        .apply(machine, sid, fuse)
        .and_then(|()| firewall::apply_all(machine, situation, sid, no_rules).map(drop));
    if died.is_err() {
        return Err(std::io::Error::other("it was ended"));
    }
    machine.users.remove(sid);
    firewall::share(machine);
    machine.tasks.remove(&forward_task(sid));
    machine.tasks.remove(&logon_task(sid));
    gone(&format!("{PROGRAM_FILES}/{sid}"))?;
    gone(&format!("{}/wslmesh", local_app_data(sid)))?;
    if machine.users.is_empty() {
        machine.installed = None;
        gone(PROGRAM_FILES)?;
    }
    Ok(())
}

/// A few, of what this Windows has.
fn checks(state: &State) -> Vec<Check> {
    let result = |yes: bool| if yes { "ok" } else { "differs" };
    let sid = &state.situation.user;
    let task = state.machine.tasks.get(&forward_task(sid));
    let enabled = task.map_or("not-run", |task| result(task.enabled));
    let needed = state.machine.needs_task(sid);
    let why = if state.machine.policy(sid).is_some() && !needed {
        "no forward goes by the port proxy: there is nothing to do"
    } else {
        ""
    };
    let list = [
        ("T1", result(state.situation.lxss == Lxss::default()), ""),
        ("T7", result(state.situation.firewall), ""),
        ("T9", enabled, why),
    ];
    let check = |(id, result, detail): (&str, &str, &str)| Check {
        id: id.to_owned(),
        result: result.to_owned(),
        detail: detail.to_owned(),
    };
    list.into_iter().map(check).collect()
}
