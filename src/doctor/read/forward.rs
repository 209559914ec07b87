//! One configured forward: which of its ports is tested, and what its service does with a
//! connection.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    join,
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use wslmesh_relay::proxy_header;

use super::{
    port::{Way, agent, connect, read},
    within,
};
use crate::{
    config::{ConfigError, Firewall, Forward, Settings, Source, nearest},
    doctor::port::{Kept, PortFacts},
    model::{ForwardStatus, Listening, PortRange, Protocol, Reach, Socket},
    observe,
    paths::Paths,
    report::Document,
};

/// How long a connection is watched: longer than Windows watches its own, so that a service
/// that closes one there has closed one here.
const WATCHED: Duration = Duration::from_secs(4);

/// Why there is no forward to test.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No forward has the name.
    #[error("no forward is called {name:?}: {hint}")]
    Unknown {
        /// The name.
        name: String,
        /// Which one was meant, or which there are.
        hint: String,
    },
    /// The forward has other ports.
    #[error("forward {name:?} does not listen on port {port}: it has {ports}")]
    Outside {
        /// Its name.
        name: String,
        /// The port on Windows that was asked for.
        port: NonZeroU16,
        /// What it has.
        ports: PortRange,
    },
}

/// Reads what this distribution has of a forward: one of the configuration, one that was
/// discovered, or one of another distribution that this agent serves. Of several ports the
/// one that is asked for is read, else the first that a service listens on, else the first.
///
/// # Errors
/// [`ForwardError`].
pub async fn read_forward(
    source: &Source,
    paths: &Paths,
    name: &str,
    port: Option<NonZeroU16>,
) -> Result<PortFacts, ForwardError> {
    let settings = Settings::load(source)?;
    let agent = agent(paths);
    let forward = named(&settings, agent.as_ref(), name)?;
    let protocol = forward.protocol;
    let table = move |root: &super::Root| observe::sockets(&root.at("/"), protocol);
    let sockets = match forward.listen_port.len() {
        1 => Vec::new(),
        // Unread, they are as if nothing listened.
        _ => (within("this machine", table).await.ok())
            .and_then(Result::ok)
            .unwrap_or_default(),
    };
    let outside = || ForwardError::Outside {
        name: name.to_owned(),
        port: port.unwrap_or(forward.listen_port.first()),
        ports: forward.listen_port,
    };
    let single = single(&forward, port, &sockets).ok_or_else(outside)?;
    let served = agent.iter().flat_map(|document| &document.served);
    let is_it = |one: &&ForwardStatus| one.name == name && one.listen.protocol == protocol;
    let way = Way {
        protocol,
        listen_port: single.listen_port.first(),
        connect_port: single.connect_port.first(),
        status: { served }.find(is_it).cloned(),
        forward: Some(single),
    };
    let mut facts = read(&settings, agent.as_ref(), paths, way).await;
    let several = forward.listen_port.len() > 1;
    facts.tested.of = several.then_some(forward.listen_port);
    Ok(facts)
}

/// The forward of this name.
fn named(
    settings: &Settings,
    agent: Option<&Document>,
    name: &str,
) -> Result<Forward, ForwardError> {
    let served = || agent.iter().flat_map(|document| &document.served);
    if let Some(configured) = settings.forwards.iter().find(|one| one.name == name) {
        return Ok(configured.clone());
    }
    if let Some(status) = served().find(|one| one.name == name) {
        // What another distribution's is to have is in its own configuration.
        let firewall = match status.distribution {
            None => settings.discovery.firewall,
            Some(_) => Firewall::None,
        };
        return Ok(Forward::served(status, firewall));
    }
    let configured = settings.forwards.iter().map(|one| one.name.as_str());
    let mut known: Vec<&str> = configured
        .chain(served().map(|one| one.name.as_str()))
        .collect();
    known.sort_unstable();
    known.dedup();
    let hint = match nearest(&known, name) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => "none is configured or discovered".to_owned(),
        None => format!("known are {}", known.join(", ")),
    };
    let name = name.to_owned();
    Err(ForwardError::Unknown { name, hint })
}

/// The forward with one port alone.
fn single(forward: &Forward, port: Option<NonZeroU16>, sockets: &[Socket]) -> Option<Forward> {
    let mut singles = forward.singles();
    if let Some(port) = port {
        return singles.find(|one| one.listen_port.has(port));
    }
    let rank = |one: &Forward| {
        let (all, ports) = (Ipv4Addr::UNSPECIFIED.into(), one.connect_port);
        match Listening::at(sockets, all, one.protocol, ports) {
            Listening::Yes => 0,
            Listening::Elsewhere(at) if !at.ip().is_loopback() => 1,
            Listening::Elsewhere(_) => 2,
            Listening::No => 3,
        }
    };
    singles.min_by_key(rank)
}

/// Connects to the service as the forward does: how long that takes, and what it does with
/// a connection. A datagram is sent that a machine with nothing at the port refuses.
pub async fn test_here(facts: &mut PortFacts) {
    let Some(at) = facts.at() else {
        return;
    };
    if facts.protocol == Protocol::Udp {
        facts.here = Some(connect(Protocol::Udp, at).await);
        return;
    }
    if facts.here != Some(Reach::Answers) {
        return;
    }
    let forward = facts.forward.as_ref();
    let sends = forward.is_some_and(|one| one.proxy_protocol.is_some());
    let (plain, headed) = match sends {
        true => join!(kept(at, false), kept(at, true)),
        false => (kept(at, false).await, None),
    };
    let headed = match plain {
        Some((Kept::Closed, _)) if !sends => kept(at, true).await,
        _ => headed,
    };
    let took = plain.and_then(|(_, took)| u32::try_from(took.as_millis()).ok());
    facts.tested.milliseconds = took;
    facts.tested.plain = plain.map(|(kept, _)| kept);
    facts.tested.headed = headed.map(|(kept, _)| kept);
}

/// What becomes of a connection, and how long it takes until there is one; `None` where none
/// comes about.
async fn kept(to: SocketAddr, with_header: bool) -> Option<(Kept, Duration)> {
    let begun = Instant::now();
    let connected = timeout(WATCHED, TcpStream::connect(to)).await;
    let took = begun.elapsed();
    let mut stream = match connected.ok()? {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {
            return Some((Kept::Closed, took));
        }
        stream => stream.ok()?,
    };
    if with_header {
        let header = proxy_header(stream.local_addr().ok()?, to);
        // A service that has closed it already is seen below.
        stream.write_all(&header).await.unwrap_or_default();
    }
    let end = Instant::now() + WATCHED;
    let mut buffer = [0; 4096];
    while let Ok(read) = timeout_at(end, stream.read(&mut buffer)).await {
        match read {
            Ok(0) | Err(_) => return Some((Kept::Closed, took)),
            // It took the header for a request.
            Ok(read) if with_header && buffer.get(..read).is_some_and(is_bad_request) => {
                return Some((Kept::BadRequest, took));
            }
            Ok(_) => {}
        }
    }
    Some((Kept::Open, took))
}

/// Whether HTTP's answer to a request that it does not know begins like this.
fn is_bad_request(answer: &[u8]) -> bool {
    let rest = answer.strip_prefix(b"HTTP/1.");
    rest.is_some_and(|rest| rest.get(1..5) == Some(b" 400"))
}

#[cfg(test)]
mod tests;
