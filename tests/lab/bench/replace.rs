//! From an address change to the replaced file: wslmesh without its settle
//! time, the same on a disk, and `ip monitor`.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::inotify;
use rustix::net::{AddressFamily, SendFlags, SocketType, netlink, sendto, socket};

use super::figures::{Report, Times};
use super::node::{self, FILE, LIMIT};
use crate::options::Options;
use crate::probe::now;
use crate::process::Process;
use crate::topology::Place;
use crate::world::{World, until};

/// One round inside the guest: `@replace FILE ADDRESS QUIET_MS`.
pub(crate) const REPLACE: &str = "@replace";

const ROUNDS: u8 = 100;
/// Where the folder on a disk is in a world.
const DISK: &str = "/mnt/disk";

/// What people write before they know of wslmesh.
const MONITOR: &str = r#"
ip -4 monitor address | grep --line-buffered 'eth0' | while read -r _; do
    address=$(ip -4 addr show eth0 | grep 'inet ' | awk '{print $2}' | cut -d/ -f1)
    if [ -n "$address" ]; then
        sed -i "s/^WSL_IP=.*/WSL_IP=\"$address\"/" /etc/wslmesh/wsl-network.conf
    fi
done
"#;

/// A world in which something keeps a file current.
struct Way<'w> {
    world: &'w World,
    file: String,
    /// How long it takes to be done with a lost address.
    quiet: Duration,
    times: Vec<Duration>,
    _running: Process<'w>,
}

/// Measures all ways in turn, round by round.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    let options = Options::quick();
    let worlds: Vec<World> = (0..3)
        .map(|_| World::start(&options))
        .collect::<Result<_>>()?;
    let [memory, disk, monitor] = worlds.as_slice() else {
        bail!("three worlds were asked for")
    };
    let folder = disk_folder(disk);
    let mut at_once = agent(memory, "settle = \"0ms\"\n", FILE, 40)?;
    let mut on_disk = match &folder {
        Ok(_) => {
            let file = format!("{DISK}/wsl-network.conf");
            let config = format!("settle = \"0ms\"\nconfig-file = \"{file}\"\n");
            Some(agent(disk, &config, &file, 60)?)
        }
        Err(_) => None,
    };
    let mut monitor = ip_monitor(monitor)?;
    for round in 0..ROUNDS {
        for way in [Some(&mut at_once), on_disk.as_mut(), Some(&mut monitor)]
            .into_iter()
            .flatten()
        {
            way.round(round)?;
        }
    }
    let [at_once, monitor] = [at_once, monitor].map(|way| Times::new(way.times));
    report.head("From an address change to the replaced file");
    report.figure(
        "wslmesh, settle time 0, tmpfs",
        at_once.text(),
        "p99 under 5 ms",
        at_once.percentile(99) < Duration::from_millis(5),
    );
    match (on_disk, folder) {
        (Some(way), Ok((_, kind))) => report.beside(
            &format!("the same on a disk ({kind})"),
            Times::new(way.times).text(),
        ),
        (_, Err(why)) => report.beside("the same on a disk", format!("not measured: {why:#}")),
        (None, Ok(_)) => {}
    }
    report.beside("ip monitor | grep | while, tmpfs", monitor.text());
    let ratio = monitor.times_longer(&at_once);
    report.figure(
        "  how many times longer",
        format!("{ratio:.1}"),
        "at least 5",
        ratio >= 5.0,
    );
    Ok(())
}

fn agent<'w>(world: &'w World, network: &str, file: &str, quiet_ms: u64) -> Result<Way<'w>> {
    // By name: the round gives no default route, which would be a second event.
    node::prepare(
        world,
        &format!("[network]\ninterface = \"eth0\"\n{network}"),
    )?;
    let running = node::start(world, &[])?;
    node::calm(world, Duration::from_millis(300))?;
    Ok(Way {
        world,
        file: file.to_owned(),
        quiet: Duration::from_millis(quiet_ms),
        times: Vec::new(),
        _running: running,
    })
}

fn ip_monitor(world: &World) -> Result<Way<'_>> {
    world.write(FILE, "WSL_IP=\"\"\n")?;
    let running = world.spawn_guest(&["bash", "-c", MONITOR], &[])?;
    let way = Way {
        world,
        file: FILE.to_owned(),
        quiet: Duration::from_millis(120),
        times: Vec::new(),
        _running: running,
    };
    // It runs once it reacts to a change.
    until("ip monitor", LIMIT, || {
        world.add_address("10.9.8.7/32")?;
        world.delete_address("10.9.8.7/32")?;
        std::thread::sleep(way.quiet);
        Ok(world.read(FILE)?.contains("172.28.16.5").then_some(()))
    })?;
    Ok(way)
}

