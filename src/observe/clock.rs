//! This machine's clocks, and Windows' where it can be read.

use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::OFlags,
    io::Errno,
    time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic},
};

use crate::{
    fs::{open, read_bounded},
    model::Clocks,
};

/// Most PTP devices that are tried.
const DEVICES: usize = 8;
/// The name of Hyper-V's (kernel: drivers/hv/hv_util.c).
const HYPERV: &str = "hyperv";

/// Seconds since 1970 between which a clock may be right: 2020 and 2100.
const PLAUSIBLE: std::ops::Range<i64> = 1_577_836_800..4_102_444_800;

/// A clock to compare this machine's with.
pub trait HostClock {
    /// What it shows now, since 1970 (UTC).
    ///
    /// # Errors
    /// Why it shows nothing.
    fn read(&self) -> Result<Timespec, NoReference>;
}

/// Why there is no clock to compare with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReference {
    /// The kernel has no such device.
    #[error("the kernel has no PTP device of Hyper-V")]
    Absent,
    /// The kernel has it, but its file is not in /dev, or not in this sandbox's.
    #[error("{0} does not exist here, though the kernel has the device")]
    NoFile(String),
    /// Its file has the mode 0600.
    #[error("only root can read {0}")]
    Forbidden(String),
    /// Windows has sent no time for ten minutes: its driver says ESTALE
    /// (drivers/hv/hv_util.c).
    #[error("{0} has had no time from Windows for ten minutes: is time synchronisation off?")]
    Stale(String),
    /// It cannot be read.
    #[error("{0} cannot be read: {1}")]
    Failed(String, String),
    /// It shows a time before 2020 or after 2100, in seconds since 1970.
    #[error("{0} shows {1} s since 1970, which cannot be right")]
    Implausible(String, i64),
}

/// How far this machine's clock is from others: it minus the other one, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Windows'.
    pub host: Result<i64, NoReference>,
    /// The hardware clock, which is right to the second, and may be in local time.
    pub rtc: Option<i64>,
}

/// Windows' clock by its PTP device, which only root can read. Blocks in the hypervisor.
#[derive(Debug, Clone)]
pub struct Ptp {
    root: PathBuf,
}

impl Ptp {
    /// The device of a machine below this root.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }
}

impl HostClock for Ptp {
    fn read(&self) -> Result<Timespec, NoReference> {
        let root = &self.root;
        let is_hyperv = |number: &usize| {
            let name = line(root.join(format!("sys/class/ptp/ptp{number}/clock_name")));
            name.as_deref() == Some(HYPERV)
        };
        let number = (0..DEVICES).find(is_hyperv).ok_or(NoReference::Absent)?;
        let name = format!("/dev/ptp{number}");
        let file = open(&root.join(format!("dev/ptp{number}")), OFlags::empty());
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => NoReference::NoFile(name.clone()),
            io::ErrorKind::PermissionDenied => NoReference::Forbidden(name.clone()),
            _ => NoReference::Failed(name.clone(), error.to_string()),
        })?;
        let shown = clock_gettime_dynamic(DynamicClockId::Dynamic(file.as_fd()));
        checked(name, shown)
    }
}

/// What a device showed, where that may be.
fn checked(name: String, shown: Result<Timespec, Errno>) -> Result<Timespec, NoReference> {
    match shown {
        Ok(time) if PLAUSIBLE.contains(&time.tv_sec) => Ok(time),
        Ok(time) => Err(NoReference::Implausible(name, time.tv_sec)),
        Err(Errno::STALE) => Err(NoReference::Stale(name)),
        Err(error) => Err(NoReference::Failed(name, error.to_string())),
    }
}

/// This machine's clocks now.
#[must_use]
pub fn clocks() -> Clocks {
    let now = |clock| ms(clock_gettime(clock));
    Clocks {
        real_ms: now(ClockId::Realtime),
        boot_ms: now(ClockId::Boottime),
        monotonic_ms: now(ClockId::Monotonic),
    }
}

/// Seconds since 1970 (UTC).
#[must_use]
pub fn now_unix() -> u64 {
    u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0)
}

/// This machine's clock against the others of a machine below a root.
#[must_use]
pub fn drift(root: &Path) -> Drift {
    let real = || ms(clock_gettime(ClockId::Realtime));
    Drift {
        host: drift_of(&Ptp::below(root)),
        rtc: rtc(root).map(|theirs| real().saturating_sub(theirs)),
    }
}

/// How far this machine's clock is ahead of another one, in milliseconds.
///
/// # Errors
/// Why that cannot be said.
pub fn drift_of(other: &impl HostClock) -> Result<i64, NoReference> {
    // A call that was interrupted counts half: which part of it took long is not known.
    let before = ms(clock_gettime(ClockId::Realtime));
    let theirs = ms(other.read()?);
    let after = ms(clock_gettime(ClockId::Realtime));
    let between = before.midpoint(after);
    Ok(between.saturating_sub(theirs))
}

