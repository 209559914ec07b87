use super::*;

const LONG: Duration = Duration::from_secs(20);

async fn run(command: Command, input: &[u8], deadline: Duration) -> Result<Vec<u8>, ChildError> {
    Ok(spawn(command)?.finish(input, deadline).await?.stdout)
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

#[tokio::test]
async fn input_and_output_are_handed_over() {
    let output = run(
        shell("read line; echo \"got $line\"; echo noise >&2"),
        b"this\n",
        LONG,
    )
    .await
    .unwrap();
    assert_eq!(output, b"got this\n");
}

#[tokio::test]
async fn what_reads_nothing_has_no_pipe() {
    let stdin = super::run(shell("readlink /proc/$$/fd/0"), LONG);
    assert_eq!(stdin.await.unwrap(), b"/dev/null\n");
}

#[tokio::test]
async fn each_failure_has_its_error() {
    let exit = run(
        shell("echo 'Zugriff\x07 verweigert' >&2; exit 3"),
        b"",
        LONG,
    )
    .await
    .unwrap_err();
    assert_eq!(
        exit.to_string(),
        "ended with exit status: 3: Zugriff  verweigert"
    );
    let silent = run(shell("exit 1"), &[b'x'; 1 << 20], LONG)
        .await
        .unwrap_err();
    assert_eq!(
        silent.to_string(),
        "ended with exit status: 1: without output"
    );
    let broken = run(shell("echo answer; kill -PIPE $$"), &[b'x'; 1 << 20], LONG);
    assert_eq!(
        broken.await.unwrap(),
        b"answer\n",
        "what was printed counts"
    );
    let missing = run(Command::new("/nonexistent/powershell.exe"), b"", LONG)
        .await
        .unwrap_err();
    assert!(matches!(missing, ChildError::Start(_)), "{missing}");
    let flood = run(shell("exec yes"), b"", LONG).await.unwrap_err();
    assert!(matches!(flood, ChildError::TooMuch), "{flood}");
}

#[tokio::test]
async fn hanging_program_and_its_helpers_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let script = format!(
        "sleep 600 & echo $! $$ > {0}.new; mv {0}.new {0}; wait",
        pids.display()
    );
    let waiting = run(shell(&script), b"", Duration::from_millis(700))
        .await
        .unwrap_err();
    assert!(matches!(waiting, ChildError::Timeout(_)), "{waiting}");
    let text = std::fs::read_to_string(&pids).unwrap();
    for pid in text.split_whitespace() {
        let ended = async {
            // A killed orphan stays a zombie until its new parent takes note.
            while std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| !stat.contains(") Z "))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(LONG, ended).await.is_ok(), "{pid} still runs");
    }
}

#[test]
fn messages_of_init_are_the_same_each_time() {
    let table = [
        (
            "<3>WSL (4711 - ) ERROR: UtilConnectUnix:543: connect failed 111\n",
            "WSL ERROR: UtilConnectUnix:543: connect failed 111",
            true,
        ),
        (
            "<3>WSL (8 - Relay) ERROR: UtilAcceptVsock:254: Waiting for abnormally long accept(5)\n\
             <3>WSL (8 - Relay) ERROR: UtilAcceptVsock:281: accept4 failed 110\n",
            "WSL ERROR: UtilAcceptVsock:254: Waiting for abnormally long accept(5) \
             WSL ERROR: UtilAcceptVsock:281: accept4 failed 110",
            true,
        ),
        // It may have been started after all.
        (
            "<3>WSL (8 - ) ERROR: UtilAcceptVsock:254: Waiting for abnormally long accept(5)\n",
            "WSL ERROR: UtilAcceptVsock:254: Waiting for abnormally long accept(5)",
            false,
        ),
        (
            "<3>WSL (7) ERROR: connect failed 2",
            "WSL ERROR: connect failed 2",
            false,
        ),
        (
            "the WSL (version 2) is old",
            "the WSL (version 2) is old",
            false,
        ),
        ("connect failed 111", "connect failed 111", false),
        ("", "", false),
    ];
    for (stderr, expected, nothing) in table {
        let said = said(stderr.as_bytes());
        assert_eq!((said.as_str(), not_started(&said)), (expected, nothing));
    }
}

#[tokio::test]
async fn a_program_that_was_not_started_has_not_failed() {
    let script = "echo '<3>WSL (9 - ) ERROR: UtilAcceptVsock:281: accept4 failed 110' >&2; exit 1";
    let error = run(shell(script), b"", LONG).await.unwrap_err();
    assert!(matches!(error, ChildError::NotStarted(_)), "{error}");
}
