//! The world's private root: everything at the places WSL has it, and nothing
//! of the machine writable.
//!
//! The machine's top-level folders appear read-only. /etc is a folder of links
//! into the machine's, so that files can be added beside them. /run, /tmp,
//! /mnt, /dev, /var/lib are new and empty.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};

use crate::double::machine::{ME, OTHER, RELAY_NAME, local_app_data};
use crate::double::relay::STAND_IN;
use crate::double::session::WSL;
use crate::interop::{POWERSHELL, SOCKET_FOLDER};
use crate::launch::{Facts, Unavailable};
use crate::options::{AGENT, LIBRARY, Options, PEERS, RELAY};

/// What the kernel's release file says in a world; the kernel WSL 2.6 ships.
pub(crate) const RELEASE: &str = "6.6.87.2-microsoft-standard-WSL2";
/// Files of the lab itself: outputs of commands, the control socket.
pub(crate) const FOLDER: &str = "/run/lab";
/// How long `/init` waits for Windows, in ms; read by `/init` on each call.
pub(crate) const ACCEPT_FILE: &str = "/run/lab/accept-ms";

const STAGE: &str = "/tmp";
const NONE: MountFlags = MountFlags::empty();

/// Builds the root and moves this process (and the launcher) into it.
pub(crate) fn build(options: &Options) -> Result<Facts> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(|e| {
        Unavailable(format!(
            "mounting is not allowed in a user namespace here ({e})"
        ))
    })?;
    // Opened before anything is mounted over them: both may live below /tmp.
    let myself = File::open(fs::read_link("/proc/self/exe")?).context("opening this program")?;
    let agent = File::open(&options.agent).ok();
    let relay = File::open(&options.relay).ok();
    let peers = options
        .peers
        .as_ref()
        .and_then(|path| File::open(path).ok());
    let here: Vec<PathBuf> = fs::read_dir("/")?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    tmpfs(Path::new(STAGE), "mode=755")?;
    for path in here {
        adopt(&path)?;
    }
    let machine_etc = Path::new(STAGE).join(".machine-etc");
    fs::create_dir(&machine_etc)?;
    mount_bind_recursive("/etc", &machine_etc).context("binding /etc")?;
    protect()?;
    let at = |path: &str| Path::new(STAGE).join(path.trim_start_matches('/'));
    for (path, mode) in [
        ("/run", 0o755),
        ("/tmp", 0o1777),
        ("/mnt", 0o755),
        ("/dev", 0o755),
        ("/etc", 0o755),
        ("/opt", 0o755),
    ] {
        folder(&at(path), mode)?;
    }
    etc(&at("/etc"))?;
    devices(&at("/dev"))?;
    folder(&at("/proc"), 0o555)?;
    folder(&at("/sys"), 0o555)?;
    if at("/var/lib").is_dir() {
        tmpfs(&at("/var/lib"), "mode=755")?;
    }
    mount(
        "proc",
        at("/proc"),
        "proc",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        None,
    )
    .map_err(|e| Unavailable(format!("a private /proc is refused here ({e})")))?;
    mount(
        "sysfs",
        at("/sys"),
        "sysfs",
        MountFlags::RDONLY | MountFlags::NOSUID,
        None,
    )
    .map_err(|e| Unavailable(format!("a private /sys is refused here ({e})")))?;
    for path in [
        FOLDER,
        "/run/lab/out",
        SOCKET_FOLDER,
        "/run/lock",
        "/run/netns",
    ] {
        folder(&at(path), 0o755)?;
    }
    fs::set_permissions(at(SOCKET_FOLDER), fs::Permissions::from_mode(0o777))?;
    fs::write(at(ACCEPT_FILE), options.accept_ms.to_string())?;
    show(&myself, &at("/init"))?;
    if let Some(agent) = agent {
        folder(&at("/opt/wslmesh"), 0o755)?;
        show(&agent, &at(AGENT))?;
    }
    library(&at(LIBRARY))?;
    if let Some(relay) = relay {
        show(&relay, &at(RELAY))?;
    }
    if let Some(peers) = peers {
        folder(&at(PEERS), 0o755)?;
        mount_bind(format!("/proc/self/fd/{}", peers.as_raw_fd()), at(PEERS))
            .with_context(|| format!("showing {PEERS}"))?;
    }
    powershell(&at(POWERSHELL))?;
    powershell(&at(WSL))?;
    for path in [local_app_data(ME), local_app_data(OTHER)] {
        folder(&at(&path), 0o777)?;
    }
    folder(&at("/mnt/c/Program Files"), 0o755)?;
    rustix::process::chdir(STAGE)?;
    rustix::process::pivot_root(".", ".").context("changing the root")?;
    unmount(".", UnmountFlags::DETACH).context("leaving the machine's root")?;
    rustix::process::chdir("/")?;
    kernel_files()?;
    Ok(Facts {
        binfmt: options.binfmt && binfmt(),
        tools: tools().is_ok(),
    })
}

