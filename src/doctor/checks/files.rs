//! Owners and modes of files, and work on Windows drives.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    doctor::{
        facts::{DriveFiles, Facts, Guarded, Secrecy},
        verdict::{Judged, Verdict, all, beside_hidden, info, list, warning},
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
        let fix = match local.drives.without_metadata(&file.real) {
            Some(_) => "Move the key into the Linux file system: on that drive `chmod` has no effect (`files-metadata`)".to_owned(),
            None => format!("Run `chmod 600 {path}`"),
        };
        (mode & OTHERS != 0).then(|| warning(format!("others can read {path} (mode {mode:o})")).fix(fix))
    });
    let verdict = all(found, counted(keys.len(), "key"));
    Ok(beside_hidden(verdict, !keys.is_empty(), &local.hidden_keys))
}

/// Paths that are named at most.
const NAMED: usize = 3;

pub(crate) fn metadata(facts: &Facts) -> Judged {
    let conf = facts.wsl_conf()?;
    let local = facts.local()?;
    // By drive: whether a key is open to others there, and what is there.
    let mut drives: BTreeMap<String, (bool, BTreeSet<String>)> = BTreeMap::new();
    let mut add = |path: &str, is_open: bool, text: String| {
        if let Some(drive) = local.drives.without_metadata(path) {
            let of = drives.entry(drive).or_default();
            of.0 |= is_open;
            of.1.insert(text);
        }
    };
    for file in local.guarded.iter().filter(|file| file.state.is_some()) {
        let is_open = file.state.is_some_and(|(_, mode)| mode & OTHERS != 0);
        add(&file.real, is_open, file.path.clone());
    }
    for process in &local.processes {
        // Ours has to start Windows programs, and a container's paths are its own.
        let is_service = |name: &&str| name.ends_with(".service") && *name != "wslmesh.service";
        let Some(service) = process.service.as_deref().filter(is_service) else {
            continue;
        };
        let words = process.arguments.split(' ').take(2);
        let scripts = words.filter(|word| word.starts_with('/'));
        for path in process.program.as_deref().into_iter().chain(scripts) {
            add(path, false, format!("{path} ({service})"));
        }
    }
    let options = conf.get("automount.options").unwrap_or_default();
    let options = match options.trim_matches(',') {
        "" => "metadata".to_owned(),
        options => format!("{options},metadata"),
    };
    let fix = format!(
        "Move them into the Linux file system; else run `sudo wslmesh wslconf set automount.options {options}`, then `wsl.exe --shutdown` on Windows, and set the modes anew"
    );
    let found = drives.into_iter().map(|(drive, (is_open, paths))| {
        let named = list(paths.iter().take(NAMED));
        let more = match paths.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let detail = format!(
            "{drive} is mounted without metadata, so that `chmod` and `chown` have no effect on {named}{more}"
        );
        let verdict: fn(String) -> Verdict = if is_open { warning } else { info };
        verdict(detail).fix(&fix)
    });
    Ok(all(found, "none needs them on a drive that has none"))
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
    let data = local.data_root.as_ref();
    let data = data.filter(|data| local.drives.hold(data)).map(|data| {
        warning(format!(
            "docker keeps its images and containers on a Windows drive, in {data} (data-root in /etc/docker/daemon.json)"
        ))
        .fix("Stop docker, move the folder below /var/lib, and correct data-root in /etc/docker/daemon.json")
    });
    // People may work where they like, and our keep-alive does. The agent has to start
    // Windows programs from there.
    let others = local.processes.iter().filter_map(|process| {
        let service = process.service.as_deref()?;
        (service != "wslmesh.service").then_some((service, process))
    });
    let working = others.clone().filter_map(|(service, process)| {
        let folder = process.folder.as_deref()?;
        local
            .drives
            .hold(folder)
            .then(|| format!("{service} works in {folder}"))
    });
    let working: BTreeSet<String> = working.collect();
    let mut files: BTreeMap<&str, DriveFiles> = BTreeMap::new();
    for (service, process) in others {
        if let Some(found) = &process.files {
            let all = files.entry(service).or_default();
            let count = all.count + found.count;
            all.add(found.example.clone(), found.written);
            all.count = count;
        }
    }
    let files = files.into_iter().map(|(service, files)| {
        let (count, example) = (counted(files.count, "file"), &files.example);
        match files.written {
            true => warning(format!(
                "{service} has {count} open on a Windows drive and writes there, such as {example}"
            )),
            false => info(format!(
                "{service} has {count} open on a Windows drive, such as {example}"
            )),
        }
    });
    let working = working.into_iter().map(info);
    let found = file.into_iter().chain(data).chain(files).chain(working);
    let hidden = match facts.root {
        true => Vec::new(),
        false => vec!["open files of services".to_owned()],
    };
    Ok(beside_hidden(all(found, "none"), true, &hidden))
}

#[cfg(test)]
mod tests;
