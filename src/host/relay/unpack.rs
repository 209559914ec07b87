//! Copies the relay to the Windows drive: Windows starts a program on the Linux
//! disk slowly, through a file server (9P).

use std::{
    fs,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::RelayError;
use crate::{
    fs::{cannot, read_bounded},
    interop::PlaceError,
};

/// What is tried.
const COPY: &str = "copy the relay to";

const NAME: &str = "wslmesh-relay-";

impl From<PlaceError> for RelayError {
    fn from(error: PlaceError) -> Self {
        match error {
            // It names an option of another command.
            PlaceError::Several(users) => Self::WhichUser(users),
            error => Self::Place(error),
        }
    }
}

/// Copies the program into the folder, under a name with its hash, unless it is
/// there already. Removes other copies, except those that run: they cannot be
/// removed until they exit.
pub(super) fn unpack(source: &Path, folder: &Path) -> Result<PathBuf, RelayError> {
    let content = read_bounded(source, usize::MAX).map_err(|error| match error.kind() {
        ErrorKind::NotFound => RelayError::Missing(source.to_owned()),
        _ => cannot(COPY, source)(error).into(),
    })?;
    // The first 16 digits of the hash.
    let digest = Sha256::digest(&content);
    let hash = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    let name = format!("{NAME}{}.exe", hash.collect::<String>());
    let path = folder.join(&name);
    if read_bounded(&path, content.len() + 1).is_ok_and(|found| found == content) {
        return Ok(path);
    }
    fs::create_dir_all(folder).map_err(cannot(COPY, folder))?;
    write(&path, &name, folder, &content).map_err(cannot(COPY, &path))?;
    remove_others(folder, &name);
    Ok(path)
}

fn write(path: &Path, name: &str, folder: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(&format!("{name}."))
        .suffix(".new")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Whether this module made the file, complete or not.
fn is_ours(name: &str) -> bool {
    let rest = name.strip_prefix(NAME).unwrap_or_default();
    let (hash, end) = rest.split_once(".exe").unwrap_or_default();
    let random = end
        .strip_prefix('.')
        .and_then(|end| end.strip_suffix(".new"));
    hash.len() == 16
        && hash.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
        && (end.is_empty() || random.is_some_and(|r| r.chars().all(|c| c.is_ascii_alphanumeric())))
}

fn remove_others(folder: &Path, keep: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| name != keep && is_ours(name))
        {
            fs::remove_file(entry.path()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests;
