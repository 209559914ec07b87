//! The network file in every bad state: nothing of its owner is lost, and the
//! agent says what is wrong and what to do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::CONFIG;
use crate::control::Status;
use crate::options::Options;
use crate::process::Output;
use crate::runner::trial_with;
use crate::topology::FIRST;
use crate::world::World;

/// The values of every key on this machine, as a file that is right has them.
const RIGHT: &str = "WSL_IP=\"172.28.16.5\"\nWSL_NETWORK=\"172.28.16.0/20\"\n";

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("network_file::foreign_bytes_stay", foreign_bytes_stay),
        quick("network_file::unreadable_is_left_alone", unreadable),
        quick("network_file::symlinks_stay", symlinks_stay),
        quick("network_file::foreign_files_are_left_alone", foreign_files),
        quick("network_file::read_only_directory", read_only_directory),
        quick("network_file::is_a_mount_point", mount_point),
        quick("network_file::full_disk", full_disk),
        quick("network_file::missing_parent", missing_parent),
    ]
}

/// `wslmesh apply` with the network file at `path`.
fn apply(world: &World, path: &str) -> Result<Output> {
    world.write(CONFIG, format!("[network]\nconfig-file = \"{path}\"\n"))?;
    world.wslmesh(&["apply", "--config", CONFIG])
}

fn foreign_bytes_stay(world: &World) -> Result<()> {
    // Before; and the start of what must be there after, the rest being keys of
    // ours that were missing.
    let table = [
        (
            "CRLF",
            "A=1\r\nWSL_IP=\"old\"\r\n# c \r\n",
            "A=1\r\nWSL_IP=\"172.28.16.5\"\r\n# c \r\n",
        ),
        (
            "no last newline",
            "\n\nA='x y'\nWSL_IP=old",
            "\n\nA='x y'\nWSL_IP=172.28.16.5",
        ),
        (
            "export and indentation",
            "\texport  WSL_IP=old\nexport A\n",
            "\texport  WSL_IP=172.28.16.5\nexport A\n",
        ),
        (
            "single quotes",
            "WSL_IP='$old`' \nB='it'\\''s'\n",
            "WSL_IP='172.28.16.5' \nB='it'\\''s'\n",
        ),
        (
            "duplicates",
            "WSL_IP=1\nB=2\nWSL_IP='3'\nexport WSL_IP=\"4\"\n",
            "WSL_IP=172.28.16.5\nB=2\nWSL_IP='172.28.16.5'\nexport WSL_IP=\"172.28.16.5\"\n",
        ),
        (
            "comments behind values",
            "WSL_IP=\"old\"\t# it's \"mine\nB=1#no\n",
            "WSL_IP=\"172.28.16.5\"\t# it's \"mine\nB=1#no\n",
        ),
        (
            "a foreign value of several lines with our name in it",
            "B=\"x\nWSL_IPS=no\n\"\nWSL_IP=\n",
            "B=\"x\nWSL_IPS=no\n\"\nWSL_IP=172.28.16.5\n",
        ),
        ("empty", "", "WSL_IP=\"172.28.16.5\"\n"),
    ];
    for (number, (case, before, head)) in table.into_iter().enumerate() {
        let path = format!("/etc/wslmesh/{number}.conf");
        world.write(&path, before)?;
        fs::set_permissions(world.path(&path), fs::Permissions::from_mode(0o640))?;
        let output = apply(world, &path)?;
        ensure!(output.success(), "{case}: {output:?}");
        let after = world.read(&path)?;
        let rest = after
            .strip_prefix(head)
            .with_context(|| format!("{case}: {after:?}"))?;
        for line in rest.split('\n').filter(|line| !line.trim().is_empty()) {
            let plain = line.starts_with(|c: char| c.is_ascii_uppercase());
            ensure!(plain && line.contains("=\""), "{case}: {line:?}");
            ensure!(
                line.ends_with('\r') == before.contains('\r'),
                "{case}: line ends are mixed: {after:?}"
            );
        }
        ensure!(
            after.ends_with('\n') == (before.is_empty() || before.ends_with('\n')),
            "{case}: {after:?}"
        );
        let end = if before.contains('\r') { "\r" } else { "" };
        ensure!(
            world.sourced_from(&path, &["WSL_IP", "WSL_GATEWAY"])?
                == [format!("{FIRST}{end}"), format!("172.28.16.1{end}")],
            "{case}: {after:?}"
        );
        let mode = fs::metadata(world.path(&path))?.permissions().mode();
        ensure!(mode & 0o7777 == 0o640, "{case}: mode {mode:o}");
        // Once it is right it is not written again.
        let inode = fs::metadata(world.path(&path))?.ino();
        ensure!(apply(world, &path)?.stdout.starts_with("nothing to do"));
        ensure!(fs::metadata(world.path(&path))?.ino() == inode, "{case}");
    }
    Ok(())
}

