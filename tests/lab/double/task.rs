//! The elevated task: it trusts the registry and its own eyes, and from the
//! unelevated side takes integers that the policy holds.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use crate::contract::{Answer, Grant, Protocol, Refused, Selection, ServedBy, VERSION};
use crate::double::check::{Order, Wanted};
use crate::double::machine::{answer_file, forward_task, selection_file};
use crate::double::situation::{Entry, Inbox, Lxss};
use crate::double::sync::{self, Fuse};
use crate::interop::{Host, State};
use crate::launch::environment;
use crate::topology::GATEWAY;

const MOST_BYTES: u64 = 65_536;
const MOST_FORWARDS: usize = 2000;

/// Why a start was refused, for the answer of the one who asked.
pub(crate) fn refusal(state: &State, sid: &str) -> Option<String> {
    let name = forward_task(sid);
    let situation = &state.situation;
    match state.machine.tasks.get(&name) {
        None => Some(format!("there is no task {name}")),
        Some(task) if !task.enabled => Some(format!("the task {name} is disabled")),
        Some(task) if !task.may_start.contains(&situation.user) => {
            Some(format!("no access to the task {name}"))
        }
        Some(task) if situation.battery && !task.on_batteries => {
            Some(format!("the task {name} does not start on batteries"))
        }
        Some(_) => None,
    }
}

/// Runs a user's task once those before it have ended.
pub(crate) fn run(host: &Host, sid: &str) {
    let queue = host.task_queue();
    let delay = {
        let state = host.state();
        Duration::from_millis(state.situation.task_start_ms)
    };
    std::thread::sleep(delay);
    meddle(host, sid);
    let mut state = host.state();
    let answer = answer(host, &mut state, sid);
    if let Err(error) = host.settle(&mut state) {
        let text = format!("the port proxy failed: {error:#}");
        state.violations.push(text);
    }
    let died = answer.is_none();
    let end = answer.as_ref().map_or("died", |answer| &answer.state);
    state.task_runs.push(end.to_owned());
    if died {
        // Once is enough: the next one shall repair it.
        state.situation.task_dies_after = None;
    }
    drop(state);
    if let Some(answer) = answer
        && let Err(error) = leave(sid, &answer)
    {
        let text = format!("the task's answer could not be left: {error}");
        host.state().violations.push(text);
    }
    drop(queue);
}

/// What another program of the user's does to the inbox.
fn meddle(host: &Host, sid: &str) {
    let inbox = host.state().situation.inbox.clone();
    let file = selection_file(sid);
    let Some(inbox) = inbox else { return };
    let ticket = fs::read(&file)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Selection>(&bytes).ok())
        .map_or(0, |selection| selection.ticket);
    if fs::remove_file(&file).is_err() {
        drop(fs::remove_dir(&file));
    }
    let done = match inbox {
        Inbox::Text(text) => fs::write(&file, text.replace("TICKET", &ticket.to_string())),
        Inbox::Link(to) => std::os::unix::fs::symlink(to, &file),
        Inbox::Folder => fs::create_dir(&file),
        Inbox::Nothing => Ok(()),
    };
    if let Err(error) = done {
        let text = format!("the inbox could not be meddled with: {error}");
        host.state().violations.push(text);
    }
}

/// `None` when it was ended before it could answer.
fn answer(host: &Host, state: &mut State, sid: &str) -> Option<Answer> {
    let selection = match read(sid) {
        Ok(selection) => selection,
        Err((ticket, detail)) => {
            let answer = Answer::of("invalid-request", Some(detail));
            return Some(Answer { ticket, ..answer });
        }
    };
    let answer = selected(host, state, sid, &selection)?;
    Some(Answer {
        ticket: Some(selection.ticket),
        elevated: true,
        installed: state.machine.installed_for(sid),
        ..answer
    })
}

fn selected(host: &Host, state: &mut State, sid: &str, selection: &Selection) -> Option<Answer> {
    let Some(policy) = state.machine.policy(sid).cloned() else {
        let detail = Some("there is no policy for this user".to_owned());
        return Some(Answer::of("failed", detail));
    };
    let mut refused = Vec::new();
    let mut forwards = Vec::new();
    for entry in &selection.forwards {
        let parts = match integers(entry, selection.mode) {
            Ok(parts) => parts,
            Err(detail) => return Some(Answer::of("invalid-request", Some(detail))),
        };
        let (protocol, listen, connect) = parts;
        let grant = policy.covering(protocol, listen, connect);
        let served = |grant: &&Grant| state.machine.server(sid, grant) == ServedBy::Portproxy;
        match grant.filter(served) {
            Some(grant) => forwards.push(Wanted {
                protocol,
                listen_address: grant.listen_address,
                listen_port: listen,
                connect_port: connect,
                served_by: ServedBy::Portproxy,
                firewall: grant.firewall,
            }),
            None => refused.push(Refused {
                protocol,
                listen_port: listen,
                connect_port: connect,
                reason: match grant {
                    Some(_) => "backend",
                    None => "outside-policy",
                }
                .to_owned(),
            }),
        }
    }
    let mut names: Vec<_> = forwards
        .iter()
        .map(|f| (f.protocol, f.listen_port))
        .collect();
    names.sort_unstable();
    if names
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a == b))
    {
        let detail = Some("forwards: a port is listed twice".to_owned());
        return Some(Answer::of("invalid-request", detail));
    }
    let mirrored = selection.mode == 2;
    let guest = if mirrored {
        None
    } else {
        match guest_address(&state.situation.lxss) {
            Ok(address) => Some(address),
            // Rules are withdrawn all the same.
            Err(_) if forwards.is_empty() => None,
            Err(detail) => {
                let answer = Answer::of("guest-address-unknown", Some(detail));
                let answer = sync::unchanged(&state.machine, sid, None, answer);
                return Some(Answer { refused, ..answer });
            }
        }
    };
    let order = Order {
        mirrored,
        connect_address: guest.unwrap_or(Ipv4Addr::LOCALHOST),
        forwards,
    };
    let mut fuse = Fuse::new(state.situation.task_dies_after);
    let situation = state.situation.clone();
    let probe = |name| host.probe(name);
    let answer = sync::elevated(
        &mut state.machine,
        &situation,
        sid,
        &order,
        &probe,
        &mut fuse,
    );
    Some(Answer {
        refused,
        guest_address: guest,
        ..answer.ok()?
    })
}

