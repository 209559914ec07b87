//! The files that Windows is handed: put where Windows reads them and only this
//! user writes them. What is installed is identified by SHA-256, so that a
//! change on the way is noticed.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::Serialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    fs::{
        PathError, cannot,
        file::{self, FileError},
        read_bounded,
    },
    host::scripts::Script,
};

/// The relay's file name on Windows.
pub const RELAY: &str = "wslmesh-relay.exe";

/// Most bytes of a relay: ten times what it has.
const MOST: usize = 16 << 20;

/// What a folder is wanted for.
const MAKE: &str = "make the folder";

/// Why files cannot be handed over.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// The relay is not part of this installation.
    #[error("there is no {}: install the wslmesh package again", .0.display())]
    NoRelay(PathBuf),
    /// The relay cannot be read.
    #[error("{0}; install the wslmesh package again")]
    Relay(PathError),
    /// A folder in which others could change what is handed over.
    #[error(
        "{} can be written by others than this user; correct its owner and mode, or remove it",
        .0.display()
    )]
    Open(PathBuf),
    /// The folder cannot be made or looked at, or the relay cannot be written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There is no place for this user's files.
    #[error("$HOME names no folder, so there is no place for the files; run this with sudo")]
    NoHome,
    /// A script cannot be written.
    #[error(transparent)]
    Script(#[from] FileError),
}

/// A file that Windows will have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shipped {
    /// Its name, without a folder.
    pub name: String,
    /// The hash of its content: 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// An order names what the folder has.
    #[serde(skip)]
    pub(super) content: Vec<u8>,
}

impl Shipped {
    fn script(script: Script) -> Self {
        Self::new(script.file_name(), script.text().as_bytes().to_vec())
    }

    fn new(name: &str, content: Vec<u8>) -> Self {
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
pub fn shipped(library: &Path) -> Result<Vec<Shipped>, StagingError> {
    let path = library.join("windows").join(RELAY);
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => StagingError::NoRelay(path.clone()),
        _ => StagingError::Relay(cannot("read", &path)(source)),
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

/// A folder that Windows reads. Windows sees the root file system of a
/// distribution and not each of its mounts, so it lies below none of /run and /tmp.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    /// Removed when this goes.
    _temporary: Option<TempDir>,
}

impl Staging {
    /// The folder that stays: below the state directory for root, else below
    /// this user's home.
    ///
    /// # Errors
    /// It cannot be made, or others can write to it.
    pub fn permanent(state: &Path) -> Result<Self, StagingError> {
        Self::permanent_at(folder(state)?)
    }

    fn permanent_at(path: PathBuf) -> Result<Self, StagingError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)
            .map_err(cannot(MAKE, &path))?;
        is_ours(&path)?;
        Ok(Self {
            path,
            _temporary: None,
        })
    }

    /// A folder beside it that goes with this value, for calls that change nothing.
    ///
    /// # Errors
    /// As [`Staging::permanent`].
    pub fn temporary(state: &Path) -> Result<Self, StagingError> {
        Self::temporary_beside(&folder(state)?)
    }

    fn temporary_beside(wanted: &Path) -> Result<Self, StagingError> {
        let parent = wanted
            .ancestors()
            .skip(1)
            .find(|ancestor| ancestor.is_dir())
            .unwrap_or(Path::new("/"));
        let failed = cannot(MAKE, parent);
        let made = tempfile::Builder::new()
            .prefix(".wslmesh-")
            // Windows reads as the distribution's default user.
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(parent)
            .map_err(&failed)?;
        // The umask may have taken bits away.
        fs::set_permissions(made.path(), fs::Permissions::from_mode(0o755)).map_err(failed)?;
        Ok(Self {
            path: made.path().to_owned(),
            _temporary: Some(made),
        })
    }

    /// Writes `host.ps1` into the folder and returns its path.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn host_script(&self) -> Result<PathBuf, StagingError> {
        let path = self.path.join(Script::Host.file_name());
        file::write(&path, Script::Host.text().as_bytes(), 0o644)?;
        Ok(path)
    }

    /// Writes the files into the folder.
    ///
    /// # Errors
    /// One cannot be written.
    pub fn put(&self, files: &[Shipped]) -> Result<(), StagingError> {
        for shipped in files {
            let path = self.path.join(&shipped.name);
            write(&self.path, &path, &shipped.content).map_err(cannot("write", &path))?;
        }
        Ok(())
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn folder(state: &Path) -> Result<PathBuf, StagingError> {
    if rustix::process::geteuid().is_root() {
        return Ok(state.join("windows"));
    }
    let named = |variable: &str| {
        let path = env::var_os(variable).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    named("XDG_STATE_HOME")
        .or_else(|| Some(named("HOME")?.join(".local/state")))
        .map(|folder| folder.join("wslmesh/windows"))
        .ok_or(StagingError::NoHome)
}

/// Whether only this user can change what is in the folder.
fn is_ours(path: &Path) -> Result<(), StagingError> {
    let meta = fs::symlink_metadata(path).map_err(cannot(MAKE, path))?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if meta.is_dir() && ours && meta.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(StagingError::Open(path.to_owned()))
    }
}

fn write(folder: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    if read_bounded(path, content.len() + 1).is_ok_and(|before| before == content) {
        return Ok(());
    }
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut new, content)?;
    new.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))?;
    new.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests;
