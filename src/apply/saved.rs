//! Values from before the agent changed them, so that `wslmesh restore` and a
//! package removal can put it back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    blocking::BlockingError,
    fs::{
        PathError, cannot,
        file::{self, FileError},
    },
    model::{Action, LinkDns},
};

/// The file's form; that of 0.1.0 has no number.
const VERSION: u64 = 1;

/// Passes and calls to Windows save from threads of their own.
static WRITING: Mutex<()> = Mutex::new(());

/// The file in the state directory.
#[derive(Debug, Clone)]
pub struct Saved {
    path: PathBuf,
}

/// Previous values of one boot: a new kernel starts with its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Values {
    /// The form's version, of that to be written.
    version: u64,
    /// /proc/sys/kernel/random/boot_id of the boot that the values are of.
    pub boot: String,
    /// Parameters by name.
    pub sysctl: BTreeMap<String, Was<String>>,
    /// MTUs by link index, which a new link of an old name does not share.
    pub mtu: BTreeMap<u32, LinkWas>,
    /// Name servers that were set for links, by their index.
    pub zones: BTreeMap<u32, ZonesWere>,
    /// /etc/resolv.conf before it was linked to WSL's.
    pub resolv_conf: Option<ResolvConfWas>,
    /// Whether Windows may have rules of ours; they outlive a boot.
    pub forwards: bool,
}

/// A value that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Was<T> {
    /// Before the agent's change.
    pub before: T,
    /// What the agent set. Another value now means another owner since.
    pub after: T,
}

impl<T: Clone + PartialEq> Was<T> {
    /// What the agent itself set is no previous value; any other one is, whichever program
    /// set it.
    fn noted(earlier: Option<&Self>, from: T, to: T) -> Self {
        let before = match earlier {
            Some(was) if was.after == from => was.before.clone(),
            Some(_) | None => from,
        };
        Self { before, after: to }
    }
}

/// A link's MTU that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkWas {
    /// The link's name.
    pub name: String,
    /// Its MTU.
    #[serde(flatten)]
    pub mtu: Was<u32>,
}

/// The name servers that the agent set for a link, which had none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZonesWere {
    /// The link's name.
    pub name: String,
    /// What was set.
    pub set: LinkDns,
}

/// What was in the place of the link to WSL's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ResolvConfWas {
    /// What was there; `None` for nothing.
    pub before: Option<ResolvConfBefore>,
    /// Where the link leads since then.
    pub target: String,
}

/// A resolv.conf that named no server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResolvConfBefore {
    /// A link to this.
    Link(String),
    /// A file with this content.
    File(String),
}

/// Why previous values could not be saved or read.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// The state directory could not be created.
    #[error("{0}; run as root, or set STATE_DIRECTORY")]
    Folder(PathError),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The disk stalls.
    #[error(
        "cannot save the previous values: {0}; look for disk errors in the kernel's log, or raise the unit's TasksMax= if it is about a thread"
    )]
    Hangs(#[from] BlockingError),
    /// The file has been damaged and cannot be moved.
    #[error("{0}; it is damaged: remove it")]
    SetAside(PathError),
    /// A later wslmesh wrote the file.
    #[error("{} has version {version} of its format, and this wslmesh reads {VERSION}: install the later wslmesh again, or remove the file if you do not need the previous values", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
    /// The file has been damaged.
    #[error("{}: is damaged: {source}; remove it if you do not need the previous values", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        source: serde_json::Error,
    },
}

impl Saved {
    /// The file in a state directory; nothing is read yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("saved.json"),
        }
    }

    /// Reads what is saved of this boot.
    ///
    /// # Errors
    /// See [`SavedError`].
    pub fn load(&self) -> Result<Values, SavedError> {
        let Some(text) = file::read(&self.path)? else {
            return Ok(Values::new(false));
        };
        let found: Value = serde_json::from_slice(&text).map_err(self.damaged())?;
        let version = found.get("version").and_then(Value::as_u64);
        if let Some(version) = version.filter(|version| *version > VERSION) {
            let path = self.path.clone();
            return Err(SavedError::Newer { path, version });
        }
        let found: Values = serde_json::from_value(found).map_err(self.damaged())?;
        let new = Values::new(found.forwards);
        Ok(if found.boot == new.boot { found } else { new })
    }

    /// Whether Windows may have rules of ours, as where it cannot be read.
    #[must_use]
    pub fn rules_may_remain(&self) -> bool {
        self.load().map_or(true, |values| values.forwards)
    }

    /// Moves a damaged file aside, so that values are saved again. Those in it are lost, and
    /// Windows may have rules of ours.
    fn set_aside(&self, why: &serde_json::Error) -> Result<Values, SavedError> {
        let to = file::set_aside(&self.path).map_err(cannot("move aside", &self.path));
        let to = to.map_err(SavedError::SetAside)?;
        tracing::warn!(
            event = "state",
            "{} is damaged ({why}) and was moved to {}; `wslmesh restore` restores values that are saved from now on",
            self.path.display(),
            to.display()
        );
        Ok(Values::new(true))
    }

    fn damaged(&self) -> impl FnOnce(serde_json::Error) -> SavedError {
        let path = self.path.clone();
        |source| SavedError::Damaged { path, source }
    }

    /// Saves what these actions are about to replace, in one write, before any
    /// of them. Nothing is written where nothing is new.
    ///
    /// # Errors
    /// See [`SavedError`]; the actions must then not be carried out.
    pub fn remember(&self, actions: &[Action]) -> Result<(), SavedError> {
        self.update(|values| actions.iter().for_each(|action| values.note(action)))
    }

    /// Changes the saved values and writes them if they differ.
    ///
    /// # Errors
    /// See [`SavedError`].
    pub fn update(&self, change: impl FnOnce(&mut Values)) -> Result<(), SavedError> {
        let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, moved) = match self.load() {
            Err(SavedError::Damaged { source, .. }) => (self.set_aside(&source)?, true),
            loaded => (loaded?, false),
        };
        let mut after = before.clone();
        change(&mut after);
        if after == before && !moved {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            let made = fs::create_dir_all(folder);
            let made = made.map_err(cannot("create the state directory", folder));
            made.map_err(SavedError::Folder)?;
        }
        after.version = VERSION;
        let text = serde_json::to_vec_pretty(&after).map_err(self.damaged())?;
        Ok(file::write(&self.path, &text, 0o644)?)
    }
}

impl Values {
    /// None of this boot yet.
    fn new(forwards: bool) -> Self {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            boot: id.trim().to_owned(),
            forwards,
            ..Self::default()
        }
    }

    /// Notes what one action replaces.
    fn note(&mut self, action: &Action) {
        match action {
            Action::WriteSysctl(change) => {
                let key = change.key.to_string();
                let (from, to) = (change.from.to_string(), change.to.to_string());
                let was = Was::noted(self.sysctl.get(&key), from, to);
                self.sysctl.insert(key, was);
            }
            Action::SetMtu(change) => {
                let earlier = self.mtu.get(&change.index).map(|was| &was.mtu);
                let mtu = Was::noted(earlier, change.from, change.to);
                let name = change.name.to_string();
                // An interface that was created again has left its old index.
                self.mtu
                    .retain(|index, was| *index == change.index || was.name != name);
                self.mtu.insert(change.index, LinkWas { name, mtu });
            }
            Action::WriteNetworkFile(_)
            | Action::SetKeepalive(_)
            | Action::ClaimPort(_)
            | Action::SyncForwards(_)
            | Action::SyncRelay(..) => {}
        }
    }
}

#[cfg(test)]
mod tests;
