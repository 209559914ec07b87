use std::os::unix::fs::symlink;

use super::*;
use crate::doctor::tests::{machine, write};

#[test]
fn services_of_the_system() {
    let table = [
        ("0::/system.slice/node.service\n", Some("node.service")),
        (
            "0::/system.slice/system-web.slice/web@1.service/inner\n",
            Some("web@1.service"),
        ),
        (
            "9:memory:/\n1:name=systemd:/system.slice/node.service\n",
            Some("node.service"),
        ),
        // What wsl.exe starts, a terminal's shell and a user's own service.
        ("0::/\n", None),
        ("0::/user.slice/user-1000.slice/session-1.scope\n", None),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n",
            None,
        ),
        ("0::/system.slice/x.mount\n", None),
        ("", None),
    ];
    for (groups, unit) in table {
        assert_eq!(service(groups).as_deref(), unit, "{groups}");
    }
}

#[test]
fn containers_of_every_engine() {
    let id = "0123456789abcdef".repeat(4);
    for groups in [
        format!("0::/system.slice/docker-{id}.scope\n"),
        format!("0::/machine.slice/libpod-{id}.scope/container\n"),
        format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope\n"),
        format!("9:memory:/docker/{id}\n1:name=systemd:/docker/{id}\n"),
        format!("0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{id}\n"),
    ] {
        assert_eq!(
            container(&groups).as_deref(),
            Some("container 0123456789ab"),
            "{groups}"
        );
    }
    for groups in ["0::/system.slice/docker.service\n", "0::/docker/abc\n", ""] {
        assert_eq!(container(groups), None, "{groups}");
    }
}

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
    Max processes             31447                31447                processes \n\
    Max open files            4                    524288               files     \n";

/// A process of a service with these open files, by number and target.
fn process(root: &Root, id: &str, groups: &str, files: &[&str]) {
    write(root, &format!("/proc/{id}/comm"), "x\n");
    write(root, &format!("/proc/{id}/cgroup"), groups);
    write(root, &format!("/proc/{id}/limits"), LIMITS);
    write(root, &format!("/proc/{id}/ns/x"), "");
    write(root, &format!("/proc/{id}/fd/x"), "");
    fs::remove_file(root.at(&format!("/proc/{id}/fd/x"))).unwrap();
    for (number, to) in files.iter().enumerate() {
        symlink(to, root.at(&format!("/proc/{id}/fd/{number}"))).unwrap();
    }
}

const C: &str = "90 72 0:46 / /mnt/c rw - 9p C:\\134 rw,aname=drvfs;path=C:\\134\n";

#[test]
fn files_of_services_and_containers_on_drives() {
    let (_folder, root) = machine(&[("/proc/self/mountinfo", C), ("/proc/self/ns/x", "")]);
    let drives = Drives::below(&root.at("/"));
    symlink("mnt:[1]", root.at("/proc/self/ns/mnt")).unwrap();
    let files = ["/dev/null", "/mnt/c/pg/1", "/mnt/c/pg/2", "socket:[7]"];
    process(&root, "7", "0::/system.slice/pg.service\n", &files);
    // A shell has what it likes.
    process(
        &root,
        "8",
        "0::/user.slice/user-0.slice/session-1.scope\n",
        &files,
    );
    let id = "0123456789abcdef".repeat(4);
    let groups = format!("0::/system.slice/docker-{id}.scope\n");
    process(&root, "9", &groups, &["/data/base/1", "/mnt/c/no"]);
    symlink("mnt:[2]", root.at("/proc/9/ns/mnt")).unwrap();
    symlink("/data", root.at("/proc/9/cwd")).unwrap();
    let bound = C.replace(" / /mnt/c ", " /Users/ann/db /data ");
    write(&root, "/proc/9/mountinfo", &bound);
    let found = read(&root, &drives);
    let [service, shell, container] = found.as_slice() else {
        panic!("{found:?}");
    };
    let files = service.files.as_ref().unwrap();
    assert_eq!((files.count, files.example.as_str()), (2, "/mnt/c/pg/1"));
    // A link has all bits in a common folder.
    assert!(files.written);
    let open = service.open.unwrap();
    assert_eq!((open.count, open.limit), (4, 4));
    assert!(shell.files.is_none() && shell.open.is_none());
    assert_eq!(container.service.as_deref(), Some("container 0123456789ab"));
    let files = container.files.as_ref().unwrap();
    assert_eq!((files.count, files.example.as_str()), (2, "/data/base/1"));
    assert_eq!(container.folder, None, "it is no folder of this machine");
}

#[test]
fn limits_of_open_files() {
    assert_eq!(most_files(LIMITS), Some(4));
    assert_eq!(most_files("Max open files unlimited unlimited files"), None);
    assert_eq!(most_files(""), None);
}
