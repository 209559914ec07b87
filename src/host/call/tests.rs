use std::os::unix::fs::MetadataExt;

use super::*;

#[test]
fn a_script_ran_if_anything_was_printed() {
    let exit = |printed| {
        Err(InteropError::Call(ChildError::Exit {
            code: String::new(),
            printed,
            stderr: "text".to_owned(),
        }))
    };
    let output = |stdout: &[u8]| {
        Ok(Output {
            stdout: stdout.to_vec(),
            stderr: "text".to_owned(),
        })
    };
    let timeout = Err(InteropError::Call(ChildError::Timeout(Duration::ZERO)));
    let table = [
        (output(b"\n"), Some(true)),
        (output(b"wslmesh FullLanguage"), Some(true)),
        (output(b""), Some(false)),
        (exit(true), Some(true)),
        (exit(false), Some(false)),
        (timeout, None),
        (Err(InteropError::NoInit), None),
    ];
    for (found, expected) in table {
        assert_eq!(ran(&found), expected, "{found:?}");
    }
}

#[test]
fn only_a_script_that_was_called_may_have_worked() {
    let call = |error| CallError::Interop(InteropError::Call(error));
    let dead = InteropError::Dead {
        socket: "/run/WSL/1_interop".into(),
        said: String::new(),
    };
    let forbidden = AnswerError::Forbidden("MachinePolicy is AllSigned".to_owned());
    let start = ChildError::Start(std::io::ErrorKind::NotFound.into());
    let table = [
        (
            call(ChildError::Timeout(Duration::from_secs(15))),
            Code::InteropTimeout,
            true,
        ),
        (call(ChildError::TooMuch), Code::InteropOutput, true),
        (call(start), Code::InteropFailed, false),
        (
            InteropError::NoSocket(String::new()).into(),
            Code::InteropMissing,
            false,
        ),
        (dead.into(), Code::InteropDead, false),
        (AnswerError::Utf16.into(), Code::InteropOutput, true),
        (forbidden.into(), Code::InteropScript, false),
    ];
    for (error, code, worked) in table {
        assert_eq!(
            (error.code(), error.may_have_worked()),
            (code, worked),
            "{error}"
        );
    }
}

#[test]
fn the_folder_of_a_file_goes_and_makes_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder_in(&home.path().join("state/wslmesh")).unwrap();
    let inside = folder.path().starts_with(home.path());
    let mode = fs::metadata(folder.path()).unwrap().mode() & 0o777;
    assert_eq!((inside, mode), (true, 0o755));
    drop(folder);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}
