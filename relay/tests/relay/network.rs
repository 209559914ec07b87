//! A network of a test's own, in which it may do everything.

use std::env;
use std::process::{Command, Output, Stdio};

use crate::harness::not_run;

/// Runs the test of that name once more in a network of its own that this script makes,
/// where this returns `true`.
pub(crate) fn inside(name: &str, network: &str) -> bool {
    const INSIDE: &str = "WSLMESH_INSIDE";
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let run = |script: String| -> std::io::Result<Output> {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "sh", "-ec", &script])
            .arg(env::current_exe()?)
            .args([name, "--exact", "--nocapture"])
            .env(INSIDE, "")
            .stdin(Stdio::null())
            .output()
    };
    let text = |output: &[u8]| String::from_utf8_lossy(output).into_owned();
    match run(network.to_owned()) {
        Ok(made) if made.status.success() => {}
        Ok(made) => {
            not_run(&format!("no network of its own: {}", text(&made.stderr)));
            return false;
        }
        Err(error) => {
            not_run(&format!("unshare(1): {error}"));
            return false;
        }
    }
    let ran = run(format!("{network}; exec \"$0\" \"$@\"")).expect("a program that ran before");
    let (stdout, stderr) = (text(&ran.stdout), text(&ran.stderr));
    // Without a test of that name it would succeed too.
    let passed = ran.status.success() && stdout.contains("1 passed");
    assert!(passed, "{stdout}{stderr}");
    false
}
