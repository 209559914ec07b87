use std::fs;

use super::*;
use crate::doctor::tests::machine;

#[test]
fn scripts_that_poll() {
    let (_folder, root) = machine(&[
        ("/etc/crontab", "* * * * * root run-parts\n"),
        (
            "/etc/cron.d/wsl",
            "* * * * * root sed -i s/WSL_IP=.*/x/ f\n",
        ),
        ("/etc/cron.d/old", "# >wsl-network.conf\n"),
        (
            "/etc/cron.d/new",
            "* * * * * root /x >/etc/wsl-network.conf\n",
        ),
        (
            "/var/spool/cron/root",
            "* * * * * netsh.exe interface portproxy reset\n",
        ),
        (
            "/etc/systemd/system/ip.service",
            "[Service]\nExecStart=sh -c 'x | tee /etc/wsl-network.conf'\n",
        ),
        (
            "/etc/systemd/system/reader.service",
            "[Service]\nEnvironmentFile=/etc/wslmesh/wsl-network.conf\n",
        ),
        ("/etc/systemd/system/ip.conf", "portproxy\n"),
        (
            "/etc/profile.d/ip.sh",
            "netsh.exe interface portproxy add v4tov4\n",
        ),
        (
            "/etc/profile.d/reader.sh",
            ". /etc/wslmesh/wsl-network.conf\n",
        ),
    ]);
    let pollers = read(&root, Some("netsh.exe interface portproxy reset"));
    assert_eq!(
        pollers.found,
        [
            "/etc/cron.d/new",
            "/etc/cron.d/wsl",
            "/var/spool/cron/root",
            "/etc/systemd/system/ip.service",
            "/etc/profile.d/ip.sh",
            "[boot] command in /etc/wsl.conf",
        ]
    );
    assert_eq!(pollers.hidden, [""; 0]);
    assert_eq!(read(&root, Some("service ssh start")).found.len(), 5);
    // What is not a file cannot be read, not even by root.
    fs::remove_file(root.at("/etc/crontab")).unwrap();
    let pipe = root.at("/etc/crontab");
    rustix::fs::mkfifoat(rustix::fs::CWD, pipe, 0o600.into()).unwrap();
    assert_eq!(read(&root, None).hidden, ["/etc/crontab"]);
}
