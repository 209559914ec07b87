use std::{
    cell::RefCell,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;

/// An Interop by these sockets, whose names no other test has.
fn by(names: &[&str]) -> Interop {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    Interop {
        sockets: names
            .iter()
            .map(|name| format!("/nonexistent/{number}/{name}").into())
            .collect(),
        powershell: "/mnt/c/powershell.exe".into(),
        drives: Drives::of(b"", b"", |_| None),
    }
}

/// Calls until one of `alive` is used; returns what was tried, and the end.
async fn tried(interop: &Interop, alive: &str) -> (Vec<String>, Result<(), InteropError>) {
    let tried = RefCell::new(Vec::new());
    let end = interop.call(async |socket| {
        let name = socket.file_name().unwrap().to_string_lossy().into_owned();
        tried.borrow_mut().push(name.clone());
        if name == alive {
            return Ok(());
        }
        Err(ChildError::NotStarted("accept4 failed 110".to_owned()))
    });
    let end = end.await;
    (tried.into_inner(), end)
}

#[tokio::test]
async fn dead_sockets_are_passed_over_for_some_minutes() {
    let interop = by(&["1_interop", "700_interop", "800_interop"]);
    let (sockets, end) = tried(&interop, "700_interop").await;
    assert_eq!(sockets, ["1_interop", "700_interop"]);
    assert!(end.is_ok());
    // The next call does not wait for the dead one.
    let (sockets, _) = tried(&interop, "700_interop").await;
    assert_eq!(sockets, ["700_interop"]);
    let (sockets, end) = tried(&interop, "1_interop").await;
    assert_eq!(sockets, ["700_interop", "800_interop", "1_interop"]);
    assert!(end.is_ok());
}

#[tokio::test]
async fn the_only_socket_is_tried_once_more() {
    let interop = by(&["1_interop"]);
    let (sockets, end) = tried(&interop, "none").await;
    assert_eq!(sockets, ["1_interop", "1_interop"]);
    let error = end.unwrap_err();
    assert_eq!(error.code(), Code::InteropDead);
    assert!(error.to_string().ends_with("accept4 failed 110"), "{error}");
}

#[tokio::test]
async fn another_failure_is_not_tried_again() {
    let interop = by(&["1_interop", "700_interop"]);
    let calls = RefCell::new(0);
    let end = interop.call(async |_| {
        *calls.borrow_mut() += 1;
        Err::<(), _>(ChildError::TooMuch)
    });
    assert_eq!(end.await.unwrap_err().code(), Code::InteropOutput);
    assert_eq!(calls.into_inner(), 1);
}

#[test]
fn what_stays_is_started_by_the_socket_of_init_alone() {
    let error = by(&["700_interop"])
        .command(Path::new("/x.exe"))
        .unwrap_err();
    assert_eq!(error.code(), Code::InteropMissing);
    assert!(
        error.to_string().contains("/run/WSL/1_interop is none"),
        "{error}"
    );
}

#[test]
fn programs_are_started_by_init_alone() {
    let socket = Path::new("/run/WSL/1_interop");
    let program = Path::new("/mnt/c/Program Files/wslmesh/wslmesh-relay.exe");
    let command = by_init(program, socket);
    let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
    let environment: Vec<String> = command
        .get_envs()
        .map(|(name, value)| format!("{}={}", text(name), text(value.unwrap_or_default())))
        .collect();
    assert_eq!(
        environment,
        ["PATH=/usr/bin:/bin", "WSL_INTEROP=/run/WSL/1_interop"]
    );
    // The drive is not here, so its folder cannot be entered.
    assert_eq!(command.get_current_dir(), Some(Path::new("/")));
    assert_eq!(command.get_program(), INIT);
    let arguments: Vec<String> = command.get_args().map(text).collect();
    assert_eq!(
        arguments,
        [&program.display().to_string(), "wslmesh-relay.exe"]
    );
}

#[test]
fn a_folder_that_can_be_entered_is_the_program_s() {
    let folder = tempfile::tempdir().unwrap();
    let socket = Path::new("/run/WSL/1_interop");
    let command = by_init(&folder.path().join("relay.exe"), socket);
    assert_eq!(command.get_current_dir(), Some(folder.path()));
}
