//! Telling the running agent to look again.

use std::{fs, path::Path};

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

    #[test]
    fn another_program_gets_no_signal() {
        let runtime = tempfile::tempdir().unwrap();
        let paths = Paths {
            runtime: runtime.path().to_owned(),
            state: runtime.path().to_owned(),
            lib: runtime.path().to_owned(),
        };
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
