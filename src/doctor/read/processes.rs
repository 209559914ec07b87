//! Processes: where they work, what services and containers have open.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
};

use super::{
    super::facts::{DriveFiles, OpenFiles, Process},
    root::Root,
};
use crate::interop::Drives;

/// Most processes that are read.
const PROCESSES: usize = 4096;

/// Most open files of a process that are counted, and of all that are looked at: each costs
/// a call of the kernel.
const FILES: usize = 1 << 16;
const ALL_FILES: usize = 1 << 17;

/// Most mount tables of containers that are read.
const CONTAINERS: usize = 64;

/// Most bytes of a file of /proc.
const BYTES: usize = 1 << 20;

/// The processes that this user can read.
pub(super) fn read(root: &Root, drives: &Drives) -> Vec<Process> {
    let names = root.names("/proc", PROCESSES * 2).into_iter();
    let ids = names.filter(|name| name.chars().all(|c| c.is_ascii_digit()));
    let mut reader = Reader {
        root,
        here: root.link("/proc/self/ns/mnt"),
        drives,
        containers: BTreeMap::new(),
        left: ALL_FILES,
    };
    ids.take(PROCESSES)
        .filter_map(|id| reader.process(&id))
        .collect()
}

struct Reader<'a> {
    root: &'a Root,
    /// The mount namespace of this process.
    here: Option<String>,
    drives: &'a Drives,
    /// The drives of other mount namespaces, which containers have.
    containers: BTreeMap<String, Drives>,
    left: usize,
}

impl Reader<'_> {
    fn process(&mut self, id: &str) -> Option<Process> {
        let (root, folder) = (self.root, format!("/proc/{id}"));
        let arguments = root.text_or_empty(&format!("{folder}/cmdline"), 1024);
        let arguments = arguments.replace('\0', " ");
        let arguments = arguments.trim().chars().filter(|c| !c.is_control());
        let groups = root.text_or_empty(&format!("{folder}/cgroup"), 4096);
        let mut process = Process {
            name: root.line(&format!("{folder}/comm"))?,
            arguments: arguments.collect(),
            folder: root.link(&format!("{folder}/cwd")),
            program: None,
            service: service(&groups),
            files: None,
            open: None,
        };
        let container = container(&groups);
        if process.service.is_some() || container.is_some() {
            process.program = root.link(&format!("{folder}/exe"));
            self.look_at_files(&folder, container.is_some(), &mut process);
        }
        process.service = process.service.or(container);
        Some(process)
    }

    /// How many files it has open, and which of them on drives.
    fn look_at_files(&mut self, folder: &str, is_container: bool, process: &mut Process) {
        let (root, most) = (self.root, FILES.min(self.left));
        let names = root.names(&format!("{folder}/fd"), most);
        self.left -= names.len();
        let limits = root.text_or_empty(&format!("{folder}/limits"), BYTES);
        if let Some(limit) = most_files(&limits).filter(|_| !names.is_empty()) {
            let count = names.len();
            process.open = Some(OpenFiles { count, limit });
        }
        let other = root.link(&format!("{folder}/ns/mnt"));
        let other = other.filter(|ns| Some(ns) != self.here.as_ref());
        let drives = match other {
            Some(ns) => self.drives_of(ns, folder),
            None => self.drives,
        };
        let mut files = DriveFiles::default();
        for name in names {
            let path = format!("{folder}/fd/{name}");
            let to = root.link(&path);
            if let Some(to) = to.filter(|to| drives.hold(to)) {
                // The mode of the link is that of the open file (proc_pid_fd(5)).
                let link = fs::symlink_metadata(root.at(&path));
                let writes = link.is_ok_and(|link| link.permissions().mode() & 0o200 != 0);
                files.add(to, writes);
            }
        }
        // The paths of a container mean nothing outside of it.
        let folder = is_container.then(|| process.folder.take()).flatten();
        if let Some(folder) = folder.filter(|folder| drives.hold(folder)) {
            files.add(folder, false);
        }
        process.files = Some(files).filter(|files| files.count > 0);
    }

    /// The drives of another mount namespace. Services have such a one, too.
    fn drives_of(&mut self, ns: String, folder: &str) -> &Drives {
        if self.containers.len() >= CONTAINERS && !self.containers.contains_key(&ns) {
            return self.drives;
        }
        let root = self.root;
        self.containers.entry(ns).or_insert_with(|| {
            let mounts = root.bytes(&format!("{folder}/mountinfo"), BYTES);
            let mounts = mounts.ok().flatten().unwrap_or_default();
            Drives::of_process(&mounts, &root.at("/"))
        })
    }
}

/// The soft limit in /proc/PID/limits (proc_pid_limits(5)); `None` where there is none.
fn most_files(limits: &str) -> Option<usize> {
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The paths of a process's control groups (cgroups(7)).
fn paths(groups: &str) -> impl Iterator<Item = &str> {
    groups.lines().filter_map(|line| line.splitn(3, ':').nth(2))
}

/// The system's service of a process.
pub(super) fn service(groups: &str) -> Option<String> {
    let mut names = paths(groups).filter_map(|path| path.strip_prefix("/system.slice/"));
    let unit = names
        .next()?
        .split('/')
        .find(|name| name.ends_with(".service"));
    unit.map(str::to_owned)
}

/// The container of a process, as `container 0123456789ab`: engines name its group by its
/// id of 64 digits (`docker-ID.scope`, `libpod-ID.scope`, `cri-containerd-ID.scope`,
/// `/docker/ID`).
fn container(groups: &str) -> Option<String> {
    let parts: BTreeSet<&str> = paths(groups).flat_map(|path| path.split('/')).collect();
    let id = parts.into_iter().find_map(|part| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let id = part.rsplit(['-', ':']).next()?;
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then_some(id)
    })?;
    Some(format!("container {}", id.get(..12)?))
}

#[cfg(test)]
mod tests;
