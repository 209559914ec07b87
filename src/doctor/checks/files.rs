//! Owners and modes of files, and work on Windows drives.

use crate::doctor::{
    facts::{Facts, Guarded, Secrecy},
    verdict::{Judged, all, beside_hidden, count, info, warning},
};

/// Write bits of group and others.
const OTHERS_WRITE: u32 = 0o022;
/// All bits of group and others.
const OTHERS: u32 = 0o077;

pub(crate) fn own(facts: &Facts) -> Judged {
    let problem = |file: &Guarded| match (file.secrecy, file.state) {
        (Secrecy::Secret, _) => None,
        // A running agent made its folders; without one they are made later.
        (Secrecy::OwnFolder, None) if facts.agent.is_some() => Some("no longer exists".to_owned()),
        (Secrecy::Own | Secrecy::OwnFolder, None) => None,
        (_, Some((owner, _))) if owner != 0 => {
            Some(format!("belongs to user {owner} and not to root"))
        }
        (_, Some((_, mode))) if mode & OTHERS_WRITE != 0 => {
            Some(format!("can be written by others (mode {mode:o})"))
        }
        (_, Some(_)) => None,
    };
    let found = facts.guarded.iter();
    let found = found.filter_map(|file| Some(warning(format!("{} {}", file.path, problem(file)?))));
    Ok(all(found, || "only root can write them".to_owned()))
}

pub(crate) fn keys(facts: &Facts) -> Judged {
    let files = facts.guarded.iter();
    let keys: Vec<&Guarded> = files
        .filter(|file| file.secrecy == Secrecy::Secret)
        .collect();
    let found = keys.iter().filter_map(|file| {
        let (path, (_, mode)) = (&file.path, file.state?);
        let fix = if on_windows(path, facts) {
            "Move the key into the Linux file system; on a Windows drive `chmod` needs [automount] options=\"metadata\" in /etc/wsl.conf".to_owned()
        } else {
            format!("Run `chmod 600 {path}`")
        };
        (mode & OTHERS != 0).then(|| warning(format!("others can read {path} (mode {mode:o})")).fix(fix))
    });
    let verdict = all(found, || count(keys.len(), "key", "keys"));
    Ok(beside_hidden(verdict, !keys.is_empty(), &facts.hidden_keys))
}

/// Whether a path is on a drive of Windows.
fn on_windows(path: &str, facts: &Facts) -> bool {
    let root = facts.wsl_conf("automount", "root").unwrap_or("/mnt");
    let below = path.strip_prefix(root.trim_end_matches('/'));
    let below = below.and_then(|rest| rest.strip_prefix('/'));
    let mut drive = below.unwrap_or_default().chars();
    let letter = drive.next().is_some_and(|c| c.is_ascii_lowercase());
    facts.wsl.is && letter && matches!(drive.next(), None | Some('/'))
}

pub(crate) fn drives(facts: &Facts) -> Judged {
    facts.wsl()?;
    let file = facts.settings()?.config_file.display().to_string();
    let file = on_windows(&file, facts).then(|| {
        warning(format!(
            "the network file {file} is on a Windows drive, which can be missing or slow when it is needed"
        ))
    });
    let working = facts.processes.iter().filter_map(|process| {
        let folder = process.folder.as_deref()?;
        // The agent has to start Windows programs from there.
        let ours = process.name.starts_with("wslmesh") || process.name == "init";
        (on_windows(folder, facts) && !ours).then(|| format!("{} works in {folder}", process.name))
    });
    let mut working: Vec<String> = working.collect();
    working.sort();
    working.dedup();
    let found = file.into_iter().chain(working.into_iter().map(info));
    Ok(all(found, || "none".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{
            Check,
            facts::{Process, Text},
            testing::table,
        },
        interop::ini::Ini,
    };

    fn file(facts: &mut Facts, path: &str, secrecy: Secrecy, state: Option<(u32, u32)>) {
        let path = path.to_owned();
        facts.guarded = vec![Guarded {
            path,
            secrecy,
            state,
        }];
    }

    fn hide(facts: &mut Facts) {
        facts.hidden_keys.push("/etc/wireguard".into());
    }

    fn works(facts: &mut Facts, name: &str, folder: &str) {
        facts.processes.push(Process {
            name: name.into(),
            arguments: String::new(),
            folder: Some(folder.into()),
        });
    }

    #[test]
    fn owners_and_modes() {
        use Secrecy::{Own, OwnFolder, Secret};
        table! { Check::FilesOwn;
            "another's": |f| file(f, "/etc/wslmesh", Own, Some((1000, 0o755))) => Warning, "user 1000";
            "open": |f| file(f, "/etc/wslmesh", Own, Some((0, 0o757))) => Warning, "mode 757";
            "lost": |f| file(f, "/var/lib/wslmesh", OwnFolder, None) => Warning, "no longer exists";
            "a file need not be": |f| file(f, "/etc/wslmesh/x", Own, None) => Ok, "only root";
            "not created yet": |f| { f.agent = None; file(f, "/var/lib/wslmesh", OwnFolder, None) } => Ok, "only root";
        }
        table! { Check::FilesKeys;
            "open": |f| file(f, "/root/.ssh/id_rsa", Secret, Some((0, 0o644))) => Warning, "/root/.ssh/id_rsa (mode 644)";
            "gone": |f| file(f, "/root/.ssh/id_rsa", Secret, None) => Ok, "1 key";
            "none": |f| f.guarded.clear() => Ok, "0 keys";
            "none readable": |f| { f.guarded.clear(); hide(f) } => Skipped, "needs root: /etc/wireguard";
            "some readable": hide => Ok, "1 key (needs root: /etc/wireguard)";
            "open beside": |f| { file(f, "/root/.ssh/id_rsa", Secret, Some((0, 0o644))); hide(f) } => Warning, "(mode 644) (needs root";
        }
        let mut facts = crate::doctor::testing::healthy();
        file(
            &mut facts,
            "/mnt/c/Users/a/.ssh/id_rsa",
            Secret,
            Some((0, 0o777)),
        );
        let verdict = keys(&facts).unwrap();
        let remediation = verdict.remediation().unwrap();
        assert!(remediation.contains("metadata"), "{remediation}");
        file(&mut facts, "/root/.ssh/id_rsa", Secret, Some((0, 0o644)));
        assert_eq!(
            keys(&facts).unwrap().remediation().unwrap(),
            "Run `chmod 600 /root/.ssh/id_rsa`"
        );
    }

    #[test]
    fn work_on_drives_of_windows() {
        table! { Check::FilesDrives;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "the network file": |f| f.settings.as_mut().unwrap().config_file = "/mnt/c/x.conf".into() => Warning, "/mnt/c/x.conf";
            "a service": |f| works(f, "node", "/mnt/d") => Info, "node works in /mnt/d";
            "wslmesh": |f| works(f, "wslmesh-relay", "/mnt/c") => Ok, "none";
            "no drive": |f| works(f, "node", "/mnt/wsl/x") => Ok, "none";
            "another root": |f| {
                f.wsl_conf = Text::Content(Ini::parse("[automount]\nroot=/"));
                works(f, "node", "/c/Users");
            } => Info, "/c/Users";
        }
    }
}
