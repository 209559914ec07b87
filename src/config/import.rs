//! Forwards out of the `wsl2-config.json` of wsl2-port-mapper, for
//! `wslmesh config import`.
//!
//! That tool runs on Windows and forwards TCP ports from all addresses, by
//! distribution (facts from <https://github.com/cjnuk/wsl2-port-mapper>, main.go:
//! the types `Config`, `Instance` and `Port`).

mod choice;
mod format;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub(super) use self::choice::CATCH_ALL;
pub use self::choice::Wanted;
use self::format::Foreign;
use super::{
    load::{ConfigError, load, read as read_source},
    source::{Draft, Source},
};
use crate::fs::{
    PathError, cannot,
    file::{self, FileError},
    read_bounded,
};

/// The drop-in that an import writes. It comes after what packages number lower
/// and before `forward-NAME.toml`.
const NAME: &str = "50-imported.toml";

/// Largest file that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Why nothing was imported. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The other tool's file cannot be imported, or an earlier import is in the way.
    #[error("{}:{problem}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Line and column, where there is one, what is wrong, and the fix.
        problem: String,
    },
    /// The configuration is wrong already, or would be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder cannot be made.
    #[error("{0}; run as root, or name another with --output")]
    Folder(#[from] PathError),
    /// The drop-in cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A drop-in that is ready to be written.
#[derive(Debug)]
pub struct Import {
    /// The drop-in.
    pub path: PathBuf,
    /// Its text: a TOML file with what was left out as comments.
    pub text: String,
    /// What becomes a forward, one sentence each.
    pub taken: Vec<String>,
    /// What does not, and why, one sentence each.
    pub left_out: Vec<String>,
    /// Whether something was left out although this distribution should have it.
    pub conflicts: bool,
}

impl Import {
    /// Reads a file and decides what of it becomes a forward beside the forwards
    /// that `source` has; the drop-in is for `folder`, or for the source's own.
    /// The whole configuration is checked with the drop-in in it.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn of(
        from: &Path,
        source: &Source,
        folder: Option<&Path>,
        wanted: &Wanted<'_>,
    ) -> Result<Self, ImportError> {
        let text = read_text(from)?;
        let foreign = format::parse(&text).map_err(|problem| refused(from, problem))?;
        let folder = folder.map_or_else(|| source.drop_ins(), Path::to_owned);
        Self::from_foreign(&foreign, from, source, folder.join(NAME), wanted)
    }

    fn from_foreign(
        foreign: &Foreign,
        from: &Path,
        source: &Source,
        path: PathBuf,
        wanted: &Wanted<'_>,
    ) -> Result<Self, ImportError> {
        let draft = |text| Draft { path: &path, text };
        // An earlier import does not conflict with itself.
        let there = read_source(source, Some(draft(None)))?;
        let choice = choice::choose(foreign, wanted, &there)
            .map_err(|problem| refused(from, format!(" {problem}")))?;
        let text = choice.text(from);
        load(source, Some(draft(Some(&text))))?;
        Ok(Self {
            path,
            text,
            taken: choice.taken(),
            left_out: choice.left,
            conflicts: choice.conflicts,
        })
    }

    /// Writes the drop-in, whole or not at all; `false` when it is
    /// unchanged. Other content is overwritten with `force` alone.
    ///
    /// # Errors
    /// What kept it from being written.
    pub fn write(&self, force: bool) -> Result<bool, ImportError> {
        let before = file::read(&self.path)?;
        match &before {
            Some(before) if before == self.text.as_bytes() => return Ok(false),
            Some(_) if !force => {
                let problem = " exists already and differs; compare it with --dry-run, then overwrite it with --force";
                return Err(refused(&self.path, problem.to_owned()));
            }
            Some(_) | None => {}
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(cannot("make the folder", folder))?;
        }
        file::replace(&self.path, before.as_deref(), self.text.as_bytes())?;
        Ok(true)
    }
}

fn refused(path: &Path, problem: String) -> ImportError {
    let path = path.to_owned();
    ImportError::Refused { path, problem }
}

/// The text of such a file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read_text(path: &Path) -> Result<String, ImportError> {
    read(path).map_err(|problem| refused(path, problem))
}

/// A file's text, or what is wrong with it.
fn read(path: &Path) -> Result<String, String> {
    let bytes = read_bounded(path, MAX_BYTES + 1).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => {
            " is not a regular file; name the wsl2-config.json".to_owned()
        }
        _ => format!(" cannot read it: {error}"),
    })?;
    if bytes.len() > MAX_BYTES {
        let text = " is larger than any wsl2-config.json (1 MiB); name the right file";
        return Err(text.to_owned());
    }
    String::from_utf8(bytes)
        .map_err(|_| " is not UTF-8 text; save it as UTF-8 and try again".to_owned())
}
