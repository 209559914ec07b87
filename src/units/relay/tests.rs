use std::{fs::File, os::fd::AsFd as _};

use super::*;
use crate::units::tests::{self as testing, FakeUnit};

async fn started(
    role: RelayRole,
    job: Option<&'static str>,
) -> (Result<(), UnitsError>, Vec<String>) {
    let unit = FakeUnit {
        job,
        ..FakeUnit::default()
    };
    let (systemd, log, _bus) =
        testing::systemd([(relay_unit(role), FakeUnit::default())], unit).await;
    let mut command = Command::new("/init");
    command
        .args(["/mnt/c/relay.exe", "relay.exe"])
        .env("WSL_INTEROP", "/run/WSL/1_interop")
        .current_dir("/mnt/c");
    let null = File::open("/dev/null").unwrap();
    let streams = Streams {
        stdin: null.as_fd(),
        stdout: null.as_fd(),
        stderr: null.as_fd(),
    };
    let started = systemd.start_relay(role, &command, streams).await;
    let log = log.lock().unwrap().clone();
    (started, log)
}

#[tokio::test]
async fn relay_becomes_a_unit_in_place_of_the_one_before() {
    let (result, log) = started(RelayRole::Entry, Some("done")).await;
    assert_eq!(result, Ok(()));
    let has = |line: &str| assert!(log.iter().any(|l| l == line), "{line}\n{log:#?}");
    has("ExecStart=[(\"/init\", [\"/init\", \"/mnt/c/relay.exe\", \"relay.exe\"], false)]");
    has("Environment=[\"WSL_INTEROP=/run/WSL/1_interop\"]");
    has("WorkingDirectory=\"/mnt/c\"");
    has("NoNewPrivileges=true");
    has(
        "RestrictAddressFamilies=(true, [\"AF_UNIX\", \"AF_VSOCK\", \"AF_INET\", \"AF_INET6\", \"AF_NETLINK\"])",
    );
    assert_eq!(log.first().unwrap(), "stop wslmesh-relay.service");
    assert_eq!(log.last().unwrap(), "start wslmesh-relay.service");
    // The other one runs beside it.
    let (_, log) = started(RelayRole::Loopback, Some("done")).await;
    assert_eq!(log.first().unwrap(), "stop wslmesh-relay-loopback.service");
    assert_eq!(log.last().unwrap(), "start wslmesh-relay-loopback.service");
}

#[tokio::test]
async fn relay_that_does_not_start_is_an_error() {
    let (result, _) = started(RelayRole::Entry, Some("failed")).await;
    let error = result.unwrap_err().to_string();
    assert_eq!(
        error,
        "systemd refuses: the start of wslmesh-relay.service ended as failed"
    );
}