/// What cannot be read or parsed stays as it is, and the error names the fix.
fn unreadable(world: &World) -> Result<()> {
    let big = "#".repeat(2 << 20);
    let contents: [(&str, &[u8], &str); 6] = [
        (
            "quote",
            b"A=1\nWSL_IP=\"x\nB=2\n",
            "line 2: the quote behind WSL_IP=",
        ),
        (
            "foreign-quote",
            b"WSL_IP=\nB='x\n",
            "line 2: a quote or a substitution",
        ),
        ("binary", b"\x7fELF\x02\x01\0\0\xff", "a NUL byte"),
        (
            "latin1",
            b"# f\xfcr\nWSL_IP=\n",
            "line 1: bytes that are not UTF-8",
        ),
        (
            "substitution",
            b"WSL_IP=$(hostname -I)\n",
            "line 1: the value of WSL_IP",
        ),
        ("big", big.as_bytes(), "bigger than 1 MiB"),
    ];
    for (name, before, said) in contents {
        let path = format!("/etc/wslmesh/{name}");
        world.write(&path, before)?;
        let inode = fs::metadata(world.path(&path))?.ino();
        refused(world, &path, said)?;
        ensure!(fs::read(world.path(&path))? == before, "{name} was changed");
        ensure!(fs::metadata(world.path(&path))?.ino() == inode, "{name}");
    }
    fs::create_dir(world.path("/etc/wslmesh/directory"))?;
    world.write("/etc/wslmesh/directory/inside", "x")?;
    refused(world, "/etc/wslmesh/directory", "is a directory")?;
    ensure!(world.read("/etc/wslmesh/directory/inside")? == "x");
    world.guest(&["mkfifo", "/etc/wslmesh/fifo"])?.ok()?;
    refused(world, "/etc/wslmesh/fifo", "no regular file but a pipe")?;
    ensure!(!fs::symlink_metadata(world.path("/etc/wslmesh/fifo"))?.is_file());
    symlink("round", world.path("/etc/wslmesh/round"))?;
    refused(world, "/etc/wslmesh/round", "leads in a circle")?;
    let left = world.names("/etc/wslmesh")?;
    ensure!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
    Ok(())
}

/// `apply` does everything else, says `network-file-unreadable` with this and
/// the fix, and calls the node degraded.
fn refused(world: &World, path: &str, said: &str) -> Result<()> {
    let output = apply(world, path)?;
    let line = output
        .stdout
        .lines()
        .find(|line| line.starts_with("error: network-file-unreadable"))
        .with_context(|| format!("{path}: {output:?}"))?;
    ensure!(line.contains(said) && line.contains(path), "{line}");
    ensure!(line.contains("Correct the file, or move it away"), "{line}");
    ensure!(output.status == Status::Code(3), "{output:?}");
    ensure!(
        world.sysctl("net.ipv4.tcp_keepalive_time")? == "60",
        "the parameters were forgotten"
    );
    Ok(())
}

fn symlinks_stay(world: &World) -> Result<()> {
    fs::create_dir(world.path("/etc/wslmesh/real"))?;
    for (name, target, real) in [
        ("absolute", "/etc/wslmesh/real/a", "/etc/wslmesh/real/a"),
        ("relative", "real/b", "/etc/wslmesh/real/b"),
        ("dangling", "real/../real/c", "/etc/wslmesh/real/c"),
        ("second", "absolute", "/etc/wslmesh/real/a"),
    ] {
        let link = format!("/etc/wslmesh/{name}");
        symlink(target, world.path(&link))?;
        if name != "dangling" {
            world.write(real, "# mine\nWSL_IP=old\n")?;
        }
        // Through the world's eyes: an absolute link leads elsewhere outside.
        let output = apply(world, &link)?;
        ensure!(output.success(), "{name}: {output:?}");
        ensure!(
            fs::read_link(world.path(&link))? == Path::new(target),
            "{name}"
        );
        ensure!(world.sourced_from(&link, &["WSL_IP"])? == [FIRST], "{name}");
        let text = world.read(real)?;
        ensure!(
            name == "dangling" || text.starts_with("# mine\nWSL_IP=172"),
            "{name}: {text}"
        );
    }
    // A folder in the way of what a link names.
    symlink("no/such/folder/x", world.path("/etc/wslmesh/lost"))?;
    unwritable(world, "/etc/wslmesh/lost", "does not exist")
}

