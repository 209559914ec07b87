//! The network file and the agent's folders in every bad state: nothing of the
//! file's owner is lost, health says what is wrong and what to do, and the rest
//! of the work is done.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::control::Status;
use crate::fault_agent::{Agent, CONFIG, FILE, LONG};
use crate::options::{AGENT, Options};
use crate::process::{HUP, KILL, Output};
use crate::runner::trial_with;
use crate::world::{World, until};

const FIRST: &str = "172.28.16.5";
const SECOND: &str = "172.28.30.7";
/// The values of every key on this machine, as a file that is right has them.
const RIGHT: &str = "WSL_IP=\"172.28.16.5\"\nWSL_NETWORK=\"172.28.16.0/20\"\n";

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, body: fn(&World) -> Result<()>| {
        trial_with(&format!("file_faults::{name}"), Options::quick(), body)
    };
    vec![
        trial("foreign_bytes_stay", foreign_bytes_stay),
        trial("unreadable_files_are_left_alone", unreadable),
        trial("symlinks_stay", symlinks_stay),
        trial("read_only_directory", read_only_directory),
        trial("file_is_a_mount_point", mount_point),
        trial("full_disk", full_disk),
        trial("missing_parent", missing_parent),
        trial("another_writer", another_writer),
        trial("readers_see_whole_files", readers_see_whole_files),
        trial("killed_at_any_moment", killed_at_any_moment),
        trial("state_read_only", state_read_only),
        trial("state_damaged", state_damaged),
        trial("runtime_directory_missing", runtime_missing),
    ]
}

/// `wslmesh apply` with the network file at `path`.
fn apply(world: &World, path: &str) -> Result<Output> {
    world.write(CONFIG, format!("[network]\nconfig-file = \"{path}\"\n"))?;
    world.guest(&[AGENT, "apply", "--config", CONFIG])
}

/// What a shell finds in the file: the names' values, in brackets.
fn sourced(world: &World, path: &str, names: &[&str]) -> Result<String> {
    let script = names.iter().fold(format!(". {path}"), |script, name| {
        format!("{script}; printf '[%s]' \"${name}\"")
    });
    world.guest(&["sh", "-ec", &script])?.ok()
}

/// The names in a folder of the world.
fn names(world: &World, folder: &str) -> Result<BTreeSet<String>> {
    fs::read_dir(world.path(folder))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
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
            sourced(world, &path, &["WSL_IP", "WSL_GATEWAY"])?
                == format!("[{FIRST}{end}][172.28.16.1{end}]"),
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

/// What cannot be read or understood stays as it is, with a word on the cure.
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
    let left = names(world, "/etc/wslmesh")?;
    ensure!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
    Ok(())
}

/// `apply` does everything else, says `network-file-unreadable` with this and
/// the cure, and calls the node degraded.
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
        world
            .guest(&["sysctl", "-n", "net.ipv4.tcp_keepalive_time"])?
            .ok()?
            == "60\n",
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
        ensure!(
            sourced(world, &link, &["WSL_IP"])? == format!("[{FIRST}]"),
            "{name}"
        );
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

/// `apply` says `network-file-unwritable` with this and the cure.
fn unwritable(world: &World, path: &str, said: &str) -> Result<()> {
    let output = apply(world, path)?;
    let line = output
        .stdout
        .lines()
        .find(|line| line.starts_with("error: network-file-unwritable"))
        .with_context(|| format!("{path}: {output:?}"))?;
    ensure!(line.contains(said), "{line}");
    ensure!(
        line.contains("Free space or correct the permissions"),
        "{line}"
    );
    ensure!(output.status == Status::Code(3), "{output:?}");
    Ok(())
}

fn mount(world: &World, script: &str) -> Result<()> {
    world.guest(&["sh", "-ec", script])?.ok().map(drop)
}

