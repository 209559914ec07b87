//! `refresh.ps1`, as the user who runs interop.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::contract::{
    Answer, Grant, MIRRORED, NAT, Narrower, Protocol, Refused, SYNC_AND_PORTS, Selection, ServedBy,
    Silent, Sync, VERSION,
};
use crate::double::check::{self, Order, Wanted};
use crate::double::firewall::{self, Guest};
use crate::double::machine::{Machine, answer_file, local_app_data_windows, selection_file};
use crate::double::portproxy;
use crate::double::setup::CONTRACT;
use crate::double::sync::{self, Fuse};
use crate::double::task;
use crate::interop::{Host, State};
use crate::topology::Place;

/// One call of the script.
pub(crate) fn refresh(host: &Arc<Host>, request: &Sync) -> Answer {
    let order = match check::order(request) {
        Ok(order) => order,
        Err(detail) => return Answer::of("invalid-request", Some(detail)),
    };
    let (sid, elevated, installed) = {
        let state = host.state();
        let sid = state.situation.user.clone();
        let installed = state.machine.installed_for(&sid);
        (sid, state.situation.elevated, installed)
    };
    let contract = installed.as_ref().map(|installed| installed.contract);
    let answer = match contract {
        Some(CONTRACT) => by_policy(host, &sid, &order, elevated),
        Some(other) => {
            let detail = Some(format!("the installed files speak contract {other}"));
            let state = host.state();
            let answer = Answer::of("other-version", detail);
            sync::unchanged(&state.machine, &sid, Some(&order), answer)
        }
        None if elevated => directly(host, &sid, &order),
        None => look(&host.state(), &sid, &order),
    };
    let state = host.state();
    Answer {
        elevated,
        installed: state.machine.installed_for(&sid),
        local_app_data: Some(local_app_data_windows(&sid)),
        windows_address: state.situation.windows_address,
        lowest_mtu: state.situation.lowest_mtu.clone(),
        dynamic: (state.situation.dynamic.as_ref())
            .filter(|_| request.action == SYNC_AND_PORTS)
            .map(|range| {
                [Protocol::Tcp, Protocol::Udp]
                    .map(|one| (one, *range))
                    .into()
            }),
        ticket: None,
        ..answer
    }
}

/// Not elevated, and not by the task: what is wanted may stand all the same.
fn look(state: &State, sid: &str, order: &Order) -> Answer {
    let changes = sync::changes(&state.machine, sid, order);
    let answer = if changes > 0 {
        let detail = format!("{changes} rules must change, which needs \"wslmesh host install\"");
        Answer::of("not-elevated", Some(detail))
    } else if sync::stopped(&state.machine, &state.situation, sid, order) {
        Answer::of("service-stopped", None)
    } else {
        Answer::of("synced", None)
    };
    sync::unchanged(&state.machine, sid, Some(order), answer)
}

/// Elevated: the script does it all by itself.
fn directly(host: &Arc<Host>, sid: &str, order: &Order) -> Answer {
    let mut state = host.state();
    let state = &mut *state;
    let answer = sync::elevated(
        &mut state.machine,
        &state.situation,
        sid,
        order,
        &|name| host.probe(name),
        &mut Fuse::new(None),
    );
    if let Err(error) = host.settle(state) {
        let text = format!("the port proxy failed: {error:#}");
        state.violations.push(text);
    }
    answer.unwrap_or_else(|_| Answer::of("failed", None))
}

/// A request beside the policy.
#[derive(Debug, Default)]
struct Agreed {
    forwards: Vec<Wanted>,
    refused: Vec<Refused>,
    narrower: Vec<Narrower>,
}

/// Why the policy does not hold a forward.
fn gap(
    machine: &Machine,
    sid: &str,
    grant: Option<&Grant>,
    wanted: &Wanted,
    elevated: bool,
) -> Option<&'static str> {
    let Some(grant) = grant else {
        return Some("outside-policy");
    };
    if grant.listen_address != wanted.listen_address {
        return Some("listen-address");
    }
    // The relay refuses an administrator's token.
    let server = match machine.server(sid, grant) {
        ServedBy::Relay if elevated => grant.server(true),
        server => server,
    };
    let guest = [server, wanted.served_by].contains(&ServedBy::Guest);
    if !guest && server != wanted.served_by {
        return Some("backend");
    }
    let narrow = wanted.firewall < grant.firewall && wanted.served_by == ServedBy::Relay;
    (wanted.firewall != grant.firewall && !narrow).then_some("firewall")
}

/// Forwards that the policy agrees with, and the others.
fn agreed(machine: &Machine, sid: &str, order: &Order, elevated: bool) -> Agreed {
    let mut agreed = Agreed::default();
    for wanted in &order.forwards {
        let (protocol, listen_port) = (wanted.protocol, wanted.listen_port);
        let connect_port = wanted.connect_port;
        let policy = machine.policy(sid);
        let grant = policy.and_then(|policy| policy.covering(protocol, listen_port, connect_port));
        if let Some(reason) = gap(machine, sid, grant, wanted, elevated) {
            agreed.refused.push(Refused {
                protocol,
                listen_port,
                connect_port,
                reason: reason.to_owned(),
            });
            continue;
        }
        if grant.is_some_and(|grant| grant.firewall != wanted.firewall) {
            agreed.narrower.push(Narrower {
                protocol,
                listen_port,
                connect_port,
            });
        }
        agreed.forwards.push(*wanted);
    }
    agreed
}

/// Whether the task has something to do: a forward by the port proxy, or what is left
/// of one.
fn needs_task(machine: &Machine, sid: &str, forwards: &[Wanted]) -> bool {
    let left = |name: &String| {
        name.starts_with("tcp/") || name.starts_with("pending/") || name.ends_with("-portproxy")
    };
    let ledger = machine.users.get(sid).map(|user| user.ledger.keys());
    let left = ledger.into_iter().flatten().any(left);
    machine.needs_task(sid) && (left || !forwards.is_empty())
}

