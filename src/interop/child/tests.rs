use super::*;

const LONG: Duration = Duration::from_secs(20);

async fn run(command: Command, input: &[u8], deadline: Duration) -> Result<Vec<u8>, ChildError> {
    spawn(command)?.finish(input, deadline).await
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