/// What a package puts beside the agent.
fn library(at: &Path) -> Result<()> {
    let windows = at.join("windows");
    folder(&windows, 0o755)?;
    let relay = windows.join(RELAY_NAME);
    fs::write(&relay, STAND_IN)?;
    fs::set_permissions(relay, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// (Re)creates the file in place of powershell.exe, or of another program of Windows.
pub(crate) fn powershell(path: &Path) -> Result<()> {
    fs::create_dir_all(path.parent().context("no parent folder")?)?;
    fs::write(
        path,
        b"MZ\x90\0 not a program: WSL's interop reads the first two bytes\n",
    )?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// (Re)enters WSL's line into the private binfmt_misc.
pub(crate) fn register() -> Result<()> {
    fs::write(
        "/proc/sys/fs/binfmt_misc/register",
        ":WSLInterop:M::MZ::/init:PF",
    )
    .context("registering WSLInterop")
}

fn binfmt() -> bool {
    // Refused before Linux 6.7, where the table belongs to the whole machine.
    mount(
        "binfmt_misc",
        "/proc/sys/fs/binfmt_misc",
        "binfmt_misc",
        NONE,
        None,
    )
    .is_ok()
        && register().is_ok()
}

fn tmpfs(at: &Path, options: &str) -> Result<()> {
    let options = CString::new(options)?;
    mount("lab", at, "tmpfs", MountFlags::NOSUID, options.as_c_str()).map_err(|e| {
        Unavailable(format!(
            "mounting is not allowed in a user namespace here ({e})"
        ))
        .into()
    })
}

fn folder(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Shows one file of the machine at `path`, wherever it came from.
fn show(file: &File, path: &Path) -> Result<()> {
    fs::write(path, b"")?;
    mount_bind(format!("/proc/self/fd/{}", file.as_raw_fd()), path)
        .with_context(|| format!("showing {}", path.display()))
}

/// Takes over one entry of the machine's root: links as they are, folders by
/// binding them, except those that the world has of its own.
fn adopt(path: &Path) -> Result<()> {
    const OWN: [&str; 8] = ["run", "tmp", "mnt", "dev", "etc", "proc", "sys", "opt"];
    let name = path.file_name().context("an entry without a name")?;
    let to = Path::new(STAGE).join(name);
    let kind = fs::symlink_metadata(path)?;
    if kind.is_symlink() {
        symlink(fs::read_link(path)?, &to)?;
    } else if kind.is_dir() && !OWN.iter().any(|own| name == *own) {
        fs::create_dir(&to)?;
        mount_bind_recursive(path, &to).with_context(|| format!("binding {}", path.display()))?;
    }
    Ok(())
}

/// Makes every adopted mount read-only. Flags that a mount already has are
/// repeated, because the kernel locks them in a user namespace (those about
/// access times stay by themselves when none is named).
fn protect() -> Result<()> {
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let mut fields = line.split(' ').skip(4);
        let (Some(path), Some(options)) = (fields.next(), fields.next()) else {
            continue;
        };
        if !path.starts_with("/tmp/") {
            continue;
        }
        let mut flags = MountFlags::BIND | MountFlags::RDONLY;
        for option in options.split(',') {
            flags |= match option {
                "nosuid" => MountFlags::NOSUID,
                "nodev" => MountFlags::NODEV,
                "noexec" => MountFlags::NOEXEC,
                _ => NONE,
            };
        }
        // mountinfo writes a blank as \040; such a mount point is rare enough
        // that its folder only stays as writable as it is for this user.
        if !path.contains('\\') {
            match mount_remount(path, flags, c"") {
                // What cannot be reached cannot be written either.
                Ok(()) | Err(Errno::ACCESS | Errno::NOENT | Errno::NOTCONN) => {}
                Err(error) => bail!("making {path} read-only: {error}"),
            }
        }
    }
    Ok(())
}

fn etc(etc: &Path) -> Result<()> {
    for entry in fs::read_dir("/etc")? {
        let entry = entry?;
        let name = entry.file_name();
        if ["wslmesh", "wireguard", "resolv.conf"]
            .map(Into::into)
            .contains(&name)
        {
            continue;
        }
        let target = if entry.file_type()?.is_symlink() {
            fs::read_link(entry.path())?
        } else {
            Path::new("/.machine-etc").join(&name)
        };
        symlink(target, etc.join(&name))?;
    }
    // A server that no agent queries: it is in no private network (RFC 5737).
    fs::write(etc.join("resolv.conf"), "nameserver 192.0.2.53\n")?;
    folder(&etc.join("wslmesh"), 0o755)?;
    folder(&etc.join("wireguard"), 0o700)
}

fn devices(dev: &Path) -> Result<()> {
    folder(&dev.join("net"), 0o755)?;
    folder(&dev.join("shm"), 0o1777)?;
    folder(&dev.join("pts"), 0o755)?;
    for name in [
        "null", "zero", "full", "random", "urandom", "tty", "net/tun",
    ] {
        let from = Path::new("/dev").join(name);
        if from.exists() {
            fs::write(dev.join(name), b"")?;
            mount_bind(&from, dev.join(name))
                .with_context(|| format!("binding {}", from.display()))?;
        }
    }
    mount(
        "devpts",
        dev.join("pts"),
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        c"newinstance,ptmxmode=0666,mode=620",
    )
    .map_err(|e| Unavailable(format!("a private /dev/pts is refused here ({e})")))?;
    symlink("pts/ptmx", dev.join("ptmx"))?;
    symlink("/proc/self/fd", dev.join("fd"))?;
    for (name, fd) in [("stdin", "0"), ("stdout", "1"), ("stderr", "2")] {
        symlink(format!("/proc/self/fd/{fd}"), dev.join(name))?;
    }
    Ok(())
}

/// Gives the kernel WSL's release and leaves only the network's sysctls
/// writable: the machine's root keeps its rights on the others even in a user
/// namespace.
fn kernel_files() -> Result<()> {
    let read_only = MountFlags::BIND
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC
        | MountFlags::RELATIME;
    for path in ["/proc/sys", "/proc/sysrq-trigger"] {
        if Path::new(path).exists() {
            mount_bind(path, path)?;
            mount_remount(path, read_only, c"")
                .with_context(|| format!("making {path} read-only"))?;
        }
    }
    mount_bind("/proc/sys/net", "/proc/sys/net")?;
    mount_remount("/proc/sys/net", read_only - MountFlags::RDONLY, c"")
        .context("making /proc/sys/net writable")?;
    for (path, text) in [
        ("/proc/sys/kernel/osrelease", format!("{RELEASE}\n")),
        (
            "/proc/version",
            format!("Linux version {RELEASE} (root@lab) (gcc) #1 SMP PREEMPT_DYNAMIC\n"),
        ),
    ] {
        let file = Path::new(FOLDER).join(path.replace('/', "-"));
        fs::write(&file, text)?;
        mount_bind(&file, path).with_context(|| format!("replacing {path}"))?;
    }
    Ok(())
}

/// Puts wslinfo and wslpath into /usr/bin, as WSL does, by laying a folder with
/// two links over it.
fn tools() -> Result<()> {
    let tools = Path::new(FOLDER).join("tools");
    folder(&tools, 0o755)?;
    for name in ["wslinfo", "wslpath"] {
        symlink("/init", tools.join(name))?;
    }
    let layers = CString::new(format!("lowerdir={}:/usr/bin", tools.display()))?;
    mount(
        "overlay",
        "/usr/bin",
        "overlay",
        MountFlags::RDONLY,
        layers.as_c_str(),
    )
    .context("laying the tools over /usr/bin")
}
