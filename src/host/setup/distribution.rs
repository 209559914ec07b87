//! This distribution's name on Windows.

use serde::{Deserialize, Serialize};

use crate::{
    interop,
    model::{display_as_serialized, plain},
};

display_as_serialized!(Distribution);

/// Most characters of a name that is taken.
const MOST: usize = 64;

/// A distribution's name, fit to follow `wsl.exe -d`: WSL takes letters,
/// digits, dots, dashes and underscores (microsoft/WSL-DistroLauncher:
/// DistributionInfo.h), and a dash in front would make it an option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Distribution(String);

/// Why a name is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DistributionError {
    /// The path is none of a distribution.
    #[error("wslpath says {0:?} for /, which names no distribution")]
    NoPath(String),
    /// It has characters that WSL does not take, or too many.
    #[error(
        "{0:?} is no name of a distribution: up to {MOST} letters, digits, dots, dashes and underscores, neither a dot nor a dash in front"
    )]
    NoName(String),
}

impl TryFrom<String> for Distribution {
    type Error = DistributionError;

    fn try_from(name: String) -> Result<Self, DistributionError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty()
            || name.len() > MOST
            || name.starts_with(['-', '.'])
            || !name.chars().all(plain)
        {
            Err(DistributionError::NoName(name))
        } else {
            Ok(Self(name))
        }
    }
}

impl Distribution {
    /// Takes the name out of what `wslpath -w /` answers.
    ///
    /// # Errors
    /// See [`DistributionError`].
    pub fn from_root(path: &str) -> Result<Self, DistributionError> {
        let name = interop::name_in_root(path);
        let name = name.ok_or_else(|| DistributionError::NoPath(plain(path)))?;
        Self::try_from(name.to_owned())
    }
}

#[cfg(test)]
mod tests;
