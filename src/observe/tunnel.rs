//! What passed through the tunnel to Windows, on request.

use std::fs;

use crate::{model::TUNNEL_LINK, report::Document};

/// Adds the bytes that the kernel counted, where the tunnel is up.
pub fn add_traffic(document: &mut Document) {
    let counted = |what: &str| {
        let path = format!("/sys/class/net/{TUNNEL_LINK}/statistics/{what}");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    if let Some(tunnel) = &mut document.tunnel {
        tunnel.received_bytes = counted("rx_bytes");
        tunnel.sent_bytes = counted("tx_bytes");
    }
}
