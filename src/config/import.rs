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

pub use self::choice::{ChoiceError, Wanted};
use self::{choice::Choice, format::Foreign};
use super::{
    load::{ConfigError, load, read as read_source},
    source::{Draft, Source},
};
use crate::fs::{
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
    /// The file cannot be read.
    #[error("{}: cannot read it: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A folder or a device.
    #[error("{}: is not a regular file; name the wsl2-config.json", .0.display())]
    NotAFile(PathBuf),
    /// Far larger than any such file.
    #[error("{}: is larger than any wsl2-config.json (1 MiB); name the right file", .0.display())]
    TooLarge(PathBuf),
    /// Not UTF-8.
    #[error("{}: is not UTF-8 text; save it as UTF-8 and try again", .0.display())]
    NotText(PathBuf),
    /// JSON, a key or a value is wrong.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1; the end of what is wrong.
        column: usize,
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// Nothing in it is for this distribution.
    #[error("{}: {source}", path.display())]
    Choice {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ChoiceError,
    },
    /// There is another import already.
    #[error("{}: exists already and differs; compare it with --dry-run, then overwrite it with --force", .0.display())]
    Exists(PathBuf),
    /// The configuration is wrong already, or would be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder cannot be made.
    #[error("cannot make the folder {}: {source}; run as root, or name another with --output", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The drop-in cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A drop-in that is ready to be written.
#[derive(Debug)]
pub struct Import {
    path: PathBuf,
    text: String,
    choice: Choice,
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
        let foreign = format::parse(&read(from)?).map_err(|wrong| ImportError::Syntax {
            path: from.to_owned(),
            line: wrong.line,
            column: wrong.column,
            message: wrong.message,
        })?;
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
        let choice =
            choice::choose(foreign, wanted, &there).map_err(|source| ImportError::Choice {
                path: from.to_owned(),
                source,
            })?;
        let text = choice.text(from);
        load(source, Some(draft(Some(&text))))?;
        Ok(Self { path, text, choice })
    }

    /// The drop-in's text: a TOML file with what was left out as comments.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The drop-in.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What becomes a forward, one sentence each.
    #[must_use]
    pub fn taken(&self) -> Vec<String> {
        self.choice.taken()
    }

    /// What does not, and why, one sentence each.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.choice.left
    }

    /// Whether something was left out although this distribution should have it.
    #[must_use]
    pub fn conflicts(&self) -> bool {
        self.choice.conflicts
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
            Some(_) if !force => return Err(ImportError::Exists(self.path.clone())),
            Some(_) | None => {}
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(|source| ImportError::Folder {
                path: folder.to_owned(),
                source,
            })?;
        }
        file::replace(&self.path, before.as_deref(), self.text.as_bytes())?;
        Ok(true)
    }
}

fn read(path: &Path) -> Result<String, ImportError> {
    let failed = |source| ImportError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = read_bounded(path, MAX_BYTES + 1).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => ImportError::NotAFile(path.to_owned()),
        _ => failed(error),
    })?;
    if bytes.len() > MAX_BYTES {
        return Err(ImportError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| ImportError::NotText(path.to_owned()))
}
