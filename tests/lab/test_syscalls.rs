//! System calls that fail: whichever it is, no command panics or leaves half a file, and an
//! agent lives on, says why and heals.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::agent::{CONFIG, FILE, LIMIT, config};
use crate::control::Status;
use crate::options::Options;
use crate::process::Output;
use crate::runner::{trial_alone, trial_with};
use crate::topology::{FIRST, SECOND};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    let commands = CASES.iter().map(|case| {
        let name = format!("syscalls::each_fails_once_in_{}", case.name);
        trial_alone(&name, || {
            let world = World::start(&Options::quick())?;
            case.each_fails_once(&world)
        })
    });
    let agent = [
        quick(
            "syscalls::invalid_is_not_unreadable",
            invalid_is_not_unreadable,
        ),
        quick("syscalls::agent_heals", agent_heals),
        quick("syscalls::hooks_wait_for_a_thread", hooks_wait_for_a_thread),
    ];
    commands.chain(agent).collect()
}

/// How each kind of call fails, by its manual page. Left out is what cannot fail, what a
/// program has no answer to (memory, and descriptors that it closes), and pairs of sockets:
/// tokio panics where its own fails, and the program's comes before it, so that none fails
/// alone.
const ERRORS: [(&str, &str); 40] = [
    ("bind", "EADDRINUSE"),
    ("chmod", "EPERM"),
    ("clone3", "EAGAIN"),
    ("connect", "EAGAIN"),
    ("epoll_create1", "EMFILE"),
    ("epoll_ctl", "ENOSPC"),
    ("epoll_wait", "EINTR"),
    ("eventfd2", "EMFILE"),
    ("fchmod", "EPERM"),
    ("fchown", "EPERM"),
    ("fcntl", "EMFILE"),
    ("fdatasync", "EIO"),
    ("fgetxattr", "EIO"),
    ("flock", "ENOLCK"),
    ("fsetxattr", "ENOSPC"),
    ("fstat", "EIO"),
    ("fsync", "EIO"),
    ("ftruncate", "EIO"),
    ("getdents64", "EIO"),
    ("getsockname", "ENOBUFS"),
    ("getsockopt", "ENOMEM"),
    ("linkat", "ENOSPC"),
    ("lseek", "EIO"),
    ("mkdir", "ENOSPC"),
    ("newfstatat", "EIO"),
    ("openat", "EMFILE"),
    ("pipe2", "EMFILE"),
    ("poll", "EINTR"),
    ("pread64", "EIO"),
    ("read", "EIO"),
    ("readlink", "EIO"),
    ("readlinkat", "EIO"),
    ("recvfrom", "ENOBUFS"),
    ("rename", "EROFS"),
    ("renameat", "EROFS"),
    ("renameat2", "EROFS"),
    ("sendto", "ENOBUFS"),
    ("setsockopt", "ENOMEM"),
    ("socket", "EMFILE"),
    ("statx", "EIO"),
];

/// Besides these: a disk that is full. Other things that are written to cannot be.
const FULL: (&str, &str) = ("write", "ENOSPC");

/// Folders whose files are old or new, and where nothing else is left.
const FOLDERS: [&str; 3] = [
    "/etc/wslmesh",
    "/etc/wslmesh/wslmesh.toml.d",
    "/var/lib/wslmesh",
];

type Files = BTreeMap<String, Vec<u8>>;

fn files(world: &World) -> Result<Files> {
    let mut found = Files::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(world.path(folder)).into_iter().flatten() {
            let entry = entry?;
            let path = Path::new(folder).join(entry.file_name());
            if entry.file_type()?.is_file() {
                found.insert(path.display().to_string(), fs::read(entry.path())?);
            }
        }
    }
    Ok(found)
}