fn read_only_directory(world: &World) -> Result<()> {
    world.write("/etc/wslmesh/there/file", RIGHT.replace(FIRST, "10.0.0.1"))?;
    let agent_sees = "/etc/wslmesh/there/file";
    mount(
        world,
        "mount --bind /etc/wslmesh/there /etc/wslmesh/there && mount -o remount,bind,ro /etc/wslmesh/there",
    )?;
    unwritable(world, agent_sees, "on a read-only file system")?;
    ensure!(world.read(agent_sees)? == RIGHT.replace(FIRST, "10.0.0.1"));
    ensure!(names(world, "/etc/wslmesh/there")?.len() == 1);
    mount(world, "umount /etc/wslmesh/there")?;
    ensure!(apply(world, agent_sees)?.success());
    ensure!(world.read(agent_sees)?.starts_with(RIGHT));
    Ok(())
}

/// Nothing can be renamed over a mount point.
fn mount_point(world: &World) -> Result<()> {
    let before = RIGHT.replace(FIRST, "10.0.0.1");
    world.write("/etc/wslmesh/there/file", &before)?;
    world.write("/tmp/over", &before)?;
    mount(world, "mount --bind /tmp/over /etc/wslmesh/there/file")?;
    unwritable(world, "/etc/wslmesh/there/file", "is a mount point")?;
    ensure!(
        world.read("/tmp/over")? == before,
        "written through the mount"
    );
    let left = names(world, "/etc/wslmesh/there")?;
    ensure!(left.len() == 1, "{left:?}");
    mount(world, "umount /etc/wslmesh/there/file")?;
    ensure!(world.read("/etc/wslmesh/there/file")? == before);
    Ok(())
}

/// The old file stays, and once there is space the agent writes by itself.
fn full_disk(world: &World) -> Result<()> {
    mount(
        world,
        "mkdir /etc/wslmesh/small && mount -t tmpfs -o size=64k small /etc/wslmesh/small",
    )?;
    let path = "/etc/wslmesh/small/file";
    let before = format!("# mine\n{}", RIGHT.replace(FIRST, "10.0.0.1"));
    world.write(path, &before)?;
    let filled = world.guest(&["sh", "-c", "cat /dev/zero > /etc/wslmesh/small/fill"])?;
    ensure!(!filled.success(), "the disk is not full");
    unwritable(world, path, "no space left")?;
    let agent = Agent::start(world, &format!("[network]\nconfig-file = \"{path}\"\n"))?;
    let found = agent.ill("network-file-unwritable")?;
    ensure!(found.detail.contains("the old file stays"), "{found:?}");
    ensure!(world.read(path)? == before);
    ensure!(names(world, "/etc/wslmesh/small")?.len() == 2);
    fs::remove_file(world.path("/etc/wslmesh/small/fill"))?;
    agent.healthy()?;
    ensure!(world.read(path)?.starts_with(&format!("# mine\n{RIGHT}")));
    ensure!(names(world, "/etc/wslmesh/small")?.len() == 1);
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

/// A program that writes the same file, whole, without end, while the address
/// changes: in the end both have had their way.
fn another_writer(world: &World) -> Result<()> {
    let agent = Agent::start(world, "")?;
    agent.has_written(FIRST)?;
    let writer = world.spawn_guest(
        &[
            "sh",
            "-ec",
            "i=0; while :; do i=$((i + 1)); sed '/^THEIRS=/d' $0 > /etc/wslmesh/new; echo \"THEIRS=$i\" >> /etc/wslmesh/new; mv /etc/wslmesh/new $0; done",
            FILE,
        ],
        &[],
    )?;
    for round in 0..6 {
        let address = if round % 2 == 0 { SECOND } else { FIRST };
        world.change_address(&format!("{address}/20"))?;
        std::thread::sleep(Duration::from_millis(80));
    }
    ensure!(
        writer.wait(Duration::ZERO)?.is_none(),
        "{}",
        writer.stderr()?
    );
    writer.signal(KILL)?;
    writer.wait(LONG)?;
    // The writer may have put back an old address last; nobody tells the agent.
    agent.process().signal(HUP)?;
    agent.has_written(FIRST)?;
    ensure!(
        world.read(FILE)?.contains("\nTHEIRS="),
        "their line is lost"
    );
    agent.healthy()?;
    agent.stop()
}

/// What a reader saw: address, network and gateway of one moment. The values
/// of the two moments share none of the three.
fn reader<'w>(world: &'w World) -> Result<crate::process::Process<'w>> {
    let script = "while :; do ( . $0; echo \"$WSL_IP $WSL_NETWORK $WSL_GATEWAY\" ); done";
    world.spawn_guest(&["sh", "-c", script, FILE], &[])
}

