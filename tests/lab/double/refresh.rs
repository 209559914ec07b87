//! `refresh.ps1`, as the user who runs interop.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::contract::{Answer, Protocol, Refused, Selection, ServedBy, Sync, VERSION};
use crate::double::check::{self, Order, Wanted};
use crate::double::machine::{answer_file, local_app_data_windows, selection_file};
use crate::double::sync::{self, Fuse};
use crate::double::task;
use crate::interop::{Host, State};

/// The contract between installed files and script.
const CONTRACT: u64 = 1;
/// The profiles of firewall rules that no policy names.
const USUAL_PROFILES: [&str; 2] = ["domain", "private"];

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
        Some(CONTRACT) => by_task(host, &sid, &order),
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
        ticket: None,
        ..answer
    }
}

/// Not installed, not elevated: what is wanted may stand all the same.
fn look(state: &State, sid: &str, order: &Order) -> Answer {
    let changes = sync::changes(&state.machine, sid, order);
    let answer = if changes > 0 {
        let detail = format!("{changes} rules would have to change");
        Answer::of("not-elevated", Some(detail))
    } else if sync::stopped(&state.machine, &state.situation, sid, order) {
        Answer::of("service-stopped", None)
    } else {
        Answer::of("synced", None)
    };
    sync::unchanged(&state.machine, sid, Some(order), answer)
}

/// Not installed, elevated: the script does it all by itself.
fn directly(host: &Arc<Host>, sid: &str, order: &Order) -> Answer {
    let mut state = host.state();
    let state = &mut *state;
    let profiles = USUAL_PROFILES.map(str::to_owned);
    let answer = sync::elevated(
        &mut state.machine,
        &state.situation,
        sid,
        order,
        &profiles,
        &|name| host.probe(name),
        &mut Fuse::new(None),
    );
    if let Err(error) = host.settle(state) {
        let text = format!("the port proxy failed: {error:#}");
        state.violations.push(text);
    }
    answer.unwrap_or_else(|_| Answer::of("failed", None))
}

/// Forwards that the policy agrees with, and the others.
fn agreed(state: &State, sid: &str, order: &Order) -> (Vec<Wanted>, Vec<Refused>) {
    let (mut agreed, mut refused) = (Vec::new(), Vec::new());
    for wanted in &order.forwards {
        let policy = state.machine.policy(sid);
        let grant = policy.and_then(|policy| {
            policy.covering(wanted.protocol, wanted.listen_port, wanted.connect_port)
        });
        let reason = match grant {
            None => Some("outside-policy"),
            Some(grant) if grant.listen_address != wanted.listen_address => Some("listen-address"),
            Some(grant) if grant.firewall != wanted.firewall => Some("firewall"),
            Some(_) => None,
        };
        match reason {
            None => agreed.push(*wanted),
            Some(reason) => refused.push(Refused {
                protocol: wanted.protocol,
                listen_port: wanted.listen_port,
                connect_port: wanted.connect_port,
                reason: reason.to_owned(),
            }),
        }
    }
    (agreed, refused)
}

fn selection(order: &Order, forwards: &[Wanted], ticket: u64) -> Selection {
    let integers = |wanted: &Wanted| {
        [
            match wanted.protocol {
                Protocol::Tcp => 6,
                Protocol::Udp => 17,
            },
            u64::from(wanted.listen_port),
            u64::from(wanted.connect_port),
            match wanted.served_by {
                ServedBy::Portproxy => 1,
                ServedBy::Relay => 2,
                ServedBy::Guest => 3,
            },
        ]
    };
    Selection {
        version: VERSION,
        ticket,
        mode: if order.mirrored { 2 } else { 1 },
        forwards: forwards.iter().map(integers).collect(),
    }
}

fn by_task(host: &Arc<Host>, sid: &str, order: &Order) -> Answer {
    let turn = host.refresh_turn();
    let (forwards, refused) = agreed(&host.state(), sid, order);
    let failed = |state: &str, detail: String| {
        let answer = Answer::of(state, Some(detail));
        let answer = sync::unchanged(&host.state().machine, sid, Some(order), answer);
        Answer {
            refused: refused.clone(),
            ..answer
        }
    };
    let ticket = host.ticket();
    let text = serde_json::to_vec(&selection(order, &forwards, ticket)).unwrap_or_default();
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
    Answer {
        refused: [refused, answer.refused].concat(),
        ..answer
    }
}
