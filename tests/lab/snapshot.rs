//! The whole state of the simulated Windows at one moment, to hold two of them
//! against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::double::machine::Machine;
use crate::world::World;

/// The drive, inside the world.
const DRIVE: &str = "/mnt/c";

/// Registry, tasks, firewall, and every file of the Windows drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// All but the files.
    pub(crate) machine: Machine,
    /// By path: a file's bytes, a link's target, or that it is a folder.
    pub(crate) files: BTreeMap<String, Entry>,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    File(Vec<u8>),
    Link(String),
    Folder,
}

impl Snapshot {
    /// For [`Windows::snapshot`](crate::windows::Windows::snapshot).
    pub(crate) fn take(world: &World) -> Result<Self> {
        let mut files = BTreeMap::new();
        collect(world, DRIVE, &mut files)?;
        Ok(Self {
            machine: world.windows().view()?.machine,
            files,
        })
    }

    /// Without what passes between a refresh and the task: the selection and the
    /// answer of every user.
    pub(crate) fn without_messages(mut self) -> Self {
        let message =
            |path: &str| path.ends_with("/selection.json") || path.ends_with("/answer.json");
        self.files.retain(|path, _| !message(path));
        self
    }

    /// Fails with what is different.
    pub(crate) fn is(&self, before: &Self) -> Result<()> {
        let names: BTreeSet<_> = self.files.keys().chain(before.files.keys()).collect();
        let differ = |name: &&&String| self.files.get(**name) != before.files.get(**name);
        let files: Vec<_> = names.iter().filter(differ).collect();
        ensure!(files.is_empty(), "files that are not as before: {files:?}");
        ensure!(
            self.machine == before.machine,
            "Windows is not as before: {:#?}\nbefore: {:#?}",
            self.machine,
            before.machine
        );
        Ok(())
    }
}

fn collect(world: &World, folder: &str, files: &mut BTreeMap<String, Entry>) -> Result<()> {
    let entries = std::fs::read_dir(world.path(folder)).with_context(|| folder.to_owned())?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = Path::new(folder).join(name).to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        let found = if kind.is_symlink() {
            let target = std::fs::read_link(entry.path())?;
            Entry::Link(target.to_string_lossy().into_owned())
        } else if kind.is_dir() {
            collect(world, &path, files)?;
            Entry::Folder
        } else {
            Entry::File(std::fs::read(entry.path())?)
        };
        files.insert(path, found);
    }
    Ok(())
}
