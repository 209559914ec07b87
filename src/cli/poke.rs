//! Telling the running agent to look again, and to ask the relay for its counters.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    paths::Paths,
    report::{self, Document, read_status},
};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Poked {
    /// This process reads its configuration again and asks Windows.
    Told(u32),
    /// None runs here.
    NoAgent,
    /// It could not be told, for this reason.
    Untold(String),
}

/// The process of the agent of this distribution.
pub(super) fn agent(paths: &Paths) -> Option<u32> {
    let document = read_status(&paths.runtime).ok().flatten();
    document
        .filter(Document::is_alive)
        .map(|document| document.pid)
        .filter(|pid| is_ours(*pid))
}

/// Has it read its configuration and ask Windows, as `systemctl reload wslmesh` does.
pub(super) fn poke(paths: &Paths) -> Poked {
    let Some(pid) = agent(paths) else {
        return Poked::NoAgent;
    };
    match report::poke(&paths.runtime) {
        Ok(true) => Poked::Told(pid),
        // Which program another user's process runs is that user's to know.
        Ok(false) => Poked::Untold("it is another user's".to_owned()),
        Err(error) => Poked::Untold(error.to_string()),
    }
}

/// Longest wait for counters.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks at the document.
const BETWEEN: Duration = Duration::from_millis(5);

/// The agent's document, with the relay's counters of now where there is a relay
/// that serves and we may signal the agent; else with the last ones.
pub(super) fn with_counters(paths: &Paths, document: Document) -> Document {
    let ask = || report::ask_counters(&paths.runtime).unwrap_or(false);
    let serves = document.relay.as_ref().is_some_and(|relay| relay.applied);
    if serves && is_ours(document.pid) && ask() {
        newer(paths, document, PATIENCE)
    } else {
        document
    }
}

/// The document as soon as its counters are others than those of `document`, or
/// `document` itself when that takes too long.
fn newer(paths: &Paths, document: Document, patience: Duration) -> Document {
    let taken = |document: &Document| {
        let counters = document.relay.as_ref()?.counters.as_ref()?;
        Some(counters.taken_unix_ms)
    };
    let (before, until) = (taken(&document), Instant::now() + patience);
    while Instant::now() < until {
        thread::sleep(BETWEEN);
        if let Ok(Some(now)) = read_status(&paths.runtime)
            && taken(&now).is_some()
            && taken(&now) != before
        {
            return now;
        }
    }
    document
}

/// Whether the process is a wslmesh: the number of an agent that was killed may
/// be another program's now.
fn is_ours(pid: u32) -> bool {
    let comm = Path::new("/proc").join(pid.to_string()).join("comm");
    fs::read_to_string(comm).is_ok_and(|name| name.trim_end() == "wslmesh")
}

impl Poked {
    /// For a person.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Told(pid) => format!("the agent (process {pid}) was told"),
            Self::NoAgent => "no agent runs here; to start it: systemctl start wslmesh".to_owned(),
            Self::Untold(why) => {
                format!("the agent could not be told ({why}): sudo systemctl reload wslmesh")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(folder: &Path) -> Paths {
        Paths {
            runtime: folder.to_owned(),
            state: folder.to_owned(),
            lib: folder.to_owned(),
        }
    }

    /// A document whose relay was asked last at that time.
    fn document(taken: Option<u64>) -> Document {
        let counters = taken.map_or_else(
            || "null".to_owned(),
            |taken| format!(r#"{{"taken-unix-ms":{taken},"forwards":[]}}"#),
        );
        let own = std::process::id();
        let text = format!(
            r#"{{"version":1,"pid":{own},"role":"active","mode":"nat","interface":null,"address":null,"gateway":null,"network-file":"/x","forwards":null,"windows-address":null,"passes":1,"last-pass-us":1,"health":[],
            "relay":{{"place":"guest","applied":true,"sessions":0,"counters":{counters}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn counters_are_waited_for_and_not_for_ever() {
        let runtime = tempfile::tempdir().unwrap();
        let paths = paths(runtime.path());
        let long = Duration::from_secs(20);
        for (before, then) in [(None, 5), (Some(5), 7), (Some(7), 6)] {
            let before = document(before);
            report::write_status(runtime.path(), &before).unwrap();
            let begin = Instant::now();
            let late = newer(&paths, before.clone(), Duration::from_millis(30));
            assert_eq!(late, before);
            assert!(begin.elapsed() >= Duration::from_millis(30));
            let found = thread::scope(|scope| {
                let asking = scope.spawn(|| newer(&paths, before.clone(), long));
                thread::sleep(Duration::from_millis(20));
                report::write_status(runtime.path(), &document(Some(then))).unwrap();
                asking.join().unwrap()
            });
            assert_eq!(found, document(Some(then)));
        }
        // This process is no wslmesh: it gets no signal, and nobody waits.
        let begin = Instant::now();
        assert_eq!(with_counters(&paths, document(Some(9))), document(Some(9)));
        assert!(begin.elapsed() < PATIENCE);
    }

    #[test]
    fn another_program_gets_no_signal() {
        let runtime = tempfile::tempdir().unwrap();
        let paths = paths(runtime.path());
        assert_eq!(poke(&paths), Poked::NoAgent);
        // The test's own process, alive and no wslmesh: the signal would end it.
        let own = std::process::id();
        assert!(!is_ours(own));
        let text = format!(
            r#"{{"version":1,"pid":{own},"role":"active","mode":"nat","interface":null,"address":null,"gateway":null,"network-file":"/x","forwards":null,"windows-address":null,"passes":1,"last-pass-us":1,"health":[]}}"#
        );
        fs::write(runtime.path().join("status.json"), text).unwrap();
        assert!(read_status(runtime.path()).unwrap().is_some());
        assert_eq!(poke(&paths), Poked::NoAgent);
    }
}
