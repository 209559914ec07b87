//! Paths on Windows' drives.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::text::disturbs;

/// Longest accepted path in characters; MAX_PATH of Windows is 260.
const LONGEST: usize = 400;

/// An absolute path of a local drive such as `C:\Program Files\wslmesh`: plain
/// components, no `..`, nothing that a shell, a journal or a path of Linux would
/// read as something else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DrivePath(String);

/// Why a text is no [`DrivePath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no plain path of a Windows drive (X:\\...)")]
pub struct NotADrivePath;

impl DrivePath {
    /// The path, where the text is one.
    ///
    /// # Errors
    /// Anything else: a share (`\\host\...`), a relative path, an empty
    /// component, `.` or `..`, a character that Windows does not allow in names,
    /// a control character, or more than 400 characters.
    pub fn new(text: &str) -> Result<Self, NotADrivePath> {
        let (drive, rest) = text.split_once(":\\").ok_or(NotADrivePath)?;
        let letter = drive.len() == 1 && drive.chars().all(|c| c.is_ascii_alphabetic());
        let name = |name: &str| {
            // Windows drops dots and spaces at the end of a name: `.. ` is `..`.
            !name.trim_end_matches(['.', ' ']).is_empty()
                && !name.chars().any(|c| {
                    disturbs(c) || matches!(c, '/' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
                })
        };
        let rest = rest.strip_suffix('\\').unwrap_or(rest);
        if letter && text.chars().count() <= LONGEST && rest.split('\\').all(name) {
            Ok(Self(format!("{drive}:\\{rest}")))
        } else {
            Err(NotADrivePath)
        }
    }

    /// The path of a file or folder within.
    ///
    /// # Errors
    /// The name is none.
    pub fn join(&self, name: &str) -> Result<Self, NotADrivePath> {
        Self::new(&format!("{}\\{name}", self.0))
    }

    /// The drive's letter as it was written.
    #[must_use]
    pub fn letter(&self) -> char {
        self.0.chars().next().unwrap_or('C')
    }

    /// The same path inside Linux, where the drive is mounted at `drive`.
    #[must_use]
    pub fn on_linux(&self, drive: &Path) -> PathBuf {
        let mut path = drive.to_owned();
        let (_, rest) = self.0.split_once(":\\").unwrap_or((&self.0, ""));
        path.extend(rest.split('\\').filter(|name| !name.is_empty()));
        path
    }

    /// The path as Windows writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DrivePath {
    type Error = NotADrivePath;

    fn try_from(text: String) -> Result<Self, NotADrivePath> {
        Self::new(&text)
    }
}

impl fmt::Display for DrivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
