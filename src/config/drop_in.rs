//! A forward in a drop-in of its own, for `wslmesh forward`.
//!
//! The whole configuration with the drop-in in it is checked before anything is
//! written, so that a running agent never reads one that it refuses.

use std::{
    fs, io,
    num::NonZeroU16,
    path::{Path, PathBuf},
};

use super::{
    load::{ConfigError, Located, load, read},
    settings::Settings,
    source::{Draft, Source},
    values::{Forward, NAME_RULE, is_name},
};
use crate::{
    fs::file::{self, FileError},
    model::Protocol,
};

/// Why a drop-in was not written or not removed. Nothing has changed then,
/// unless only bringing the folder to disk failed.
#[derive(Debug, thiserror::Error)]
pub enum DropInError {
    /// The configuration is wrong already, or would be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The name cannot be part of a file's name.
    #[error("{0:?}: {NAME_RULE}")]
    Name(String),
    /// The name has another meaning already.
    #[error(
        "forward {:?} exists already, at {}:{}; choose another name, or first: wslmesh forward remove {}",
        .0.name, .0.file.display(), .0.line, .0.name
    )]
    Taken(Located),
    /// Another forward listens there.
    #[error(
        "listen-port {port} {protocol} is taken by forward {:?} at {}:{}; choose another --listen-port",
        at.name, at.file.display(), at.line
    )]
    Port {
        /// The port.
        port: NonZeroU16,
        /// Its protocol.
        protocol: Protocol,
        /// The other forward.
        at: Located,
    },
    /// There is no such forward.
    #[error("there is no forward {0:?}; wslmesh forward list names them")]
    Unknown(String),
    /// It was written by hand, elsewhere.
    #[error(
        "forward {:?} was not made by `wslmesh forward add`: remove its block at {}:{} with an editor, then: systemctl reload wslmesh",
        .0.name, .0.file.display(), .0.line
    )]
    Elsewhere(Located),
    /// The drop-in has more in it.
    #[error(
        "{} has more in it than forward {name:?}: remove the block at line {line} with an editor, then: systemctl reload wslmesh",
        file.display()
    )]
    More {
        /// The forward.
        name: String,
        /// The drop-in.
        file: PathBuf,
        /// Its block's line.
        line: usize,
    },
    /// The folder of drop-ins cannot be made.
    #[error("cannot make the folder {}: {source}; run as root", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file cannot be removed.
    #[error("cannot remove {}: {source}; run as root", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The drop-in of one forward: `forward-NAME.toml`.
#[derive(Debug, Clone)]
pub struct DropIn {
    source: Source,
    name: String,
    path: PathBuf,
}

/// The result of adding a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// Its drop-in was written.
    Written,
    /// The same forward exists already.
    Already,
}

impl DropIn {
    /// The drop-in of the forward `name` in the source's folder.
    ///
    /// # Errors
    /// The name is none.
    pub fn of(source: &Source, name: &str) -> Result<Self, DropInError> {
        if !is_name(name) {
            return Err(DropInError::Name(name.to_owned()));
        }
        Ok(Self {
            source: source.clone(),
            name: name.to_owned(),
            path: source.drop_ins().join(format!("forward-{name}.toml")),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the forward, which has this drop-in's name, and returns the
    /// settings that are in force with it.
    ///
    /// # Errors
    /// Nothing is written where the configuration has errors, or would have with
    /// this forward in it; else what kept the file from being written.
    pub fn add(&self, forward: &Forward) -> Result<(Added, Settings), DropInError> {
        let name = &self.name;
        let text = format!(
            "# Made by `wslmesh forward add`; `wslmesh forward remove {name}` removes it.\n{}",
            forward.block()
        );
        let now = read(&self.source, None)?;
        if let Some(taken) = now.places.iter().find(|located| located.name == self.name) {
            let before = file::read(&self.path)?;
            let same = before.is_some_and(|before| before == text.as_bytes());
            return if taken.file == self.path && same {
                Ok((Added::Already, load(&self.source, None)?.settings))
            } else {
                Err(DropInError::Taken(taken.clone()))
            };
        }
        // The whole check below finds the same, but names the one whose file comes later.
        let clash = now
            .forwards()
            .find(|(other, _)| other.clashes_with(forward));
        if let Some((_, at)) = clash {
            return Err(DropInError::Port {
                port: forward.listen_port,
                protocol: forward.protocol,
                at: at.clone(),
            });
        }
        let draft = Draft {
            path: &self.path,
            text: Some(&text),
        };
        let settings = load(&self.source, Some(draft))?.settings;
        let folder = self.source.drop_ins();
        fs::create_dir_all(&folder).map_err(|source| DropInError::Folder {
            path: folder,
            source,
        })?;
        file::replace(&self.path, None, text.as_bytes())?;
        Ok((Added::Written, settings))
    }

    /// Removes the drop-in and returns the place where a forward of this name is
    /// written still, which is in force again.
    ///
    /// # Errors
    /// The forward is written elsewhere, or with others; what would remain is no
    /// configuration; or the file cannot be removed.
    pub fn remove(&self) -> Result<Option<Located>, DropInError> {
        let of_this_name = |located: &Located| located.name == self.name;
        let found = read(&self.source, None)?
            .places
            .into_iter()
            .find(of_this_name)
            .ok_or_else(|| DropInError::Unknown(self.name.clone()))?;
        if found.file != self.path {
            return Err(DropInError::Elsewhere(found));
        }
        let content =
            file::read(&self.path)?.ok_or_else(|| DropInError::Unknown(self.name.clone()))?;
        if !is_alone(&content) {
            return Err(DropInError::More {
                name: found.name,
                file: found.file,
                line: found.line,
            });
        }
        let draft = Draft {
            path: &self.path,
            text: None,
        };
        load(&self.source, Some(draft))?;
        fs::remove_file(&self.path).map_err(|source| DropInError::Remove {
            path: self.path.clone(),
            source,
        })?;
        let left = read(&self.source, None)?.places;
        Ok(left.into_iter().find(of_this_name))
    }
}

/// Whether a file has one forward in it and no other key.
fn is_alone(content: &[u8]) -> bool {
    let table = std::str::from_utf8(content)
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok());
    table.is_some_and(|table| {
        let one = |value: &toml::Value| value.as_array().is_some_and(|blocks| blocks.len() == 1);
        table.len() == 1 && table.get("forward").is_some_and(one)
    })
}

#[cfg(test)]
mod tests;
