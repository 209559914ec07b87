//! The fix where namespaces are not allowed.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::screen::Screen;

/// A kernel switch that forbids user namespaces: its file below /proc/sys, the
/// value that forbids, the value that allows, and who has it.
const SWITCHES: [(&str, &str, &str, &str); 3] = [
    (
        "kernel/unprivileged_userns_clone",
        "0",
        "1",
        "Debian's kernels",
    ),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "0",
        "Ubuntu since 23.10",
    ),
    ("user/max_user_namespaces", "0", "15000", "every kernel"),
];

/// Explains why the demo cannot run, and the fix.
pub(super) fn explain(screen: &mut Screen, why: &str) -> Result<()> {
    screen.failure(&format!("the lab cannot be built here: {why}"))?;
    screen.plain(
        "\nThe simulated WSL needs user, mount, process and network namespaces, which\n\
         any user has on most systems. Nothing was changed on this machine.\n\n",
    )?;
    for line in fixes(Path::new("/proc/sys")) {
        screen.plain(&format!("  {line}\n"))?;
    }
    Ok(())
}

fn fixes(folder: &Path) -> Vec<String> {
    let forbids = |(file, no, _, _): &&(&str, &str, &str, &str)| {
        fs::read_to_string(folder.join(file)).is_ok_and(|text| text.trim() == *no)
    };
    let mut lines: Vec<String> = SWITCHES
        .iter()
        .filter(forbids)
        .flat_map(|(file, _, yes, who)| {
            let name = file.replace('/', ".");
            [
                format!("# A switch of {who}; until the next boot:"),
                format!("sudo sysctl -w {name}={yes}"),
            ]
        })
        .collect();
    if lines.is_empty() {
        lines.extend([
            "- In a container: allow unshare and mount, e.g. for Docker".to_owned(),
            "  --security-opt seccomp=unconfined --security-opt apparmor=unconfined".to_owned(),
            "  --security-opt systempaths=unconfined".to_owned(),
            "- If a program is missing: tools/setup.sh build lab".to_owned(),
            "- Else: as root, or in a virtual machine.".to_owned(),
        ]);
    } else {
        lines.push("then once more: make demo".to_owned());
    }
    lines
}

/// The trial: each switch that forbids is named, and no other.
pub(super) fn check() -> Result<()> {
    let folder = tempfile::tempdir()?;
    ensure!(fixes(folder.path()).iter().all(|l| !l.contains("sysctl")));
    fs::create_dir(folder.path().join("kernel"))?;
    let clone = folder.path().join("kernel/unprivileged_userns_clone");
    let apparmor = folder
        .path()
        .join("kernel/apparmor_restrict_unprivileged_userns");
    for (clone_value, apparmor_value, wanted) in [
        (
            "1\n",
            "1\n",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("0\n", "0\n", "kernel.unprivileged_userns_clone=1"),
    ] {
        fs::write(&clone, clone_value)?;
        fs::write(&apparmor, apparmor_value)?;
        let lines = fixes(folder.path());
        let named: Vec<&String> = lines.iter().filter(|l| l.contains("sysctl -w")).collect();
        ensure!(
            matches!(named.as_slice(), [one] if one.contains(wanted)),
            "{lines:?}"
        );
        ensure!(lines.iter().all(|line| line.len() <= 78));
    }
    Ok(())
}
