//! Full disk, read-only file system, an owner that cannot be kept, a writer
//! that is killed at any moment, and the texts for what cannot be played here.

use std::error::Error as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fs::file::{tests::temporary_files, *};

#[test]
fn each_error_of_the_system_has_its_name_and_fix() {
    let cases = [
        (Errno::ACCESS, "no permission to read /etc/x; run as root"),
        (Errno::PERM, "no permission to read /etc/x; run as root"),
        (
            Errno::ROFS,
            "cannot read /etc/x on a read-only file system; remount",
        ),
        (
            Errno::NOSPC,
            "no space left to read /etc/x; the old file stays; free",
        ),
        (
            Errno::DQUOT,
            "no space left to read /etc/x; the old file stays; free",
        ),
        (Errno::ISDIR, "/etc/x is a directory; move it away"),
        (
            Errno::NOENT,
            "the directory of /etc/x does not exist; make it",
        ),
        (
            Errno::NOTDIR,
            "the directory of /etc/x does not exist; make it",
        ),
        (
            Errno::LOOP,
            "/etc/x is a symlink that leads in a circle; point it",
        ),
        (
            Errno::BUSY,
            "/etc/x is a mount point and cannot be replaced; mount",
        ),
        (
            Errno::EXIST,
            "/etc/x was changed by another program meanwhile",
        ),
        (Errno::IO, "cannot read /etc/x; look for disk errors"),
    ];
    for (errno, text) in cases {
        let error = FileError::from_io(Path::new("/etc/x"), "read", errno.into());
        assert!(error.to_string().starts_with(text), "{errno:?}: {error}");
        let number = format!("(os error {})]", errno.raw_os_error());
        assert!(error.to_string().ends_with(&number), "{errno:?}: {error}");
    }
    let error = FileError::from_io(Path::new("/etc/x"), "read", Errno::IO.into());
    assert!(
        error.source().is_some(),
        "the system's own words are kept as the source"
    );
}

/// This test binary again, for one test that then plays another part.
fn this_test(program: &str, name: &str) -> Command {
    let path = module_path!().split_once("::").expect("a crate's module").1;
    let mut command = Command::new(program);
    command
        .arg("--exact")
        .arg(format!("{path}::{name}"))
        .stdout(Stdio::null());
    command
}

const NAMESPACE: &str = "WSLMESH_TEST_FILE_NAMESPACE";

/// A small tmpfs and a read-only one need a mount namespace, where the test
/// runs once more. There it is root without rights over other users' files.
#[test]
fn a_failed_write_loses_nothing() {
    if let Some(dir) = std::env::var_os(NAMESPACE) {
        return within_the_namespace(Path::new(&dir));
    }
    let allowed = Command::new("unshare")
        .args(["--map-root-user", "--mount", "true"])
        .stderr(Stdio::null())
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("skipped: no user and mount namespaces here");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["small", "read-only", "foreign"] {
        fs::create_dir(dir.path().join(name)).expect("a directory");
    }
    if rustix::process::geteuid().is_root() {
        let foreign = dir.path().join("foreign/file");
        fs::write(&foreign, "old").expect("written");
        std::os::unix::fs::chown(&foreign, Some(1234), None).expect("chown");
    }
    let script = "set -e; cd \"$WSLMESH_TEST_FILE_NAMESPACE\"
        mount -t tmpfs -o size=64k tmpfs small; printf old > small/file
        mount -t tmpfs tmpfs read-only; printf old > read-only/file; mount -o remount,bind,ro read-only
        exec \"$@\"";
    let program = std::env::current_exe().expect("this program");
    let test = this_test("", "a_failed_write_loses_nothing");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(program)
        .arg("--nocapture")
        .args(test.get_args())
        .env(NAMESPACE, dir.path())
        .output()
        .expect("unshare runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "the test was found by its name"
    );
}

fn within_the_namespace(dir: &Path) {
    let failed = |name: &str, new: &[u8]| {
        let path = dir.join(name).join("file");
        let error = replace(&path, Some(b"old"), new).expect_err(name);
        assert_eq!(
            fs::read(&path).expect("readable"),
            b"old",
            "{name}: the old file stays"
        );
        assert_eq!(
            temporary_files(&dir.join(name)),
            [] as [PathBuf; 0],
            "{name}: nothing is left behind"
        );
        error
    };
    let error = failed("small", &vec![b'x'; 200_000]);
    assert!(error.fault == Fault::NoSpace, "{error:?}");
    replace(&dir.join("small/file"), Some(b"old"), b"new").expect("there is room for this one");

    let error = failed("read-only", b"new");
    assert!(error.fault == Fault::ReadOnly, "{error:?}");

    if dir.join("foreign/file").exists() {
        let error = failed("foreign", b"new");
        assert!(error.fault == Fault::NotKept("owner"), "{error:?}");
    }
}

