//! What a request asks for.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
};

use serde::Deserialize;
use serde_json::{Value, json};
use wslmesh_relay::{
    link::{GUEST_V4, GUEST_V6},
    protocol::{Listen, Protocol},
};

use super::http::Reply;
use crate::model::{TunnelCounters, TunnelForward};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    /// Listen, and lead to this distribution.
    Expose(TunnelForward),
    /// Listen there no more.
    Unexpose(Listen),
    /// Which ports are exposed.
    All,
    /// The switch's counters.
    Stats,
}

/// The body of both orders.
#[derive(Debug, Deserialize)]
struct Body {
    local: String,
    #[serde(default)]
    remote: Option<String>,
    #[serde(default)]
    protocol: String,
}

/// Reads a request.
///
/// # Errors
/// The answer that refuses it.
pub(super) fn call(method: &str, path: &str, body: &[u8]) -> Result<Call, Reply> {
    let of = |wanted: &str| match method == wanted {
        true => Ok(()),
        false => Err(Reply::text(405, &format!("{path} takes {wanted} alone"))),
    };
    match path {
        "/services/forwarder/expose" => {
            of("POST")?;
            let body = read(body)?;
            let listen = listen(&body)?;
            let remote = body.remote.unwrap_or_default();
            let (guest, guest_port) = guest(&remote).ok_or_else(|| {
                Reply::text(
                    400,
                    &format!("remote {remote:?} is not this distribution's address in the tunnel: write \"{GUEST_V4}:PORT\" or \"[{GUEST_V6}]:PORT\""),
                )
            })?;
            Ok(Call::Expose(TunnelForward {
                listen,
                guest: Some(guest),
                guest_port,
            }))
        }
        "/services/forwarder/unexpose" => {
            of("POST")?;
            Ok(Call::Unexpose(listen(&read(body)?)?))
        }
        "/services/forwarder/all" => of("GET").map(|()| Call::All),
        "/stats" => of("GET").map(|()| Call::Stats),
        _ => Err(Reply::text(
            404,
            "there are POST /services/forwarder/expose and /services/forwarder/unexpose, GET /services/forwarder/all and /stats",
        )),
    }
}

fn read(body: &[u8]) -> Result<Body, Reply> {
    serde_json::from_slice(body).map_err(|error| {
        Reply::text(
            400,
            &format!("the body is not as {{\"local\":\":6443\",\"remote\":\"{GUEST_V4}:6443\",\"protocol\":\"tcp\"}}: {error}"),
        )
    })
}

fn listen(body: &Body) -> Result<Listen, Reply> {
    let protocol = match body.protocol.as_str() {
        "" | "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => {
            let text = format!("protocol {other:?} is not forwarded: write \"tcp\" or \"udp\"");
            return Err(Reply::text(400, &text));
        }
    };
    let local = &body.local;
    let (listen_address, listen_port) = place(local).ok_or_else(|| {
        Reply::text(
            400,
            &format!("local {local:?} is no address and port to listen on: write \":PORT\" or \"127.0.0.1:PORT\""),
        )
    })?;
    Ok(Listen {
        protocol,
        listen_address,
        listen_port,
    })
}

/// An address of Windows and a port. Without an address all of them are meant, as in Go.
fn place(text: &str) -> Option<(IpAddr, NonZeroU16)> {
    let (host, port) = text.rsplit_once(':')?;
    let address = match host {
        "" => Ipv6Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        _ => text.parse::<SocketAddr>().ok()?.ip(),
    };
    let is_possible = !address.is_multicast() && address.to_canonical() == address;
    Some((address, number(port)?)).filter(|_| is_possible)
}

fn guest(text: &str) -> Option<(IpAddr, NonZeroU16)> {
    let place: SocketAddr = text.parse().ok()?;
    let ours = [IpAddr::from(GUEST_V4), GUEST_V6.into()].contains(&place.ip());
    Some((place.ip(), NonZeroU16::new(place.port())?)).filter(|_| ours)
}

/// A port in decimal digits.
fn number(text: &str) -> Option<NonZeroU16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// A forward as the API shows it.
pub(super) fn exposed(forward: &TunnelForward) -> Value {
    let at = forward.listen;
    let local = match at.listen_address {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => format!(":{}", at.listen_port),
        _ => at.address().to_string(),
    };
    let guest = forward.guest.unwrap_or(GUEST_V4.into());
    let remote = SocketAddr::new(guest, forward.guest_port.get());
    json!({
        "local": local, "remote": remote.to_string(), "protocol": at.protocol.to_string(),
    })
}

/// The counters by the names of gVisor's, as far as they mean the same. Sent is what went to
/// this distribution.
pub(super) fn stats(counters: &TunnelCounters) -> Value {
    json!({
        "BytesSent": counters.bytes_out,
        "BytesReceived": counters.bytes_in,
        "MalformedRcvdPackets": counters.invalid,
        "DroppedPackets": counters.dropped,
        "IP": {
            "PacketsSent": counters.packets_out,
            "PacketsReceived": counters.packets_in,
        },
        "TCP": {
            "CurrentConnected": counters.tcp_active,
            "FailedConnectionAttempts": counters.tcp_failed,
            "Retransmits": counters.tcp_retransmitted,
        },
    })
}

#[cfg(test)]
mod tests;