const STATES: [(&str, &str); 2] = [
    ("172.28.16.5/20", "172.28.16.5 172.28.16.0/20 172.28.16.1"),
    ("10.77.0.9/16", "10.77.0.9 10.77.0.0/16 10.77.0.1"),
];

fn whole_states(seen: &str) -> Result<usize> {
    // The last line may be half written.
    let lines: Vec<&str> = seen
        .rsplit_once('\n')
        .map_or("", |(whole, _)| whole)
        .lines()
        .collect();
    for line in &lines {
        ensure!(
            STATES.iter().any(|(_, state)| state == line),
            "a mixture: {line:?}"
        );
    }
    let changes = lines
        .windows(2)
        .filter(|pair| pair.first() != pair.last())
        .count();
    Ok(changes)
}

fn flip(world: &World, round: usize) -> Result<()> {
    let (address, _) = STATES.get(round % 2).context("two states")?;
    world.change_address(address)
}

fn readers_see_whole_files(world: &World) -> Result<()> {
    let agent = Agent::start(world, "")?;
    agent.has_written(FIRST)?;
    let reader = reader(world)?;
    for round in 1..=10 {
        flip(world, round)?;
        let (address, _) = STATES.get(round % 2).context("two states")?;
        agent.has_written(address.split('/').next().unwrap_or_default())?;
    }
    ensure!(reader.wait(Duration::ZERO)?.is_none());
    let changes = whole_states(&reader.stdout()?)?;
    ensure!(changes >= 2, "the reader saw {changes} changes only");
    ensure!(reader.stderr()?.is_empty(), "{}", reader.stderr()?);
    agent.stop()
}