/// Installed: the policy says what may be asked for.
fn by_policy(host: &Arc<Host>, sid: &str, order: &Order, elevated: bool) -> Answer {
    let agreed = agreed(&host.state().machine, sid, order, elevated);
    let mut order = order.clone();
    let relayed = order.forwards.clone();
    order.forwards = agreed.forwards;
    order
        .forwards
        .retain(|wanted| wanted.served_by == ServedBy::Portproxy);
    let task = needs_task(&host.state().machine, sid, &order.forwards);
    let answer = if elevated {
        directly(host, sid, &order)
    } else if task {
        by_task(host, sid, &order)
    } else {
        look(&host.state(), sid, &order)
    };
    let state = host.state();
    let silent = silent(&relayed, &state.situation.hidden);
    let (machine, situation) = (&state.machine, &state.situation);
    let mut firewall = answer.firewall.clone().unwrap_or_else(|| {
        let owned = portproxy::owned(machine, sid);
        order
            .forwards
            .retain(|one| owned.contains_key(&(one.listen_address, one.listen_port)));
        let wanted = firewall::wanted(machine, sid, &order.forwards, Guest::AsTheyAre);
        firewall::look(machine, situation, sid, &wanted)
    });
    let mode = machine
        .policy(sid)
        .map_or(NAT, |policy| policy.mode.as_str());
    if (mode == MIRRORED) != order.mirrored {
        firewall.state = "failed".to_owned();
        firewall.detail = Some(format!(
            "the firewall rules were made for mode {mode}; run \"wslmesh host install\""
        ));
    }
    let state = if answer.state == "synced" && firewall.state == "failed" {
        "partial".to_owned()
    } else {
        answer.state
    };
    Answer {
        state,
        refused: [agreed.refused, answer.refused].concat(),
        narrower: agreed.narrower,
        silent,
        firewall: Some(firewall),
        ..answer
    }
}

/// The forwards of the relay on whose ports nothing listens, by looking at them.
fn silent(forwards: &[Wanted], hidden: &[u16]) -> Vec<Silent> {
    let tables = std::thread::spawn(|| {
        // Of the thread, which moves and ends.
        Place::Windows.enter().ok()?;
        let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).ok();
        let both = |name| Some(read(name)? + &read(&format!("{name}6")).unwrap_or_default());
        Some((both("tcp")?, both("udp")?))
    });
    let Some((tcp, udp)) = tables.join().ok().flatten() else {
        return Vec::new();
    };
    let listens = |wanted: &Wanted| {
        let (table, state) = match wanted.protocol {
            Protocol::Tcp => (&tcp, "0A"),
            Protocol::Udp => (&udp, "07"),
        };
        let at = |address: IpAddr| {
            let octets = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let words = octets
                .chunks_exact(4)
                .filter_map(|word| word.try_into().ok());
            let words = words.map(|word| format!("{:08X}", u32::from_le_bytes(word)));
            format!("{}:{:04X}", String::from_iter(words), wanted.listen_port)
        };
        let places = [at(wanted.listen_address), at(Ipv4Addr::UNSPECIFIED.into())];
        table.lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, now) = (words.next(), words.nth(1));
            now == Some(state) && local.is_some_and(|local| places.iter().any(|one| one == local))
        })
    };
    let relayed = forwards
        .iter()
        .filter(|one| one.served_by == ServedBy::Relay);
    let silent = relayed.filter(|one| hidden.contains(&one.listen_port) || !listens(one));
    silent
        .map(|one| Silent {
            protocol: one.protocol,
            listen_address: one.listen_address,
            listen_port: one.listen_port,
        })
        .collect()
}

fn selection(order: &Order, ticket: u64) -> Selection {
    // TCP, by the port proxy.
    let integers = |wanted: &Wanted| {
        [
            6,
            u64::from(wanted.listen_port),
            u64::from(wanted.connect_port),
            1,
        ]
    };
    Selection {
        version: VERSION,
        ticket,
        mode: if order.mirrored { 2 } else { 1 },
        forwards: order.forwards.iter().map(integers).collect(),
    }
}

fn by_task(host: &Arc<Host>, sid: &str, order: &Order) -> Answer {
    let turn = host.refresh_turn();
    let failed = |state: &str, detail: String| {
        let answer = Answer::of(state, Some(detail));
        sync::unchanged(&host.state().machine, sid, Some(order), answer)
    };
    let ticket = host.ticket();
    let text = serde_json::to_vec(&selection(order, ticket)).unwrap_or_default();
    if let Err(error) = fs::write(selection_file(sid), text) {
        return failed("task-failed", format!("writing the selection: {error}"));
    }
    // The state is free again before anything else looks at it.
    let refusal = task::refusal(&host.state(), sid);
    if let Some(why) = refusal {
        return failed("task-failed", why);
    }
    let wait = Duration::from_millis(host.state().situation.task_wait_ms);
    let (for_task, of) = (Arc::clone(host), sid.to_owned());
    std::thread::spawn(move || task::run(&for_task, &of));
    let begun = Instant::now();
    let answer = loop {
        let answer = fs::read(answer_file(sid)).ok();
        let answer = answer.and_then(|bytes| serde_json::from_slice::<Answer>(&bytes).ok());
        if let Some(answer) = answer.filter(|answer| answer.ticket == Some(ticket)) {
            break answer;
        }
        if begun.elapsed() > wait {
            return failed("task-timeout", "no answer of the task in time".to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    drop(turn);
    answer
}
