use super::*;

/// Reads an answer from these bytes alone.
fn parse(stdout: &[u8]) -> Result<Answer, impl std::fmt::Debug> {
    Answer::parse(&crate::interop::Output {
        stdout: stdout.to_vec(),
        stderr: String::new(),
    })
}

fn facts() -> Facts {
    Facts {
            wslmesh: "0.1.0",
            kernel: "6.18.20.1-microsoft-standard-WSL2".into(),
            wsl: Some("2.9.0".into()),
            mode: "nat".into(),
            interop: "/mnt/c/Windows/System32/WindowsPowerShell/v1.0/powershell.exe through /run/WSL/1_interop".into(),
            configuration: "backend auto".into(),
            agent: "not running".into(),
            health: Some(Vec::new()),
        }
}

fn checked() -> Findings {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/host-setup");
    let golden = std::fs::read(format!("{folder}/answer-checked.json")).unwrap();
    findings(facts(), Ok(parse(&golden).unwrap()))
}

#[test]
fn table_has_80_columns() {
    let lines = table(&checked());
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{lines:#?}"
    );
    let end = &lines[lines.len() - 7..];
    assert_eq!(
        end,
        [
            "T1  ok       WSL records the guest's address in this user's registry, inside its",
            "             network",
            "             172.28.16.5 in 172.28.16.0/20",
            "T2  DIFFERS  WSL records its network and gateway for the machine",
            "             the task is disabled",
            "T3  not run  the port proxy's rules are registry values named address/port",
            "             run \"wslmesh host check\" again",
        ]
    );
    assert!(lines.contains(&"installed  0.1.0".to_owned()));
}

#[test]
fn facts_are_shown_as_words() {
    let table = [
        (
            r#"{"address":"172.28.16.5","mtu":1280,"up":true}"#,
            "address: 172.28.16.5; mtu: 1280; up: true",
        ),
        ("the task is disabled", "the task is disabled"),
        (r#"{"broken":"#, r#"{"broken":"#),
        ("", ""),
    ];
    for (detail, words) in table {
        assert_eq!(found(detail), words);
    }
}

#[test]
fn exit_status_follows_the_checks() {
    let mut found = checked();
    assert_eq!(exit(&found), Exit::Degraded);
    found
        .checks
        .retain(|check| check.result != CheckResult::Differs);
    assert_eq!(exit(&found), Exit::Fine);
    let missing = SetupError::from(crate::interop::InteropError::NoSocket(String::new()));
    assert_eq!(exit(&findings(facts(), Err(missing))), Exit::Failed);
}

#[test]
fn a_document_has_facts_as_fields_and_reasons() {
    let mut checked = checked();
    checked.checks[0].detail = r#"{"address":"172.28.16.5"}"#.into();
    let document = serde_json::to_value(&checked).unwrap();
    let checks = &document["checks"];
    assert_eq!(checks[0]["detail"]["address"], "172.28.16.5");
    assert_eq!(
        (&checks[2]["result"], &checks[2]["detail"]),
        (
            &"not-run".into(),
            &"run \"wslmesh host check\" again".into()
        )
    );
    let missing = SetupError::from(crate::interop::InteropError::NoSocket(String::new()));
    let document = serde_json::to_value(findings(facts(), Err(missing))).unwrap();
    let why = document["windows"]["error"].as_str().unwrap();
    assert!(why.starts_with("no interop socket"), "{why}");
}

#[test]
fn report_is_overwritten_with_force_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    write(&path, false, "one").unwrap();
    assert!(write(&path, false, "two").is_err());
    write(&path, true, "2").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "2");
}

#[test]
fn a_report_is_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("report.json"), folder.path().join("old"));
    write(&path, false, "one").unwrap();
    std::fs::hard_link(&path, &other).unwrap();
    assert!(write(&path, false, "two").is_err(), "it exists");
    write(&path, true, "two").unwrap();
    let text = |path| std::fs::read_to_string(path).unwrap();
    assert_eq!((text(&path), text(&other)), ("two".into(), "one".into()));
}
