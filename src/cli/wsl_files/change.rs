//! `wslmesh wslconfig set` and `rollback`

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use rustix::process::geteuid;
use tokio::time::timeout;

use super::{
    super::output::{Exit, print, prose},
    TIMEOUT, in_time, place, shown, version,
};
use crate::{
    doctor::advice,
    fs::{
        file::{self, Fault, FileError},
        history::History,
    },
    interop::{self, Edited, Key, WslFile, edit},
    model::{Severity, excerpt},
    observe,
    paths::Paths,
};

/// What was done with a file.
#[derive(Debug)]
struct Done {
    /// The file.
    path: PathBuf,
    /// Its line and the value before.
    edited: Edited,
    /// Whether it had another value.
    changed: bool,
}

/// Sets a key, and says what was done and what applies it.
pub(in super::super) async fn set(
    file: WslFile,
    user: Option<String>,
    name: &str,
    value: &str,
    paths: &Paths,
) -> anyhow::Result<Exit> {
    let key = file.find(name)?;
    must_be_root(file, "set KEY VALUE")?;
    let (history, text) = (history(paths)?, value.to_owned());
    let write = move || write(file, user.as_deref(), key, &text, &history);
    let Done {
        path,
        edited,
        changed,
    } = in_time(file, write).await?;
    let version = version().await;
    let (place, value) = (format!("{}:{}", shown(&path), edited.line), excerpt(value));
    if !changed {
        print(&format!("{place}: {key} is {value} already"))?;
    } else {
        let before = match (edited.before, key.default) {
            (Some(before), _) => format!("before: {}", excerpt(&before)),
            (None, "") => "new; without it WSL has none".to_owned(),
            (None, default) => format!("new; the default is {default}"),
        };
        print(&format!("{place}: {key}={value} ({before})"))?;
    }
    for line in edited.ignored {
        print(&prose(&format!(
            "line {line} sets it again, which WSL ignores: remove that line"
        )))?;
    }
    if !key.is_in(version.as_deref()) {
        let version = version.unwrap_or_default();
        print(&prose(&format!(
            "WSL {version} does not know it: it needs WSL {}; run `wsl.exe --update` on Windows",
            key.since
        )))?;
    }
    if let Some(machine) = observe::machine(Path::new("/")) {
        // That it is not in force yet is no news.
        let advice = advice(key.name, &value, &machine).into_iter();
        for (_, detail) in advice.filter(|(severity, _)| *severity > Severity::Info) {
            print(&prose(&detail))?;
        }
    }
    if changed {
        restart(file).await?;
        print(&format!(
            "To undo it, run `{}wslmesh {} rollback`",
            sudo(),
            file.command()
        ))?;
    }
    Ok(Exit::Fine)
}

/// How a command is run again with the same rights.
fn sudo() -> &'static str {
    if geteuid().is_root() { "sudo " } else { "" }
}

/// Sets a key: reads, compares, writes and reads back.
fn write(
    file: WslFile,
    user: Option<&str>,
    key: &'static Key,
    value: &str,
    history: &History,
) -> anyhow::Result<Done> {
    let path = place(file, user)?;
    let _alone = history.lock()?;
    let before = file::read(&path).map_err(|error| explained(file, error))?;
    let edited = edit(file, before.as_deref().unwrap_or_default(), key, value);
    let edited = edited.with_context(|| format!("{} is as it was", shown(&path)))?;
    let changed = before.as_ref() != Some(&edited.bytes);
    if changed {
        let kept = history.keep(&path, before.as_deref(), &edited.bytes)?;
        let put = put(file, &path, before.as_deref(), &edited.bytes);
        if put.is_err() && is(&path, before.as_deref()) {
            kept.forget()?;
        }
        put?;
    }
    Ok(Done {
        path,
        edited,
        changed,
    })
}

/// Whether a file has this content.
fn is(path: &Path, content: Option<&[u8]>) -> bool {
    file::read(path).is_ok_and(|now| now.as_deref() == content)
}

/// Gives the file new content; where it cannot be replaced, in place.
fn put(file: WslFile, path: &Path, before: Option<&[u8]>, new: &[u8]) -> anyhow::Result<()> {
    if let Ok(found) = fs::symlink_metadata(path)
        && found.is_file()
        && found.mode() & 0o222 == 0
    {
        let path = shown(path);
        let fix = match file {
            WslFile::Config => "run `attrib -R %UserProfile%\\.wslconfig` on Windows".to_owned(),
            WslFile::Conf => format!("run `sudo chmod u+w {path}`"),
        };
        bail!("{path} is read-only, and is as it was; to allow changes, {fix}");
    }
    let replaced = match (file::replace(path, before, new), before) {
        (Err(error), Some(before)) if in_place(error.fault) => file::overwrite(path, before, new),
        (replaced, _) => replaced,
    };
    replaced.map_err(|error| explained(file, error))
}

