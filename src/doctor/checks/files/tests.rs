use super::*;
use crate::doctor::{facts::Process, tests::table};

fn file(facts: &mut Facts, path: &str, secrecy: Secrecy, state: Option<(u32, u32)>) {
    let path = path.to_owned();
    facts.local_mut().guarded = vec![Guarded {
        path,
        secrecy,
        state,
    }];
}

fn hide(facts: &mut Facts) {
    facts.local_mut().hidden_keys.push("/etc/wireguard".into());
}

fn works(facts: &mut Facts, service: &str, folder: &str) {
    facts.local_mut().processes.push(Process {
        name: "node".into(),
        arguments: String::new(),
        folder: Some(folder.into()),
        service: (!service.is_empty()).then(|| service.into()),
    });
}

#[test]
fn owners_and_modes() {
    use Secrecy::{Own, OwnFolder, Secret};
    table! { "files-own";
        "another's": |f| file(f, "/etc/wslmesh", Own, Some((1000, 0o755))) => Warning, "user 1000";
        "open": |f| file(f, "/etc/wslmesh", Own, Some((0, 0o757))) => Warning, "mode 757";
        "lost": |f| file(f, "/var/lib/wslmesh", OwnFolder, None) => Warning, "no longer exists";
        "a file need not be": |f| file(f, "/etc/wslmesh/x", Own, None) => Ok, "only root";
        "not created yet": |f| { f.agent = None; file(f, "/var/lib/wslmesh", OwnFolder, None) } => Ok, "only root";
    }
    table! { "files-keys";
        "open": |f| file(f, "/root/.ssh/id_rsa", Secret, Some((0, 0o644))) => Warning, "/root/.ssh/id_rsa (mode 644)";
        "gone": |f| file(f, "/root/.ssh/id_rsa", Secret, None) => Ok, "1 key";
        "none": |f| f.local_mut().guarded.clear() => Ok, "0 keys";
        "none readable": |f| { f.local_mut().guarded.clear(); hide(f) } => Skipped, "needs root: /etc/wireguard";
        "some readable": hide => Ok, "1 key (needs root: /etc/wireguard)";
        "open beside": |f| { file(f, "/root/.ssh/id_rsa", Secret, Some((0, 0o644))); hide(f) } => Warning, "(mode 644) (needs root";
    }
    let mut facts = crate::doctor::tests::healthy();
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
    table! { "files-drives";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "the network file": |f| f.settings.as_mut().unwrap().config_file = "/mnt/c/x.conf".into() => Warning, "/mnt/c/x.conf";
        "a service": |f| works(f, "node.service", "/mnt/c/x") => Info, "node.service works in /mnt/c/x";
        "on a drive elsewhere": |f| works(f, "node.service", "/srv/d") => Info, "/srv/d";
        "wslmesh": |f| works(f, "wslmesh.service", "/mnt/c") => Ok, "none";
        "a shell": |f| works(f, "", "/mnt/c/Users") => Ok, "none";
        "no drive": |f| works(f, "node.service", "/mnt/d/x") => Ok, "none";
    }
}