fn put_back(world: &World, before: &Files) -> Result<()> {
    let now = files(world)?;
    for path in now.keys().filter(|path| !before.contains_key(*path)) {
        fs::remove_file(world.path(path))?;
    }
    for (path, text) in before
        .iter()
        .filter(|(path, text)| now.get(*path) != Some(text))
    {
        world.write(path, text)?;
    }
    Ok(())
}

/// Whether a file is the same. Keys may have come in two passes, in another order.
fn same(one: &[u8], other: &[u8]) -> bool {
    let lines = |text| {
        String::from_utf8_lossy(text)
            .lines()
            .map(str::to_owned)
            .collect()
    };
    let (one, other): (BTreeSet<_>, BTreeSet<_>) = (lines(one), lines(other));
    one == other
}

/// A command, and a line of `sh` before each try.
struct Case {
    name: &'static str,
    before: &'static str,
    command: &'static str,
}

const CASES: [Case; 9] = [
    Case {
        name: "apply",
        before: "sysctl -qw net.ipv4.tcp_keepalive_time=7200",
        command: "apply",
    },
    Case {
        name: "restore",
        before: "sysctl -qw net.ipv4.tcp_keepalive_time=60",
        command: "restore",
    },
    Case {
        name: "plan",
        before: "",
        command: "plan",
    },
    Case {
        name: "forward_add",
        before: "",
        command: "forward add web --protocol tcp --listen-port 8080 --no-install",
    },
    Case {
        name: "forward_remove",
        before: "",
        command: "forward remove old",
    },
    Case {
        name: "config_import",
        before: "",
        command: "config import /run/lab/wsl2.json --force",
    },
    Case {
        name: "config_export",
        before: "",
        command: "config export --instance dev /etc/wslmesh/ports.json",
    },
    Case {
        name: "host_check",
        before: "",
        command: "host check --report /etc/wslmesh/report.json --force",
    },
    Case {
        name: "run",
        before: "printf '[mtu]\\nvalu = 1\\n' >/etc/wslmesh/wslmesh.toml",
        command: "run",
    },
];

/// One parameter, so that there are fewer calls.
const SETTINGS: &str = r#"[network]
config-file = "/etc/wslmesh/wsl-network.conf"
[sysctl]
"net.core.rmem_max" = false
"net.core.wmem_max" = false
"net.ipv4.tcp_keepalive_intvl" = false
"net.ipv4.tcp_keepalive_probes" = false
"net.ipv4.tcp_rmem" = false
"net.ipv4.tcp_wmem" = false
"net.ipv4.udp_rmem_min" = false
"net.ipv4.udp_wmem_min" = false
"#;

fn prepare(world: &World) -> Result<()> {
    world.has_strace()?;
    // No Windows, which would take its time.
    world.shell("mv /run/WSL /run/away")?;
    world.write(CONFIG, SETTINGS)?;
    world.write(FILE, "WSL_IP=\"old\"\n# mine\n")?;
    world.write("/etc/wslmesh/report.json", "{\"of\": \"yesterday\"}\n")?;
    world.write(
        "/etc/wslmesh/wslmesh.toml.d/50-imported.toml",
        "# earlier\n",
    )?;
    let old = "[[forward]]\nname = \"old\"\nprotocol = \"tcp\"\nlisten-port = 81\n";
    world.write("/etc/wslmesh/wslmesh.toml.d/forward-old.toml", old)?;
    let ports = r#"{"instances": [{"name": "active-wsl-instance", "ports": [{"port": 90}]}]}"#;
    world.write("/run/lab/wsl2.json", ports)?;
    // So that there is something to restore.
    let text = "sysctl -qw net.ipv4.tcp_keepalive_time=7200 && /opt/wslmesh/wslmesh apply --config /etc/wslmesh/wslmesh.toml";
    world.shell(text)?;
    world.write(FILE, "WSL_IP=\"old\"\n# mine\n")
}

impl Case {
    fn traced(&self, world: &World, inject: &str) -> Result<(Output, Vec<crate::strace::Call>)> {
        let words = self.command.split(' ').chain(["--config", CONFIG]);
        world.traced(self.before, inject, &words.collect::<Vec<_>>())
    }