fn integers(entry: &[u64; 4], mode: u64) -> Result<(Protocol, u16, u16), String> {
    let [protocol, listen, connect, served_by] = *entry;
    let protocol = match protocol {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => return Err(format!("forwards: {protocol} is no protocol")),
    };
    let port = |number: u64| match u16::try_from(number) {
        Ok(port) if port != 0 => Ok(port),
        Ok(_) | Err(_) => Err(format!("forwards: {number} is no port")),
    };
    if (served_by, mode, protocol) != (1, 1, Protocol::Tcp) {
        return Err(format!("forwards: {served_by} does not serve this"));
    }
    Ok((protocol, port(listen)?, port(connect)?))
}

/// A plain file of bounded size with one object of integers.
///
/// The error has the ticket, where one could be read all the same.
fn read(sid: &str) -> Result<Selection, (Option<u64>, String)> {
    let file = selection_file(sid);
    let about = |what: &str| (None, format!("selection.json: {what}"));
    let kind = fs::symlink_metadata(&file).map_err(|_| about("not there"))?;
    if !kind.is_file() {
        return Err(about("no plain file"));
    }
    if kind.len() > MOST_BYTES {
        return Err(about("too large"));
    }
    let bytes = fs::read(&file).map_err(|_| about("not readable"))?;
    let ticket = ticket(&bytes);
    let about = |what: &str| (ticket, about(what).1);
    let selection: Selection =
        serde_json::from_slice(&bytes).map_err(|_| about("not what was agreed"))?;
    if selection.version != VERSION {
        return Err(about("another version"));
    }
    if !(1..=2_147_483_647).contains(&selection.ticket) {
        return Err(about("no ticket"));
    }
    if !(1..=2).contains(&selection.mode) {
        return Err(about("no such mode"));
    }
    if selection.forwards.len() > MOST_FORWARDS {
        return Err(about("too many forwards"));
    }
    Ok(selection)
}

/// Whose selection it is, even if it says what it should not.
fn ticket(bytes: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    value.get("ticket")?.as_u64()
}

/// Temporary file and move, so that no reader sees half an answer.
fn leave(sid: &str, answer: &Answer) -> std::io::Result<()> {
    let file = answer_file(sid);
    let temporary = format!("{file}.tmp");
    fs::write(&temporary, serde_json::to_vec(answer)?)?;
    fs::rename(temporary, file)
}

/// The guest's address by WSL's values in the registry: in WSL's network, and
/// neither the gateway's nor one that no machine has.
fn guest_address(lxss: &Lxss) -> Result<Ipv4Addr, String> {
    let (address, prefix) = true_address().unwrap_or((Ipv4Addr::UNSPECIFIED, 32));
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    let base = Ipv4Addr::from(u32::from(address) & mask);
    let value = |entry: &Entry, name: &str, real: String| match entry {
        Entry::True => Ok(real),
        Entry::Text(text) => Ok(text.clone()),
        Entry::Missing => Err(format!("{name} is missing")),
    };
    let network = value(&lxss.nat_network, "NatNetwork", format!("{base}/{prefix}"))?;
    let gateway = value(
        &lxss.nat_gateway_ip_address,
        "NatGatewayIpAddress",
        GATEWAY.to_owned(),
    )?;
    let text = value(&lxss.nat_ip_address, "NatIpAddress", address.to_string())?;
    let (base, prefix) = network
        .split_once('/')
        .and_then(|(base, prefix)| {
            let prefix: u32 = prefix.parse().ok()?;
            Some((base.parse::<Ipv4Addr>().ok()?, prefix))
        })
        .filter(|(_, prefix)| (8..=30).contains(prefix))
        .ok_or_else(|| "NatNetwork is no network".to_owned())?;
    let gateway: Ipv4Addr = gateway
        .parse()
        .map_err(|_| "NatGatewayIpAddress is no address".to_owned())?;
    let address: Ipv4Addr = text
        .parse()
        .map_err(|_| "NatIpAddress is no address".to_owned())?;
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    let bits = u32::from(address);
    if bits & mask != u32::from(base) & mask {
        return Err("NatIpAddress is not in NatNetwork".to_owned());
    }
    if address == gateway {
        return Err("NatIpAddress is the gateway".to_owned());
    }
    if bits & !mask == 0 || bits | mask == u32::MAX {
        return Err("NatIpAddress is the network's own or its broadcast address".to_owned());
    }
    Ok(address)
}

/// What WSL would have written: the address of the guest's eth0, in whose
/// namespace this program runs.
fn true_address() -> Option<(Ipv4Addr, u32)> {
    let mut command = Command::new("ip");
    command.args(["-4", "-o", "address", "show", "dev", "eth0"]);
    let output = command.env_clear().envs(environment()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "inet");
    let (address, prefix) = words.nth(1)?.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}
