use super::*;
use crate::{
    doctor::{facts::Process, tests::table},
    interop::{Drives, ini::Ini},
};

fn file(facts: &mut Facts, path: &str, secrecy: Secrecy, state: Option<(u32, u32)>) {
    let path = path.to_owned();
    facts.local_mut().guarded = vec![Guarded {
        real: path.clone(),
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
        folder: Some(folder.into()),
        service: (!service.is_empty()).then(|| service.into()),
        ..Process::default()
    });
}

fn has_open(facts: &mut Facts, service: &str, files: &[(&str, bool)]) {
    let mut open = DriveFiles::default();
    for (path, writes) in files {
        open.add((*path).to_owned(), *writes);
    }
    facts.local_mut().processes.push(Process {
        service: Some(service.into()),
        files: Some(open),
        ..Process::default()
    });
}

fn runs(facts: &mut Facts, service: &str, program: &str, arguments: &str) {
    facts.local_mut().processes.push(Process {
        program: Some(program.into()),
        arguments: arguments.into(),
        service: Some(service.into()),
        ..Process::default()
    });
}

fn conf(facts: &mut Facts, text: &str) {
    facts.local_mut().wsl_conf = Ok(Some(Ini::wsl_conf(text.as_bytes())));
}

/// C: with metadata, D: without.
const DRIVES: &str = "90 72 0:46 / /mnt/c rw - 9p C:\\134 rw,aname=drvfs;path=C:\\134;metadata;umask=22\n\
    91 72 0:47 / /mnt/d rw - 9p D:\\134 rw,aname=drvfs;path=D:\\134\n";

#[test]
fn modes_on_drives() {
    use Secrecy::Secret;
    table! { "files-metadata";
        "elsewhere": Facts::elsewhere => Skipped, "not WSL";
        "an open key": |f| file(f, "/mnt/c/k/id_rsa", Secret, Some((0, 0o777))) => Warning, "C: (/mnt/c) is mounted without metadata, so that `chmod` and `chown` have no effect on /mnt/c/k/id_rsa";
        "one that a mask closes": |f| file(f, "/mnt/c/k/id_rsa", Secret, Some((0, 0o700))) => Info, "/mnt/c/k/id_rsa";
        "gone": |f| file(f, "/mnt/c/k/id_rsa", Secret, None) => Ok, "none needs them";
        "a program": |f| runs(f, "x.service", "/mnt/c/x", "x") => Info, "/mnt/c/x (x.service)";
        "a script": |f| runs(f, "x.service", "/usr/bin/sh", "sh /srv/d/x.sh /srv/d/data") => Info, "D: (/srv/d) is mounted without metadata, so that `chmod` and `chown` have no effect on /srv/d/x.sh (x.service)";
        "many": |f| for n in 0..5 { runs(f, "x.service", &format!("/mnt/c/{n}"), "") } => Info, "/mnt/c/2 (x.service) and 2 more";
        "ours": |f| runs(f, "wslmesh.service", "/mnt/c/x", "") => Ok, "none needs them";
        "a container's": |f| runs(f, "container 0123456789ab", "/mnt/c/x", "") => Ok, "none needs them";
    }
    let mut facts = crate::doctor::tests::healthy();
    facts.local_mut().drives = Drives::of(DRIVES.as_bytes(), b"", |_| None);
    file(&mut facts, "/mnt/c/k/id_rsa", Secret, Some((0, 0o777)));
    assert_eq!(metadata(&facts).unwrap().name(), "ok");
    assert_eq!(
        keys(&facts).unwrap().remediation().unwrap(),
        "Run `chmod 600 /mnt/c/k/id_rsa`"
    );
    // What is set there already stays.
    runs(&mut facts, "x.service", "/mnt/d/x", "");
    for (text, set) in [
        ("", "options metadata`"),
        (
            "[automount]\noptions=umask=22,fmask=11\n",
            "options umask=22,fmask=11,metadata`",
        ),
    ] {
        conf(&mut facts, text);
        let verdict = metadata(&facts).unwrap();
        let fix = verdict.remediation().unwrap();
        assert!(fix.contains(set), "{fix}");
    }
    // The link is in the home, the key on the drive.
    file(
        &mut facts,
        "/home/ann/.ssh/id_rsa",
        Secret,
        Some((0, 0o777)),
    );
    facts.local_mut().guarded[0].real = "/mnt/d/ann/id_rsa".into();
    let verdict = metadata(&facts).unwrap();
    assert_eq!(verdict.name(), "warning");
    assert!(verdict.detail().contains("/home/ann/.ssh/id_rsa"));
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
    assert!(remediation.contains("files-metadata"), "{remediation}");
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
        "reads": |f| has_open(f, "web.service", &[("/mnt/c/1", false)]) => Info, "web.service has 1 file open on a Windows drive, such as /mnt/c/1";
        "writes": |f| has_open(f, "pg.service", &[("/mnt/c/1", false), ("/mnt/c/2", true)]) => Warning, "pg.service has 2 files open on a Windows drive and writes there, such as /mnt/c/2";
        "several processes": |f| { has_open(f, "pg.service", &[("/mnt/c/1", false)]); has_open(f, "pg.service", &[("/mnt/c/2", true)]) } => Warning, "pg.service has 2 files";
        "a container": |f| has_open(f, "container 0123456789ab", &[("/data/1", true)]) => Warning, "container 0123456789ab has 1 file";
        "ours": |f| has_open(f, "wslmesh.service", &[("/mnt/c/1", true)]) => Ok, "none";
        "docker's data": |f| f.local_mut().data_root = Some("/mnt/c/docker".into()) => Warning, "in /mnt/c/docker (data-root";
        "docker's data elsewhere": |f| f.local_mut().data_root = Some("/srv/docker".into()) => Ok, "none";
        "not root": |f| f.root = false => Ok, "none (needs root: open files of services)";
    }
}
