//! Who may read and write what, and where it lies.

use super::super::{
    facts::{Facts, Guarded, Secrecy, beside_hidden, some},
    verdict::{Judged, Verdict},
};

/// Write bits of group and others.
const OTHERS_WRITE: u32 = 0o022;
/// All bits of group and others.
const OTHERS: u32 = 0o077;

fn secret(facts: &Facts) -> impl Iterator<Item = &Guarded> {
    let files = facts.guarded.iter();
    files.filter(|file| file.secrecy == Secrecy::Secret)
}

pub(in crate::doctor) fn own(facts: &Facts) -> Judged {
    let own = facts.guarded.iter();
    let parts = own
        .filter(|file| file.secrecy != Secrecy::Secret)
        .filter_map(|file| {
            let path = &file.path;
            let Some((owner, mode)) = file.state else {
                // A running agent made its folders; without one they are made later.
                let lost = facts.agent.is_some() && file.secrecy == Secrecy::OwnFolder;
                return lost.then(|| Verdict::warning(format!("{path} is not there any more")));
            };
            if owner != 0 {
                Some(Verdict::warning(format!(
                    "{path} belongs to user {owner} and not to root"
                )))
            } else if mode & OTHERS_WRITE != 0 {
                Some(Verdict::warning(format!(
                    "{path} can be written by others (mode {mode:o})"
                )))
            } else {
                None
            }
        });
    Ok(Verdict::worst(parts.collect(), || {
        "root's alone".to_owned()
    }))
}

pub(in crate::doctor) fn keys(facts: &Facts) -> Judged {
    let open = secret(facts).filter_map(|file| {
        let (_, mode) = file.state?;
        (mode & OTHERS != 0).then(|| (file.path.clone(), mode))
    });
    let open: Vec<(String, u32)> = open.collect();
    let Some((first, _)) = open.first() else {
        let seen = secret(facts).count();
        let verdict = Verdict::ok(match seen {
            0 => "there is none".to_owned(),
            1 => "1 key".to_owned(),
            seen => format!("{seen} keys"),
        });
        return beside_hidden(verdict, seen > 0, &facts.hidden_keys);
    };
    let shown: Vec<String> = open
        .iter()
        .map(|(path, mode)| format!("{path} (mode {mode:o})"))
        .collect();
    let remediation = if on_windows(first, facts) {
        "Move the key into the Linux file system; on a Windows drive `chmod` needs [automount] options=\"metadata\" in /etc/wsl.conf".to_owned()
    } else {
        format!("Run `chmod 600 {first}`")
    };
    beside_hidden(
        Verdict::warning(some(&shown)).remediation(remediation),
        true,
        &facts.hidden_keys,
    )
}

/// Whether a path is on a drive of Windows.
fn on_windows(path: &str, facts: &Facts) -> bool {
    let root = facts.wsl_conf("automount", "root").unwrap_or("/mnt");
    let below = path.strip_prefix(root.trim_end_matches('/'));
    let mut drive = below
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or_default()
        .chars();
    let letter = drive.next().is_some_and(|c| c.is_ascii_lowercase());
    facts.wsl.is && letter && matches!(drive.next(), None | Some('/'))
}

pub(in crate::doctor) fn drives(facts: &Facts) -> Judged {
    facts.wsl()?;
    let settings = facts.settings()?;
    let file = settings.config_file.display().to_string();
    let mut parts = Vec::new();
    if on_windows(&file, facts) {
        parts.push(Verdict::warning(format!(
            "the network file {file} is on a Windows drive, which may be gone or slow when it is needed"
        )));
    }
    let working = facts.processes.iter().filter_map(|process| {
        let folder = process.folder.as_deref()?;
        // The way to Windows programs has to begin there.
        let ours = process.name.starts_with("wslmesh") || process.name == "init";
        (on_windows(folder, facts) && !ours).then(|| format!("{} in {folder}", process.name))
    });
    let mut working: Vec<String> = working.collect();
    working.sort();
    working.dedup();
    if !working.is_empty() {
        parts.push(Verdict::note(format!("at work there: {}", some(&working))));
    }
    Ok(Verdict::worst(parts, || "none is".to_owned()))
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
            "lost": |f| file(f, "/var/lib/wslmesh", OwnFolder, None) => Warning, "not there any more";
            "a file need not be": |f| file(f, "/etc/wslmesh/x", Own, None) => Ok, "root's";
            "not made yet": |f| { f.agent = None; file(f, "/var/lib/wslmesh", OwnFolder, None) } => Ok, "root's";
        }
        table! { Check::FilesKeys;
            "open": |f| file(f, "/root/.ssh/id_rsa", Secret, Some((0, 0o644))) => Warning, "/root/.ssh/id_rsa (mode 644)";
            "gone": |f| file(f, "/root/.ssh/id_rsa", Secret, None) => Ok, "1 key";
            "none": |f| f.guarded.clear() => Ok, "none";
            "none to be seen": |f| { f.guarded.clear(); hide(f) } => Skipped, "needs root: /etc/wireguard";
            "some to be seen": hide => Ok, "1 key (needs root: /etc/wireguard)";
            "open beside": |f| { file(f, "/root/.ssh/id_rsa", Secret, Some((0, 0o644))); hide(f) } => Warning, "(mode 644) (needs root";
        }
        let mut facts = crate::doctor::testing::healthy();
        file(
            &mut facts,
            "/mnt/c/Users/a/.ssh/id_rsa",
            Secret,
            Some((0, 0o777)),
        );
        let remediation = keys(&facts).unwrap().remediation.unwrap();
        assert!(remediation.contains("metadata"), "{remediation}");
        file(&mut facts, "/root/.ssh/id_rsa", Secret, Some((0, 0o644)));
        assert_eq!(
            keys(&facts).unwrap().remediation.unwrap(),
            "Run `chmod 600 /root/.ssh/id_rsa`"
        );
    }

    #[test]
    fn work_on_drives_of_windows() {
        table! { Check::FilesDrives;
            "elsewhere": Facts::elsewhere => Skipped, "not WSL";
            "the network file": |f| f.settings.as_mut().unwrap().config_file = "/mnt/c/x.conf".into() => Warning, "/mnt/c/x.conf";
            "a service": |f| works(f, "node", "/mnt/d") => Note, "node in /mnt/d";
            "ourselves": |f| works(f, "wslmesh-relay", "/mnt/c") => Ok, "none";
            "no drive": |f| works(f, "node", "/mnt/wsl/x") => Ok, "none";
            "another root": |f| {
                f.wsl_conf = Text::Content(Ini::parse("[automount]\nroot=/"));
                works(f, "node", "/c/Users");
            } => Note, "/c/Users";
        }
    }
}
