//! The files that Windows is handed, behind the order on the same pipe. Each is identified
//! by SHA-256, so that a change on the way is noticed.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    fs::{PathError, cannot, read_bounded},
    host::scripts::Script,
};

/// The relay's file name on Windows.
pub const RELAY: &str = "wslmesh-relay.exe";

/// Most bytes of a relay: ten times what it has.
const MOST: usize = 16 << 20;

/// Why files cannot be handed over.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The relay is not part of this installation.
    #[error("there is no {}: install the wslmesh package again", .0.display())]
    NoRelay(PathBuf),
    /// The relay cannot be read.
    #[error("{0}; install the wslmesh package again")]
    Relay(PathError),
}

/// A file that Windows will have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shipped {
    /// Its name, without a folder.
    pub name: String,
    /// The hash of its content: 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// It follows the order that names it.
    #[serde(skip)]
    pub(super) content: Vec<u8>,
}

impl Shipped {
    fn script(script: Script) -> Self {
        Self::new(script.file_name(), script.text().as_bytes().to_vec())
    }

    pub(super) fn new(name: &str, content: Vec<u8>) -> Self {
        let digest = Sha256::digest(&content);
        Self {
            name: name.to_owned(),
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            content,
        }
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.content.len()
    }
}

/// The script that removes: all that an uninstall needs beside `host.ps1`.
#[must_use]
pub fn remover() -> Shipped {
    Shipped::script(Script::Setup)
}

/// The files that an installation hands to Windows, in the order of their names.
///
/// # Errors
/// The relay is missing in `library`, the package's folder, or cannot be read.
pub fn shipped(library: &Path) -> Result<Vec<Shipped>, FilesError> {
    let path = library.join("windows").join(RELAY);
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => FilesError::NoRelay(path.clone()),
        _ => FilesError::Relay(cannot("read", &path)(source)),
    };
    let relay = read_bounded(&path, MOST + 1).map_err(failed)?;
    if relay.len() > MOST {
        return Err(failed(io::Error::other("it is no file of a relay's size")));
    }
    Ok(vec![
        Shipped::script(Script::Forward),
        // It is run and not kept on Windows.
        Shipped::script(Script::Setup),
        Shipped::new(RELAY, relay),
    ])
}

#[cfg(test)]
mod tests;