/// Both addresses in turn without end, each as a new start of WSL gives it.
const FLIPPER: &str = "while :; do for a in 10.77.0.9/16:10.77.0.1 172.28.16.5/20:172.28.16.1; do
printf 'addr flush dev eth0\naddr add %s dev eth0\nroute add default via %s\n' ${a%:*} ${a#*:} | ip -4 -batch -
done; done";

/// SIGKILL at 30 moments while the agent writes without end.
fn killed_at_any_moment(world: &World) -> Result<()> {
    // No quiet time: every event is a pass, and nearly every pass a write.
    let config = "[network]\nsettle = \"0ms\"\n";
    Agent::start(world, config)?.has_written(FIRST)?;
    let reader = reader(world)?;
    let flipper = world.spawn_guest(&["sh", "-c", FLIPPER], &[])?;
    let mut left_behind = 0;
    for round in 1..=30_u64 {
        let agent = Agent::start(world, config)?;
        // Another moment each time, 0 to 20 ms after the start, in no order.
        std::thread::sleep(Duration::from_micros((round * 7919) % 20_000));
        agent.process().signal(KILL)?;
        agent.process().wait(LONG)?.context("it lives")?;
        left_behind = left_behind.max(temporary(world)?);
    }
    ensure!(flipper.wait(Duration::ZERO)?.is_none());
    flipper.signal(KILL)?;
    flipper.wait(LONG)?;
    ensure!(reader.wait(Duration::ZERO)?.is_none());
    let changes = whole_states(&reader.stdout()?)?;
    ensure!(changes >= 2, "the reader saw {changes} changes only");
    ensure!(reader.stderr()?.is_empty(), "{}", reader.stderr()?);
    // As the last killed write would have left it, if none did.
    world.write("/etc/wslmesh/.wslmesh-wsl-network.conf.aB3xY9", "WSL_IP=")?;
    // A last one in peace: it converges, and its write takes the leftovers along.
    flip(world, 1)?;
    let agent = Agent::start(world, config)?;
    agent.has_written("10.77.0.9")?;
    flip(world, 2)?;
    agent.has_written(FIRST)?;
    agent.healthy()?;
    until("the end of all temporary files", LONG, || {
        Ok((temporary(world)? == 0).then_some(()))
    })
    .with_context(|| format!("{left_behind} were seen"))?;
    agent.stop()
}

fn temporary(world: &World) -> Result<usize> {
    Ok(names(world, "/etc/wslmesh")?
        .iter()
        .filter(|name| name.starts_with(".wslmesh-"))
        .count())
}

/// Whether the agent has left the parameter and the tunnel's MTU alone.
fn untouched(world: &World) -> Result<bool> {
    let time = world
        .guest(&["sysctl", "-n", "net.ipv4.tcp_keepalive_time"])?
        .ok()?;
    let link = world.guest(&["ip", "link", "show", "wg9"])?.ok()?;
    Ok(time == "7200\n" && link.contains("mtu 1500"))
}

fn tunnel(world: &World) -> Result<()> {
    // Any link of that name counts as a tunnel.
    let made = "ip link add wg9 type veth peer name wg9peer && ip link set wg9 mtu 1500";
    mount(world, made)
}

fn waits_for_its_state(world: &World, agent: &Agent, said: &str) -> Result<()> {
    let all = until("state-unwritable", LONG, || {
        let health = agent.health()?;
        Ok(health
            .iter()
            .any(|one| one.code == "state-unwritable")
            .then_some(health))
    })?;
    ensure!(
        all.iter().all(|one| one.code == "state-unwritable"),
        "{all:?}"
    );
    ensure!(all.iter().any(|one| one.detail.contains(said)), "{all:?}");
    ensure!(
        agent.log()?.contains("Make the state directory writable"),
        "{}",
        agent.log()?
    );
    // The main work goes on.
    agent.has_written(FIRST)?;
    world.change_address(&format!("{SECOND}/20"))?;
    agent.has_written(SECOND)?;
    ensure!(untouched(world)?, "changed what cannot be put back");
    Ok(())
}

/// Above what could be made: the folder of the folder is read-only.
fn state_read_only(world: &World) -> Result<()> {
    tunnel(world)?;
    let state = "/var/lib/sealed/wslmesh";
    mount(
        world,
        "mkdir -p /var/lib/sealed && mount --bind /var/lib/sealed /var/lib/sealed && mount -o remount,bind,ro /var/lib/sealed",
    )?;
    let agent = Agent::start_with(world, "", &[("STATE_DIRECTORY", state)])?;
    waits_for_its_state(
        world,
        &agent,
        "cannot make the state directory /var/lib/sealed/wslmesh",
    )?;
    mount(world, "umount /var/lib/sealed")?;
    agent.process().signal(HUP)?;
    agent.healthy()?;
    until("the parameters", LONG, || {
        Ok((!untouched(world)?).then_some(()))
    })?;
    let saved = world.read(format!("{state}/saved.json"))?;
    ensure!(saved.contains("\"before\": \"7200\""), "{saved}");
    agent.stop()
}

fn state_damaged(world: &World) -> Result<()> {
    tunnel(world)?;
    let damaged = "{\"boot\":\"x\",\"sysctl\":{";
    world.write("/var/lib/wslmesh/saved.json", damaged)?;
    let agent = Agent::start(world, "")?;
    waits_for_its_state(world, &agent, "saved.json: is damaged")?;
    ensure!(world.read("/var/lib/wslmesh/saved.json")? == damaged);
    // The cure of the message: remove it.
    fs::remove_file(world.path("/var/lib/wslmesh/saved.json"))?;
    agent.process().signal(HUP)?;
    agent.healthy()?;
    let link = world.guest(&["ip", "link", "show", "wg9"])?.ok()?;
    ensure!(link.contains("mtu 1280"), "{link}");
    agent.stop()
}

fn runtime_missing(world: &World) -> Result<()> {
    // Not there, and not to be made: the lab's /usr is read-only.
    let agent = Agent::start_with(world, "", &[("RUNTIME_DIRECTORY", "/usr/not/there")])?;
    for address in [SECOND, FIRST, SECOND] {
        world.change_address(&format!("{address}/20"))?;
        agent.has_written(address)?;
    }
    let log = agent.log()?;
    ensure!(log.matches("no status document").count() == 1, "{log}");
    ensure!(!world.path("/usr/not").exists());
    agent.stop()
}
