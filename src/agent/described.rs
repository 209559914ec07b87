//! What is told on demand: more than a pass should gather each time.

use std::sync::LazyLock;

use crate::{observe::Peers, report::Document};

/// One for all who ask: a device that hangs is not asked again by each of them.
static PEERS: LazyLock<Peers> = LazyLock::new(Peers::default);

/// The document of the last pass, with what is asked for only now. It runs
/// beside the loop, as often as somebody asks, and holds no pass up.
pub async fn described(mut document: Document) -> Document {
    document.wireguard = Some(PEERS.of(&document.links).await);
    document
}