    /// The command, with each of its calls failing once.
    fn each_fails_once(&self, world: &World) -> Result<()> {
        prepare(world)?;
        let before = files(world)?;
        let (whole, calls) = self.traced(world, "")?;
        let after = files(world)?;
        let on_disk = |line: &str| FOLDERS.iter().any(|folder| line.contains(folder));
        let (mut bad, mut tries) = (Vec::new(), 0);
        for (name, errno) in ERRORS.into_iter().chain([FULL]) {
            let calls = calls.iter().filter(|call| call.name == name);
            let calls = calls.filter(|call| name != FULL.0 || on_disk(&call.line));
            for number in calls.map(|call| call.number).collect::<BTreeSet<_>>() {
                put_back(world, &before)?;
                let inject = format!("{name}:error={errno}:when={number}");
                let (output, calls) = self.traced(world, &inject)?;
                let failed = calls.iter().find(|call| call.line.contains("(INJECTED)"));
                let Some(failed) = failed.filter(|call| name != FULL.0 || on_disk(&call.line))
                else {
                    continue;
                };
                tries += 1;
                if let Err(why) = self.check(world, [&before, &after], &whole, &output) {
                    bad.push(format!("{}: {why:#}: {output:?}", failed.line));
                }
            }
        }
        ensure!(tries > 20, "only {tries} calls failed");
        ensure!(
            bad.is_empty(),
            "{} of {tries}:\n{}",
            bad.len(),
            bad.join("\n")
        );
        Ok(())
    }

    fn check(
        &self,
        world: &World,
        [before, after]: [&Files; 2],
        whole: &Output,
        output: &Output,
    ) -> Result<()> {
        let said = format!("{}{}", output.stdout, output.stderr);
        ensure!(!said.contains("panicked"), "it panicked");
        match output.status {
            status if status == whole.status => {}
            Status::Code(0 | 3) => {}
            // The kernel ended the connection, and there is no number.
            Status::Code(1) => ensure!(
                said.contains("(os error ") || said.contains("netlink request failed"),
                "no errno is said"
            ),
            Status::Code(127) if said.contains("error while loading shared libraries") => {}
            Status::Code(code) => bail!("exit status {code}"),
            Status::Signal(signal) => bail!("signal {signal}"),
        }
        let now = files(world)?;
        for (path, text) in &now {
            let is = |files: &Files| files.get(path).is_some_and(|other| same(text, other));
            if path.ends_with(".json") {
                serde_json::from_slice::<serde_json::Value>(text).with_context(|| path.clone())?;
            } else {
                let text = String::from_utf8_lossy(text);
                ensure!(is(before) || is(after), "{path} is {text:?}");
            }
        }
        for (path, _) in before.iter().filter(|(path, _)| after.contains_key(*path)) {
            ensure!(now.contains_key(path), "{path} is lost");
        }
        if output.status == whole.status && output.stdout == whole.stdout {
            let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
            ensure!(
                names(&now) == names(after),
                "{:?}, and nothing is said",
                names(&now)
            );
        }
        Ok(())
    }
}

/// Systemd starts an agent with an invalid configuration no second time, and one that could
/// not read it again.
fn invalid_is_not_unreadable(world: &World) -> Result<()> {
    prepare(world)?;
    let run = ["run", "--config", CONFIG];
    let (unread, _) = world.traced("", "getdents64:error=EIO", &run)?;
    ensure!(
        unread.status == Status::Code(1) && unread.stderr.contains("(os error 5)"),
        "{unread:?}"
    );
    world.write(CONFIG, "[mtu]\nvalu = 1\n")?;
    let invalid = world.wslmesh(&run)?;
    ensure!(
        invalid.status == Status::Code(78) && invalid.stderr.contains("systemctl restart wslmesh"),
        "{invalid:?}"
    );
    Ok(())
}

