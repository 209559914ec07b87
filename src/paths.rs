//! Directories of the agent.

use std::{env, path::PathBuf};

/// State and runtime directories, as systemd hands them over in
/// `$STATE_DIRECTORY` and `$RUNTIME_DIRECTORY` (systemd.exec(5)), else where
/// the package has them; and where it has its programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Survives a reboot: previous values, the script that Windows reads.
    pub state: PathBuf,
    /// Lost at a reboot: the status document, the relay's table.
    pub runtime: PathBuf,
    /// The package's other programs, `$WSLMESH_LIBDIR` for a tree that is not
    /// installed.
    pub lib: PathBuf,
}

impl Paths {
    /// The paths of this process.
    #[must_use]
    pub fn from_environment() -> Self {
        Self {
            state: folder("STATE_DIRECTORY", "/var/lib/wslmesh"),
            runtime: folder("RUNTIME_DIRECTORY", "/run/wslmesh"),
            lib: folder("WSLMESH_LIBDIR", "/usr/lib/wslmesh"),
        }
    }
}

/// systemd joins several directories with colons; ours is the first.
fn folder(variable: &str, usual: &str) -> PathBuf {
    let given = env::var_os(variable).unwrap_or_default();
    env::split_paths(&given)
        .next()
        .filter(|path| path.is_absolute())
        .unwrap_or_else(|| PathBuf::from(usual))
}
