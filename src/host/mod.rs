//! The Windows side as Linux sees it.
//!
//! [`contract`] is what PowerShell is asked and answers, and [`sync`] turns wanted
//! rules into one call, for the port proxy and the firewall.

pub mod contract;
mod json;
pub mod relay;
/// The PowerShell scripts.
pub mod scripts;
pub mod setup;
pub mod sync;

use std::{
    io,
    path::{Path, PathBuf},
};

/// What could not be done with a file or folder.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct PathError {
    doing: &'static str,
    path: PathBuf,
    /// The system's reason.
    source: io::Error,
}

/// Names what was tried, and with which path, for a reason of the system's.
fn cannot(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> PathError {
    move |source| PathError {
        doing,
        path: path.to_owned(),
        source,
    }
}