/// What fails of a running agent, and what it says then.
const LASTING: [(&str, &[&str]); 12] = [
    (
        "?fsync,?fdatasync:error=EIO",
        &[
            "network-file-unwritable",
            FILE,
            "status-unwritable",
            "(os error 5)",
        ],
    ),
    (
        "?rename,?renameat,?renameat2:error=EROFS",
        &[
            "network-file-unwritable",
            FILE,
            "status-unwritable",
            "(os error 30)",
        ],
    ),
    (
        "openat:error=EMFILE",
        &[
            "network-file-unreadable",
            FILE,
            "hook-refused",
            "(os error 24)",
        ],
    ),
    (
        "openat:error=ENFILE",
        &[
            "network-file-unreadable",
            FILE,
            "hook-refused",
            "(os error 23)",
        ],
    ),
    (
        "openat:error=EACCES",
        &[
            "network-file-unreadable",
            FILE,
            "hook-refused",
            "(os error 13)",
        ],
    ),
    (
        "read:error=EIO",
        &["network-file-unreadable", FILE, "(os error 5)"],
    ),
    (
        "getdents64:error=EIO",
        &["hook-refused", "hooks.d", "(os error 5)"],
    ),
    (
        "?newfstatat,?fstat,?statx:error=EIO",
        &["network-file-unreadable", FILE, "(os error 5)"],
    ),
    (
        "clone3:error=EAGAIN",
        &[
            "network-file-unwritable",
            FILE,
            "hook-refused",
            "(os error 11)",
        ],
    ),
    ("socket:error=EMFILE", &[]),
    ("sendto,sendmsg:error=ENOBUFS", &["observe-failed"]),
    ("epoll_wait:error=EINTR:when=1..50", &[]),
];

/// How long the calls of an agent are counted while they fail, and how many are haste:
/// a loop without a pause makes thousands.
const COUNTED: (Duration, usize) = (Duration::from_millis(300), 500);

/// A kind of call that fails for a while: the agent says so, lives on without haste, and
/// does its work when it succeeds again.
fn agent_heals(world: &World) -> Result<()> {
    world.has_strace()?;
    fs::create_dir_all(world.path("/etc/wslmesh/hooks.d/address-changed"))?;
    let addresses = [SECOND, FIRST].into_iter().cycle();
    for ((inject, said), address) in LASTING.into_iter().zip(addresses) {
        let agent = world.start_agent(&config(""))?;
        agent.healthy()?;
        let injection = world.inject(agent.process().pid(), inject)?;
        world.change_address(&format!("{address}/20"))?;
        let all = |log: &str| said.iter().all(|one| log.contains(one)).then_some(());
        until("its words", LIMIT, || Ok(all(&agent.log()?)))
            .with_context(|| format!("{inject}: {}", agent.log().unwrap_or_default()))?;
        let calls = injection.seen()?;
        std::thread::sleep(COUNTED.0);
        let more = injection.seen()? - calls;
        ensure!(more < COUNTED.1, "{inject}: {more} calls");
        injection.end()?;
        agent.wait(&format!("health after {inject}"), |status| {
            let there = status.address.is_some_and(|one| one.to_string() == address);
            there && status.problems().is_empty()
        })?;
        agent.has_written(address)?;
        agent.stop()?;
    }
    Ok(())
}

/// Hooks that cannot be listed for lack of a thread are listed again by themselves.
fn hooks_wait_for_a_thread(world: &World) -> Result<()> {
    world.has_strace()?;
    let agent = world.start_agent(&config(""))?;
    agent.healthy()?;
    let injection = world.inject(agent.process().pid(), "clone3:error=EAGAIN")?;
    world.change_address(&format!("{SECOND}/20"))?;
    let said = agent.says("hook-refused")?;
    ensure!(said.contains("(os error 11)"), "{said}");
    injection.end()?;
    agent.healthy()?;
    agent.stop()
}
