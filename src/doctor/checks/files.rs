//! Owners and modes of files, and work on Windows drives.

use std::collections::BTreeSet;

use crate::{
    doctor::{
        facts::{Facts, Guarded, Secrecy},
        verdict::{Judged, all, beside_hidden, info, warning},
    },
    fs::own::OTHERS_WRITE,
    model::counted,
};

/// All bits of group and others.
const OTHERS: u32 = 0o077;

pub(crate) fn own(facts: &Facts) -> Judged {
    let problem = |file: &Guarded| match (file.secrecy, file.state) {
        (Secrecy::Secret, _) => None,
        // A running agent made its folders; without one they are made later.
        (Secrecy::OwnFolder, None) if facts.agent.is_some() => Some("no longer exists".to_owned()),
        (_, Some((owner, _))) if owner != 0 => {
            Some(format!("belongs to user {owner} and not to root"))
        }
        (_, Some((_, mode))) if mode & OTHERS_WRITE != 0 => {
            Some(format!("can be written by others (mode {mode:o})"))
        }
        _ => None,
    };
    let found = facts.local()?.guarded.iter();
    let found = found.filter_map(|file| Some(warning(format!("{} {}", file.path, problem(file)?))));
    Ok(all(found, "only root can write them"))
}

pub(crate) fn keys(facts: &Facts) -> Judged {
    let local = facts.local()?;
    let mut keys: Vec<&Guarded> = local.guarded.iter().collect();
    keys.retain(|file| file.secrecy == Secrecy::Secret);
    let found = keys.iter().filter_map(|file| {
        let (path, (_, mode)) = (&file.path, file.state?);
        let fix = if local.drives.hold(path) {
            "Move the key into the Linux file system; on a Windows drive `chmod` needs [automount] options=\"metadata\" in /etc/wsl.conf".to_owned()
        } else {
            format!("Run `chmod 600 {path}`")
        };
        (mode & OTHERS != 0).then(|| warning(format!("others can read {path} (mode {mode:o})")).fix(fix))
    });
    let verdict = all(found, counted(keys.len(), "key"));
    Ok(beside_hidden(verdict, !keys.is_empty(), &local.hidden_keys))
}

pub(crate) fn drives(facts: &Facts) -> Judged {
    facts.wsl()?;
    let file = facts.settings()?.config_file.display().to_string();
    let local = facts.local()?;
    let file = local.drives.hold(&file).then(|| {
        warning(format!(
            "the network file {file} is on a Windows drive, which can be missing or slow when it is needed"
        ))
    });
    let working = local.processes.iter().filter_map(|process| {
        // People may work where they like, and our keep-alive does.
        let (folder, service) = (process.folder.as_deref()?, process.service.as_deref()?);
        // The agent has to start Windows programs from there.
        let other = service != "wslmesh.service";
        (local.drives.hold(folder) && other).then(|| format!("{service} works in {folder}"))
    });
    let working: BTreeSet<String> = working.collect();
    let found = file.into_iter().chain(working.into_iter().map(info));
    Ok(all(found, "none"))
}

#[cfg(test)]
mod tests;