impl Way<'_> {
    fn round(&mut self, round: u8) -> Result<()> {
        let address = Ipv4Addr::new(172, 28, 17, round + 2);
        let quiet = self.quiet.as_millis().to_string();
        let role = [
            "/init",
            crate::ROLE,
            REPLACE,
            &self.file,
            &address.to_string(),
            &quiet,
        ];
        let text = self.world.run(Place::Guest, &role, b"")?.ok()?;
        let took = text.split_whitespace().next().context("no time")?;
        let time = Duration::from_nanos(took.parse()?);
        ensure!(
            node::states(&self.world.read(&self.file)?, address),
            "the file does not have {address}"
        );
        self.times.push(time);
        Ok(())
    }
}

/// Binds a new folder of this machine's disk into a world, writable. It is
/// removed when what this returns is dropped.
fn disk_folder(world: &World) -> Result<(tempfile::TempDir, String)> {
    let beside = std::env::current_exe()?;
    let folder = tempfile::tempdir_in(beside.parent().context("no folder")?)?;
    let path = folder.path().to_string_lossy().into_owned();
    let bind = "mkdir -p $0 && mount --bind \"$1\" $0 && mount -o remount,bind,rw $0";
    world.guest(&["sh", "-c", bind, DISK, &path])?.ok()?;
    let mounts = world.guest(&["cat", "/proc/self/mounts"])?.ok()?;
    let mine = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        (fields.next() == Some(DISK)).then(|| fields.next().map(str::to_owned))?
    };
    let kind = mounts.lines().find_map(mine).context("no such mount")?;
    ensure!(kind != "tmpfs", "the build folder is on a tmpfs");
    Ok((folder, kind))
}

/// Runs the role [`REPLACE`]: prints the ns from asking the kernel for the
/// address to the event of the file that has it, and when that began.
pub(crate) fn role(file: &str, address: &str, quiet_ms: &str) -> ExitCode {
    match one_round(Path::new(file), address, quiet_ms) {
        Ok((took, begun)) => {
            println!("{took} {begun}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn one_round(file: &Path, address: &str, quiet_ms: &str) -> Result<(u64, u64)> {
    let address: Ipv4Addr = address.parse()?;
    let index: u32 = std::fs::read_to_string("/sys/class/net/eth0/ifindex")?
        .trim()
        .parse()?;
    let flushed = Command::new("ip")
        .args(["-4", "addr", "flush", "dev", "eth0"])
        .status()?;
    ensure!(flushed.success(), "ip addr flush failed");
    // The reader has seen the loss before the gain is measured.
    std::thread::sleep(Duration::from_millis(quiet_ms.parse()?));
    // Protocol 0 is NETLINK_ROUTE.
    let kernel = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let message = new_address(index, address);
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let folder: PathBuf = file.parent().context("no folder")?.into();
    let replaced = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CLOSE_WRITE;
    inotify::add_watch(&watch, &folder, replaced)?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let begun = now();
    sendto(
        &kernel,
        &message,
        SendFlags::empty(),
        &netlink::SocketAddrNetlink::new(0, 0),
    )?;
    loop {
        let event = events.next()?;
        let at = now();
        let name = event.file_name().map(|name| name.to_bytes().to_vec());
        if name.as_deref() == file.file_name().map(OsStr::as_encoded_bytes)
            && node::states(&std::fs::read_to_string(file)?, address)
        {
            return Ok((at - begun, begun));
        }
    }
}

/// RTM_NEWADDR for an address with the prefix length 20 (rtnetlink(7)).
fn new_address(index: u32, address: Ipv4Addr) -> Vec<u8> {
    const NEW_ADDRESS: u16 = 20;
    const REQUEST_CREATE_EXCLUSIVE: u16 = 0x1 | 0x200 | 0x400;
    const LENGTH: u32 = 16 + 8 + 2 * 8;
    let mut message = Vec::new();
    message.extend(LENGTH.to_ne_bytes());
    message.extend(NEW_ADDRESS.to_ne_bytes());
    message.extend(REQUEST_CREATE_EXCLUSIVE.to_ne_bytes());
    message.extend([0; 8]); // sequence and port
    message.extend([2, 20, 0, 0]); // AF_INET, prefix length, flags, scope
    message.extend(index.to_ne_bytes());
    for attribute in [1_u16, 2] {
        // IFA_ADDRESS, IFA_LOCAL
        message.extend(8_u16.to_ne_bytes());
        message.extend(attribute.to_ne_bytes());
        message.extend(address.octets());
    }
    message
}
