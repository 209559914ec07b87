//! What files were before an edit, so that it can be undone byte for byte.
//!
//! Each edit has a folder of its own, by number: `path` (which file), `before` (missing
//! where there was no file) and `after`. It is written before the file is, so that a run
//! that was killed between has left an edit that was never made: it is passed over.

use std::{
    fs, io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
};

use super::{
    PathError, cannot,
    file::{self, FileError},
};

/// Most edits that are kept; the oldest go.
const MOST: usize = 50;

/// The mode of what is written: a file of Windows' user may have a secret.
const MODE: u32 = 0o600;

/// Edits in one folder.
#[derive(Debug, Clone)]
pub struct History {
    folder: PathBuf,
}

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    folder: PathBuf,
    /// What the file had; `None` where it did not exist.
    pub before: Option<Vec<u8>>,
    /// What the edit made of it.
    pub after: Vec<u8>,
}

/// Why an edit was not kept or undone.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A folder of the history.
    #[error(transparent)]
    Folder(#[from] PathError),
    /// A file, of the history or the edited one.
    #[error(transparent)]
    File(#[from] FileError),
}

impl History {
    /// The edits in this folder, which is made with the first one.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps other runs out until this is dropped; waits for one that is in.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn lock(&self) -> Result<fs::File, PathError> {
        Self::make(&self.folder)?;
        let folder = fs::File::open(&self.folder).map_err(cannot("open", &self.folder))?;
        folder.lock().map_err(cannot("lock", &self.folder))?;
        Ok(folder)
    }

    fn make(folder: &Path) -> Result<(), PathError> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder);
        made.map_err(cannot("create", folder))
    }

    /// Keeps an edit that is about to be made.
    ///
    /// # Errors
    /// It cannot be written: then the edit should not be made.
    pub fn keep(
        &self,
        path: &Path,
        before: Option<&[u8]>,
        after: &[u8],
    ) -> Result<Edit, HistoryError> {
        let numbers = self.numbers()?;
        let number = numbers.last().map_or(1, |last| last + 1);
        let folder = self.folder.join(number.to_string());
        Self::make(&folder)?;
        let edit = Edit {
            folder,
            before: before.map(<[u8]>::to_vec),
            after: after.to_vec(),
        };
        let written = edit.write(path);
        if written.is_err() {
            // What is half there is of no use.
            drop(edit.forget());
        }
        written?;
        let old = numbers.len().saturating_sub(MOST - 1);
        for number in numbers.into_iter().take(old) {
            let folder = self.folder.join(number.to_string());
            fs::remove_dir_all(&folder).map_err(cannot("remove", &folder))?;
        }
        Ok(edit)
    }

    /// The last edit of a file that is still in it or that another program has written
    /// over since: one that was never made, or that was undone by other means, leaves
    /// what was before, and is forgotten.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn last(&self, path: &Path, now: Option<&[u8]>) -> Result<Option<Edit>, HistoryError> {
        for number in self.numbers()?.into_iter().rev() {
            let folder = self.folder.join(number.to_string());
            let read = |name: &str| file::read(&folder.join(name));
            let of = read("path")?.map(|bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes)));
            // A run was killed while it wrote this.
            let Some(after) = read("after")?.filter(|_| of.as_deref() == Some(path)) else {
                continue;
            };
            let before = read("before")?;
            let edit = Edit {
                folder,
                before,
                after,
            };
            if now != edit.before.as_deref() {
                return Ok(Some(edit));
            }
            edit.forget()?;
        }
        Ok(None)
    }

    /// The numbers of the edits, in order.
    fn numbers(&self) -> Result<Vec<u64>, PathError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(cannot("read", &self.folder))?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut numbers: Vec<u64> = names.filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

impl Edit {
    fn write(&self, path: &Path) -> Result<(), FileError> {
        let write = |name: &str, bytes: &[u8]| file::write(&self.folder.join(name), bytes, MODE);
        write("path", path.as_os_str().as_bytes())?;
        if let Some(before) = &self.before {
            write("before", before)?;
        }
        write("after", &self.after)
    }

    /// Forgets it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget(&self) -> Result<(), PathError> {
        fs::remove_dir_all(&self.folder).map_err(cannot("remove", &self.folder))
    }
}

#[cfg(test)]
mod tests;