/// The hardware clock in milliseconds, which every user can read, to the second.
fn rtc(root: &Path) -> Option<i64> {
    let seconds: i64 = line(root.join("sys/class/rtc/rtc0/since_epoch"))?
        .parse()
        .ok()?;
    Some(seconds.saturating_mul(1_000))
}

fn ms(time: Timespec) -> i64 {
    let sub = time.tv_nsec / 1_000_000;
    time.tv_sec.saturating_mul(1_000).saturating_add(sub)
}

/// Whether the Hyper-V driver follows Windows' clock.
#[must_use]
pub fn follows_host(root: &Path) -> Option<bool> {
    let text = line(root.join("sys/module/hv_utils/parameters/timesync_implicit"))?;
    Some(text == "1" || text == "Y")
}

/// One short line, trimmed.
fn line(path: PathBuf) -> Option<String> {
    let bytes = read_bounded(&path, 256).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn machine() -> (tempfile::TempDir, impl Fn(&str, &str)) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let write = move |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        (folder, write)
    }

    #[test]
    fn the_hardware_clock() {
        let (folder, write) = machine();
        let root = folder.path();
        assert_eq!((drift(root).rtc, follows_host(root)), (None, None));
        let ahead = format!("{}\n", now_unix() + 100);
        write("sys/class/rtc/rtc0/since_epoch", &ahead);
        write("sys/module/hv_utils/parameters/timesync_implicit", "0\n");
        assert_eq!(follows_host(root), Some(false));
        let found = drift(root).rtc.unwrap();
        assert!((-100_000..-40_000).contains(&found), "{found}");
        write("sys/class/rtc/rtc0/since_epoch", "soon\n");
        assert_eq!(drift(root).rtc, None);
    }

    #[test]
    fn without_a_device_the_reason_is_said() {
        let (folder, write) = machine();
        let root = folder.path();
        let why = || drift(root).host.unwrap_err().to_string();
        assert!(why().contains("no PTP device of Hyper-V"), "{}", why());
        write("sys/class/ptp/ptp0/clock_name", "KVM virtual PTP\n");
        assert!(why().contains("no PTP device of Hyper-V"), "{}", why());
        write("sys/class/ptp/ptp1/clock_name", "hyperv\n");
        assert!(why().contains("/dev/ptp1 does not exist here"), "{}", why());
        // One that is no clock, and one that would block.
        write("dev/ptp1", "");
        assert!(why().contains("/dev/ptp1 cannot be read"), "{}", why());
        let device = root.join("dev/ptp1");
        fs::remove_file(&device).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &device, 0o600.into()).unwrap();
        assert!(why().contains("/dev/ptp1 cannot be read"), "{}", why());
    }

    /// A clock that is so many seconds beside this machine's, or shows nothing.
    struct Fake(Result<i64, NoReference>);

    impl HostClock for Fake {
        fn read(&self) -> Result<Timespec, NoReference> {
            let beside = self.0.clone()?;
            let mut time = clock_gettime(ClockId::Realtime);
            time.tv_sec += beside;
            Ok(time)
        }
    }

    #[test]
    fn drift_is_this_clock_minus_the_other() {
        const YEARS: i64 = 10 * 365 * 86_400;
        for beside in [0, 1, -1, 3_600, -3_600, YEARS, -YEARS] {
            let ahead = drift_of(&Fake(Ok(beside))).unwrap();
            assert!((ahead + beside * 1_000).abs() < 60_000, "{beside}: {ahead}");
        }
        let stale = NoReference::Stale("/dev/ptp0".into());
        assert_eq!(drift_of(&Fake(Err(stale.clone()))), Err(stale));
    }

    #[test]
    fn times_that_cannot_be() {
        let answered = |seconds, errno| {
            checked(
                "/dev/ptp0".into(),
                match errno {
                    None => Ok(Timespec {
                        tv_sec: seconds,
                        tv_nsec: 0,
                    }),
                    Some(errno) => Err(errno),
                },
            )
        };
        assert!(answered(1_800_000_000, None).is_ok());
        for (seconds, errno, says) in [
            (0, None, "shows 0 s since 1970"),
            (i64::MAX, None, "cannot be right"),
            (i64::MIN, None, "cannot be right"),
            (0, Some(Errno::IO), "/dev/ptp0 cannot be read"),
            (
                0,
                Some(Errno::STALE),
                "no time from Windows for ten minutes",
            ),
        ] {
            let why = answered(seconds, errno).unwrap_err().to_string();
            assert!(why.contains(says), "{why}");
        }
    }
}
