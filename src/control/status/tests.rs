use std::{fs, time::Duration};

use super::*;

#[test]
fn without_an_answer_the_document_is_read() {
    let runtime = tempfile::tempdir().unwrap();
    let paths = Paths {
        runtime: runtime.path().to_owned(),
        state: runtime.path().to_owned(),
        lib: runtime.path().to_owned(),
    };
    let absent = || ControlError::Absent("the agent is not on the system bus".to_owned());
    let late = || ControlError::Timeout(Duration::from_secs(1));
    for unreachable in [absent(), ControlError::Denied] {
        assert!(from_document(&paths, unreachable).unwrap().is_none());
    }
    let stuck = from_document(&paths, late()).unwrap_err();
    assert!(stuck.to_string().contains("did not answer"), "{stuck}");
    let pid = std::process::id();
    let text = format!(
        r#"{{"version":1,"pid":{pid},"role":"active","mode":"nat","interface":null,"address":null,"gateway":null,"network-file":"/x","forwards":null,"windows-address":null,"passes":1,"last-pass-us":1,"health":[]}}"#
    );
    let path = runtime.path().join("status.json");
    fs::write(&path, &text).unwrap();
    for (why, words) in [
        (absent(), "the agent is not on the system bus; read from /"),
        (
            late(),
            "the agent did not answer on the bus within 1 s; read from /",
        ),
    ] {
        let status = from_document(&paths, why).unwrap().unwrap();
        assert_eq!(status.document.pid, pid);
        let note = status.note.unwrap();
        assert!(
            note.starts_with(words) && note.ends_with("/status.json"),
            "{note}"
        );
    }
    // Of an agent that was killed.
    fs::write(&path, text.replace(&format!(":{pid},"), ":4194304,")).unwrap();
    assert!(from_document(&paths, absent()).unwrap().is_none());
    fs::write(&path, "{").unwrap();
    let neither = from_document(&paths, absent()).unwrap_err().to_string();
    assert!(neither.starts_with("cannot read the status document in "));
    assert!(
        neither.ends_with("; and the agent is not on the system bus"),
        "{neither}"
    );
}
