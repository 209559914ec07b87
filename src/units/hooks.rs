//! The hooks of an administrator, and which of them may be run: they run as root.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{
    fs::own::{Trust, only_owner_writes, resolve_trusted},
    model::{Code, Finding},
};

/// Longest name, so that a unit's name can be made of it.
const LONGEST: usize = 64;

/// A program that may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The file's name.
    pub name: String,
    /// The file in the folder.
    pub path: PathBuf,
    /// The file itself, all symlinks resolved.
    pub program: PathBuf,
}

/// The hooks in a folder, by name, and those that are refused; none without a folder.
/// What is not executable, hidden or a backup is left out, as run-parts(8) does.
/// Blocks where a symlink leads to a file system that does not answer.
///
/// # Errors
/// The folder cannot be read now.
pub(super) fn hooks(folder: &Path, trust: &Trust) -> Result<(Vec<Hook>, Vec<Finding>), Finding> {
    let (mut hooks, mut findings) = (Vec::new(), Vec::new());
    let names = names(folder).map_err(|error| {
        let why = format!("the folder cannot be read: {error} (as root: chmod 755 the folder)");
        refused(folder, why)
    })?;
    if !names.is_empty()
        && let Err(why) = resolve_trusted(folder, trust)
    {
        let finding = refused(folder, format!("no hook below it is run: {why}"));
        return Ok((hooks, vec![finding]));
    }
    for name in names {
        match hook(folder, &name, trust) {
            Ok(hook) => hooks.extend(hook),
            Err(why) => findings.push(refused(&folder.join(&name), why)),
        }
    }
    Ok((hooks, findings))
}

/// Checks a hook again, just before it is run; `None` where it was removed or
/// is no hook any more. Blocks as [`hooks`] does.
pub(super) fn check_again(hook: &Hook, trust: &Trust) -> Result<Option<Hook>, Finding> {
    let folder = hook.path.parent().unwrap_or(Path::new("/"));
    self::hook(folder, &hook.name, trust).map_err(|why| refused(&hook.path, why))
}

pub(super) fn refused(path: &Path, why: String) -> Finding {
    Finding::new(Code::HookRefused, path.display().to_string(), why)
}

/// The names in a folder that are not left out, in order; none where there is no folder.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let name =
        |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = entries.map(name).collect::<io::Result<Vec<String>>>()?;
    names.retain(|name| !is_left_out(name));
    names.sort();
    Ok(names)
}

/// Whether a name is an editor's or a package manager's.
fn is_left_out(name: &str) -> bool {
    const BACKUPS: [&str; 8] = [
        "~", ".bak", ".orig", ".rpmsave", ".rpmnew", ".rpmorig", ".swp", ".ucf-old",
    ];
    name.starts_with('.')
        || name.contains(".dpkg-")
        || BACKUPS.iter().any(|ending| name.ends_with(ending))
}

/// A hook that may be run, nothing for a file that is not executable, or why it is
/// refused.
fn hook(folder: &Path, name: &str, trust: &Trust) -> Result<Option<Hook>, String> {
    let path = folder.join(name);
    if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let program = resolve_trusted(&path, trust)?;
    let meta = fs::metadata(&program).map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is not a regular file (put a program there)".to_owned());
    }
    if meta.mode() & 0o111 == 0 {
        return Ok(None);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.len() > LONGEST || !name.chars().all(plain) {
        return Err(format!(
            "a hook's name has up to {LONGEST} letters, digits, - _ and . only (rename it)"
        ));
    }
    only_owner_writes(&program, &meta, trust)?;
    Ok(Some(Hook {
        name: name.to_owned(),
        path,
        program,
    }))
}

#[cfg(test)]
mod tests;
