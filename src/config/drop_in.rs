//! A forward in a drop-in of its own, for `wslmesh forward`.
//!
//! The whole configuration with the drop-in in it is checked before anything is
//! written, so that a running agent never reads one that it refuses.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    load::{ConfigError, Located, load, read},
    settings::Settings,
    source::{Draft, Source},
    values::{Forward, NAME_RULE, is_name},
};
use crate::{
    fs::{
        PathError, cannot,
        file::{self, FileError},
    },
    model::InterfaceName,
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
        "forward {name:?} exists already, at {0}; choose another name, or first: wslmesh forward remove {name}",
        name = .0.name
    )]
    Taken(Located),
    /// Another forward listens there; the text names it.
    #[error("{0} --listen-port")]
    Port(String),
    /// There is no such forward.
    #[error("there is no forward {0:?}; wslmesh forward list names them")]
    Unknown(String),
    /// It was written by hand, elsewhere.
    #[error(
        "forward {name:?} was not made by `wslmesh forward add`: remove its block at {0} with an editor, then: systemctl reload wslmesh",
        name = .0.name
    )]
    Elsewhere(Located),
    /// The drop-in has more in it.
    #[error(
        "{} has more in it than forward {:?}: remove the block at line {} with an editor, then: systemctl reload wslmesh",
        .0.file.display(), .0.name, .0.line
    )]
    More(Located),
    /// What it would say, a later file says otherwise.
    #[error(
        "{} would say that [wireguard] interfaces has {:?}, and a later file sets this key: add it there (wslmesh config show names the files)",
        .0.display(), .1.as_str()
    )]
    Overruled(PathBuf, InterfaceName),
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder of drop-ins cannot be made, or the file not be removed.
    #[error("{0}; run as root")]
    Disk(#[from] PathError),
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
        if let Some(taken) = now.places.iter().find(|at| at.name == *name) {
            let before = file::read(&self.path)?;
            if taken.file != self.path || before.as_deref() != Some(text.as_bytes()) {
                return Err(DropInError::Taken(taken.clone()));
            }
            return Ok((Added::Already, load(&self.source, None)?.settings));
        }
        // The whole check below finds the same, but names the one whose file comes later.
        let mut clashes = now
            .forwards()
            .filter(|(other, _)| other.clashes_with(forward));
        if let Some((there, at)) = clashes.next() {
            return Err(DropInError::Port(at.has_port_of(there, forward)));
        }
        let settings = with_draft(&self.source, &self.path, &text)?;
        put(&self.source, &self.path, None, &text)?;
        Ok((Added::Written, settings))
    }

    /// Removes the drop-in and returns the place where a forward of this name is
    /// written still, which is in force again.
    ///
    /// # Errors
    /// The forward is written elsewhere, or with others; what would remain is no
    /// configuration; or the file cannot be removed.
    pub fn remove(&self) -> Result<Option<Located>, DropInError> {
        let of_this_name = || -> Result<Option<Located>, ConfigError> {
            let mut places = read(&self.source, None)?.places.into_iter();
            Ok(places.find(|at| at.name == self.name))
        };
        let unknown = || DropInError::Unknown(self.name.clone());
        let found = of_this_name()?.ok_or_else(unknown)?;
        if found.file != self.path {
            return Err(DropInError::Elsewhere(found));
        }
        let content = file::read(&self.path)?.ok_or_else(unknown)?;
        if !is_alone(&content) {
            return Err(DropInError::More(found));
        }
        let draft = Draft {
            path: &self.path,
            text: None,
        };
        load(&self.source, Some(draft))?;
        fs::remove_file(&self.path).map_err(cannot("remove", &self.path))?;
        Ok(of_this_name()?)
    }
}

/// The settings with a drop-in of this text.
fn with_draft(source: &Source, path: &Path, text: &str) -> Result<Settings, ConfigError> {
    let draft = Draft {
        path,
        text: Some(text),
    };
    Ok(load(source, Some(draft))?.settings)
}

/// Writes a drop-in in place of what it was before.
fn put(source: &Source, path: &Path, before: Option<&[u8]>, text: &str) -> Result<(), DropInError> {
    let folder = source.drop_ins();
    fs::create_dir_all(&folder).map_err(cannot("make the folder", &folder))?;
    Ok(file::replace(path, before, text.as_bytes())?)
}

/// The drop-in of [`add_wireguard`].
const WIREGUARD: &str = "setup-wireguard.toml";

/// Adds WireGuard devices to `[wireguard] interfaces`, in a drop-in of their own. Returns
/// its path and the settings with it.
///
/// # Errors
/// A later file has the key too; or what kept the drop-in from being written. Nothing
/// has changed then.
pub fn add_wireguard(
    source: &Source,
    names: &[InterfaceName],
) -> Result<(PathBuf, Settings), DropInError> {
    let path = source.drop_ins().join(WIREGUARD);
    let settings = load(source, None)?.settings;
    let there = settings
        .wireguard_interfaces
        .iter()
        .map(ToString::to_string);
    let all = there.chain(names.iter().map(ToString::to_string));
    let list: Vec<toml::Value> = all.map(toml::Value::String).collect();
    let text = format!(
        "# Made by `wslmesh setup`.\n[wireguard]\ninterfaces = {}\n",
        toml::Value::Array(list)
    );
    let settings = with_draft(source, &path, &text)?;
    let with = &settings.wireguard_interfaces;
    if let Some(name) = names.iter().find(|name| !with.matches(name)) {
        return Err(DropInError::Overruled(path, name.clone()));
    }
    put(source, &path, file::read(&path)?.as_deref(), &text)?;
    Ok((path, settings))
}

/// Whether a file has one forward in it and no other key.
fn is_alone(content: &[u8]) -> bool {
    let table = toml::from_slice::<toml::Table>(content).unwrap_or_default();
    let forwards = table.get("forward").and_then(toml::Value::as_array);
    table.len() == 1 && forwards.is_some_and(|blocks| blocks.len() == 1)
}

#[cfg(test)]
mod tests;
