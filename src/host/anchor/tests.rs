use std::process::Command;

use tokio::runtime;

use super::*;

/// What comes of a program in the place of wsl.exe that is asked once.
fn asked(program: &str) -> Result<(), AnchorError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let mut command = Command::new("sh");
        command.args(["-c", program]);
        let mut anchor = Anchor::adopt(relay::spawn(command).unwrap())?;
        anchor.ask();
        anchor.answered().await
    })
}

#[test]
fn answers_and_ends() {
    assert!(asked("exec cat").is_ok());
    // More may come before it.
    assert!(asked("printf 'a warning\\n'; exec cat").is_ok());
    let said = |program| asked(program).unwrap_err().to_string();
    assert_eq!(said("exit 0"), "wsl.exe ended: without a message");
    assert_eq!(said("printf 'no\\r\\n'"), "wsl.exe ended: no");
    assert_eq!(said("printf no >&2"), "wsl.exe ended: no");
    let utf16 = "printf 'N\\0\\344\\0h\\0\\r\\0\\n\\0'";
    assert_eq!(said(utf16), "wsl.exe ended: Näh");
    let dead = said("echo 'UtilAcceptVsock:281: accept4 failed 110' >&2");
    assert!(dead.contains("starts nothing"), "{dead}");
    let flood = said("yes");
    assert!(
        flood.starts_with("wsl.exe prints without end: y y"),
        "{flood}"
    );
}
