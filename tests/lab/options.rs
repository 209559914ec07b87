//! How a world is to be: everything that must be known before it starts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What [`World::start`](crate::world::World::start) is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Options {
    /// The agent's binary, shown in the world as [`AGENT`].
    pub(crate) agent: PathBuf,
    /// The relay's binary for Linux, shown in the world as [`RELAY`].
    pub(crate) relay: PathBuf,
    /// The folder of the programs to compare with (tools/peers.sh), shown in the world as
    /// [`PEERS`].
    pub(crate) peers: Option<PathBuf>,
    /// How long powershell.exe takes before it reads its standard input, in ms.
    /// About 700 on Windows.
    pub(crate) start_up_ms: u64,
    /// How long `/init` waits for Windows before `accept4 failed 110`, in ms.
    /// 10,000 in WSL, which no test has the time for.
    pub(crate) accept_ms: u64,
    /// How long the script waits for the elevated task, in ms. 10,000 on Windows.
    pub(crate) task_wait_ms: u64,
    /// What `wslinfo --networking-mode` prints.
    pub(crate) mode: String,
    /// Whether to mount a private binfmt_misc where the kernel allows it. Without
    /// one the world is as on a kernel before 6.7.
    pub(crate) binfmt: bool,
    /// Whether an echo service listens in the guest, TCP on 0.0.0.0:22.
    pub(crate) echo: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            agent: agent_binary(),
            relay: relay_binary(),
            peers: None,
            start_up_ms: 700,
            accept_ms: 1_000,
            task_wait_ms: 10_000,
            mode: "nat".to_owned(),
            binfmt: true,
            echo: true,
        }
    }
}

impl Options {
    /// A world whose Windows answers without the usual delay, for trials about
    /// something else.
    pub(crate) fn quick() -> Self {
        Self {
            start_up_ms: 5,
            task_wait_ms: 2_000,
            ..Self::default()
        }
    }
}

/// Where the agent's binary is inside a world.
pub(crate) const AGENT: &str = "/opt/wslmesh/wslmesh";

/// Where the files of the package are inside a world: `$WSLMESH_LIBDIR`.
pub(crate) const LIBRARY: &str = "/opt/wslmesh/lib";
/// The relay for Linux in there.
pub(crate) const RELAY: &str = "/opt/wslmesh/lib/wslmesh-relay";
/// Where the peers of the tunnel are in a world that has them.
pub(crate) const PEERS: &str = "/opt/peers";

fn agent_binary() -> PathBuf {
    std::env::var_os("WSLMESH_BIN")
        .map(PathBuf::from)
        .or_else(|| option_env!("CARGO_BIN_EXE_wslmesh").map(PathBuf::from))
        .unwrap_or_default()
}

/// The relay is another package's binary, which cargo builds beside the agent's
/// (`cargo build`, or `cargo test` of the workspace).
pub(crate) fn relay_binary() -> PathBuf {
    std::env::var_os("WSLMESH_RELAY_BIN").map_or_else(
        || agent_binary().with_file_name("wslmesh-relay"),
        PathBuf::from,
    )
}