/// Whether a file may be writable although it cannot be replaced.
fn in_place(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::MountPoint | Fault::NotKept(_) | Fault::NotPermitted | Fault::Other
    )
}

/// Why a file cannot be read or written, for the person at the terminal.
fn explained(file: WslFile, error: FileError) -> anyhow::Error {
    let path = shown(&error.path);
    match error.fault {
        Fault::Changed => anyhow!(
            "another program changed {path} meanwhile, and it is as that left it; run this again"
        ),
        Fault::ForeignLink => anyhow!(
            "{path} is a symlink in a folder that other users can write, so it is not followed; edit its target by hand"
        ),
        Fault::ParentMissing => anyhow!("the folder of {path} does not exist"),
        Fault::ReadOnly => anyhow!(
            "{path} is on a file system that is mounted read-only; look for `ro` in the mount options ([automount] options of /etc/wsl.conf)"
        ),
        Fault::NotPermitted if file == WslFile::Config => anyhow!(
            "no permission to {} {path}; run this with sudo, or as the user to whom the drive belongs",
            error.doing
        ),
        _ => error.into(),
    }
}

pub(super) async fn rollback(
    file: WslFile,
    user: Option<String>,
    force: bool,
    paths: &Paths,
) -> anyhow::Result<Exit> {
    must_be_root(file, "rollback")?;
    let history = history(paths)?;
    let (path, existed) =
        in_time(file, move || undo(file, user.as_deref(), force, &history)).await?;
    let path = shown(&path);
    print(&match existed {
        true => format!("{path} is as it was before the last set"),
        false => format!("{path} was removed: it did not exist before the last set"),
    })?;
    restart(file).await?;
    Ok(Exit::Fine)
}

/// Undoes the last edit; the path, and whether the file existed before it.
fn undo(
    file: WslFile,
    user: Option<&str>,
    force: bool,
    history: &History,
) -> anyhow::Result<(PathBuf, bool)> {
    let path = place(file, user)?;
    let _alone = history.lock()?;
    let now = file::read(&path).map_err(|error| explained(file, error))?;
    let Some(edit) = history.last(&path, now.as_deref())? else {
        let how = if geteuid().is_root() {
            "without"
        } else {
            "with"
        };
        bail!(
            "there is no edit of {} to undo; what was set {how} sudo is undone {how} sudo",
            shown(&path)
        );
    };
    let theirs = now.as_ref() != Some(&edit.after);
    if theirs && !force {
        bail!(
            "{} was changed since the last set, and is as that left it; `rollback --force` undoes that change, too, and a second `rollback` brings it back",
            shown(&path)
        );
    }
    // What another program wrote is kept as an edit of its own.
    let kept = match (&edit.before, &now) {
        (Some(before), now) if theirs => Some(history.keep(&path, now.as_deref(), before)?),
        (None, Some(_)) if theirs => bail!(
            "{} did not exist before the last set, and was changed since; remove it by hand if it is not needed",
            shown(&path)
        ),
        _ => None,
    };
    let put = match (&edit.before, &now) {
        (Some(before), now) => put(file, &path, now.as_deref(), before),
        (None, Some(now)) => file::remove(&path, now).map_err(|error| explained(file, error)),
        (None, None) => Ok(()),
    };
    if let (Err(_), Some(kept)) = (&put, kept)
        && is(&path, now.as_deref())
    {
        kept.forget()?;
    }
    put?;
    edit.forget()?;
    Ok((path, edit.before.is_some()))
}

/// /etc/wsl.conf is root's.
fn must_be_root(file: WslFile, command: &str) -> anyhow::Result<()> {
    if file == WslFile::Conf && !geteuid().is_root() {
        bail!("/etc/wsl.conf belongs to root: run `sudo wslmesh wslconf {command}`");
    }
    Ok(())
}

/// Where edits are kept: beside the agent's state, or in the user's own state folder.
fn history(paths: &Paths) -> anyhow::Result<History> {
    let folder = if geteuid().is_root() {
        paths.state.clone()
    } else {
        let folder = |name: &str| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
        let state = state.context(
            "there is no place to keep what the file was: set HOME, or run this with sudo",
        )?;
        state.join("wslmesh")
    };
    Ok(History::new(folder.join("wsl-files")))
}

/// Says what applies a change, and what that ends.
async fn restart(file: WslFile) -> anyhow::Result<()> {
    let text = match file {
        WslFile::Config => "To apply it, run `wsl.exe --shutdown` on Windows: that ends all distributions of this user of Windows, with all that runs in them".to_owned(),
        WslFile::Conf => {
            let name = timeout(TIMEOUT, interop::distribution()).await.ok().flatten();
            let name = name.unwrap_or_else(|| "NAME".to_owned());
            format!("To apply it, run `wsl.exe --terminate {name}` on Windows: that ends this distribution, with all that runs in it")
        }
    };
    Ok(print(&prose(&text))?)
}