/// Writers that make the same file clean up after each other, too: a temporary
/// file that is in use must survive that.
#[test]
fn of_many_who_make_a_file_at_once_one_succeeds() {
    const WRITERS: usize = 8;
    for round in 0..20 {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("net.conf");
        let start = std::sync::Barrier::new(WRITERS);
        let results: Vec<Result<(), FileError>> = std::thread::scope(|scope| {
            let write = |writer: usize| {
                start.wait();
                replace(&path, None, format!("writer {writer}").as_bytes())
            };
            let threads: Vec<_> = (0..WRITERS)
                .map(|writer| scope.spawn(move || write(writer)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        let winners: Vec<usize> = (0..WRITERS)
            .filter(|writer| results[*writer].is_ok())
            .collect();
        assert_eq!(winners.len(), 1, "round {round}: {results:?}");
        let lost = results.iter().flat_map(|result| result.as_ref().err());
        assert!(
            lost.into_iter().all(|e| e.fault == Fault::Changed),
            "round {round}: {results:?}"
        );
        assert_eq!(
            fs::read(&path).expect("readable"),
            format!("writer {}", winners[0]).as_bytes()
        );
        assert_eq!(
            temporary_files(dir.path()),
            [] as [PathBuf; 0],
            "round {round}"
        );
    }
}

const VICTIM: &str = "WSLMESH_TEST_FILE_VICTIM";

/// Two contents, long enough that writing them takes a moment.
fn contents() -> [Vec<u8>; 2] {
    [vec![b'a'; 300_000], vec![b'b'; 200_000]]
}

/// The other one of the two contents.
fn flip(current: &[u8]) -> Vec<u8> {
    let [a, b] = contents();
    if current == a { b } else { a }
}

/// A killed child; it must not outlive a failed assertion.
struct Victim(Child);

impl Victim {
    fn kill(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("reaped");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            self.0.wait().expect("reaped");
        }
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_one_of_the_two_contents() {
    if let Some(path) = std::env::var_os(VICTIM) {
        write_for_ever(Path::new(&path));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("net.conf");
    let program = std::env::current_exe().expect("this program");
    let program = program.to_str().expect("a path in UTF-8");
    let mut left_behind = 0;
    for round in 0..50_u64 {
        let before = read(&path).expect("readable").map(|old| old.to_vec());
        // Each round starts from a state that the writer has to change.
        replace(
            &path,
            before.as_deref(),
            &flip(before.as_deref().unwrap_or_default()),
        )
        .expect("replaced");
        let start = inode(&path);
        let mut victim = Victim(
            this_test(
                program,
                "a_writer_killed_at_any_moment_leaves_one_of_the_two_contents",
            )
            .env(VICTIM, &path)
            .stderr(Stdio::null())
            .spawn()
            .expect("a writer"),
        );
        let deadline = Instant::now() + Duration::from_secs(30);
        while inode(&path) == start {
            assert!(Instant::now() < deadline, "the writer writes");
            std::thread::yield_now();
        }
        // Another moment in every round, over several of the writer's rounds:
        // this wait is the dice, not a deadline.
        std::thread::sleep(Duration::from_micros(round * 7919 % 20011));
        victim.kill();

        let found = read(&path).expect("readable").expect("there");
        assert!(
            contents().contains(&found),
            "round {round}: {}",
            found.len()
        );
        left_behind += temporary_files(dir.path()).len();
        replace(&path, Some(&found), &flip(&found)).expect("replaced");
        assert_eq!(
            temporary_files(dir.path()),
            [] as [PathBuf; 0],
            "round {round}: cleaned up"
        );
    }
    assert_ne!(
        left_behind, 0,
        "some of 50 kills hit between the temporary file and its rename"
    );
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("metadata"))
}

fn write_for_ever(path: &Path) -> ! {
    loop {
        let old = read(path).expect("readable").expect("there");
        replace(path, Some(&old), &flip(&old)).expect("replaced");
    }
}