/// Another program's file, and one that another user could lead the agent to.
fn foreign_files(world: &World) -> Result<()> {
    let users = "root:x:0:0:root:/root:/bin/bash\n";
    let keys = "WSL_IP=old\n";
    world.write("/etc/wslmesh/users", users)?;
    world.write("/etc/wslmesh/keys", keys)?;
    let shared = world.path("/etc/wslmesh/shared");
    fs::create_dir(&shared)?;
    symlink("../users", shared.join("users"))?;
    symlink("../keys", shared.join("keys"))?;
    symlink("..", shared.join("up"))?;
    let refused = |path: &str, said: &str| -> Result<()> {
        let output = apply(world, path)?;
        let unreadable =
            |line: &str| line.starts_with("error: network-file-unreadable") && line.contains(said);
        ensure!(output.stdout.lines().any(unreadable), "{path}: {output:?}");
        ensure!(world.read("/etc/wslmesh/users")? == users, "{path}");
        ensure!(world.read("/etc/wslmesh/keys")? == keys, "{path}");
        Ok(())
    };
    refused("/etc/wslmesh/shared/users", "has no key of wslmesh")?;
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777))?;
    for path in ["shared/users", "shared/keys", "shared/up/keys"] {
        refused(
            &format!("/etc/wslmesh/{path}"),
            "is a symlink in a directory that users other than root can write",
        )?;
    }
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755))?;
    ensure!(apply(world, "/etc/wslmesh/shared/up/keys")?.success());
    ensure!(world.read("/etc/wslmesh/keys")?.starts_with("WSL_IP=172"));
    Ok(())
}

/// `apply` says `network-file-unwritable` with this and the fix.
fn unwritable(world: &World, path: &str, said: &str) -> Result<()> {
    let output = apply(world, path)?;
    let line = output
        .stdout
        .lines()
        .find(|line| line.starts_with("error: network-file-unwritable"))
        .with_context(|| format!("{path}: {output:?}"))?;
    ensure!(line.contains(said), "{line}");
    ensure!(
        line.contains("Free disk space or correct the permissions"),
        "{line}"
    );
    ensure!(output.status == Status::Code(3), "{output:?}");
    Ok(())
}

fn read_only_directory(world: &World) -> Result<()> {
    world.write("/etc/wslmesh/there/file", RIGHT.replace(FIRST, "10.0.0.1"))?;
    let agent_sees = "/etc/wslmesh/there/file";
    world.shell(
        "mount --bind /etc/wslmesh/there /etc/wslmesh/there \
         && mount -o remount,bind,ro /etc/wslmesh/there",
    )?;
    unwritable(world, agent_sees, "on a read-only file system")?;
    ensure!(world.read(agent_sees)? == RIGHT.replace(FIRST, "10.0.0.1"));
    ensure!(world.names("/etc/wslmesh/there")?.len() == 1);
    world.shell("umount /etc/wslmesh/there")?;
    ensure!(apply(world, agent_sees)?.success());
    ensure!(world.read(agent_sees)?.starts_with(RIGHT));
    Ok(())
}

/// Nothing can be renamed over a mount point.
fn mount_point(world: &World) -> Result<()> {
    let before = RIGHT.replace(FIRST, "10.0.0.1");
    world.write("/etc/wslmesh/there/file", &before)?;
    world.write("/tmp/over", &before)?;
    world.shell("mount --bind /tmp/over /etc/wslmesh/there/file")?;
    unwritable(world, "/etc/wslmesh/there/file", "is a mount point")?;
    ensure!(
        world.read("/tmp/over")? == before,
        "written through the mount"
    );
    let left = world.names("/etc/wslmesh/there")?;
    ensure!(left.len() == 1, "{left:?}");
    world.shell("umount /etc/wslmesh/there/file")?;
    ensure!(world.read("/etc/wslmesh/there/file")? == before);
    Ok(())
}

/// The old file stays, and once there is space the agent writes by itself.
fn full_disk(world: &World) -> Result<()> {
    world
        .shell("mkdir /etc/wslmesh/small && mount -t tmpfs -o size=64k small /etc/wslmesh/small")?;
    let path = "/etc/wslmesh/small/file";
    let before = format!("# mine\n{}", RIGHT.replace(FIRST, "10.0.0.1"));
    world.write(path, &before)?;
    let filled = world.guest(&["sh", "-c", "cat /dev/zero > /etc/wslmesh/small/fill"])?;
    ensure!(!filled.success(), "the disk is not full");
    unwritable(world, path, "no space left")?;
    let agent = world.start_agent(&format!("[network]\nconfig-file = \"{path}\"\n"))?;
    let found = agent.ill("network-file-unwritable")?;
    ensure!(found.detail.contains("the old file stays"), "{found:?}");
    ensure!(world.read(path)? == before);
    ensure!(world.names("/etc/wslmesh/small")?.len() == 2);
    fs::remove_file(world.path("/etc/wslmesh/small/fill"))?;
    agent.healthy()?;
    ensure!(world.read(path)?.starts_with(&format!("# mine\n{RIGHT}")));
    ensure!(world.names("/etc/wslmesh/small")?.len() == 1);
    agent.stop()
}

fn missing_parent(world: &World) -> Result<()> {
    let path = "/etc/wslmesh/no/such/file";
    unwritable(
        world,
        path,
        "the directory of /etc/wslmesh/no/such/file does not exist",
    )?;
    ensure!(!world.path("/etc/wslmesh/no").exists());
    world.write("/etc/wslmesh/plain", "")?;
    let output = apply(world, "/etc/wslmesh/plain/file")?;
    ensure!(output.status == Status::Code(3), "{output:?}");
    ensure!(world.read("/etc/wslmesh/plain")?.is_empty());
    Ok(())
}
