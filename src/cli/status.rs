//! `wslmesh status`

mod page;
mod peers;

use std::{fmt::Display, time::SystemTime};

use anyhow::bail;
use tokio::task::spawn_blocking;

use self::page::Page;
use super::{
    answers,
    bus::{Bus, BusError},
    output::{Exit, print},
    poke::with_counters,
};
use crate::{
    observe::Peers,
    paths::Paths,
    report::{Document, read_status},
};

pub(super) async fn status(paths: &Paths, json: bool) -> anyhow::Result<Exit> {
    let (written, described) = tokio::join!(written(paths), described());
    let (mut document, note) = chosen(written, described)?;
    // Devices tell their peers to root alone.
    if document.wireguard.is_none() && rustix::process::geteuid().is_root() {
        document.wireguard = Some(Peers::default().of(&document.links).await);
    }
    answers::look(&mut document);
    if json {
        print(&serde_json::to_string_pretty(&document)?)?;
    } else {
        let page = Page {
            document: &document,
            note: note.as_deref(),
            now_unix: now_unix(),
        };
        print(&page.lines().join("\n"))?;
    }
    Ok(if document.degraded() {
        Exit::Degraded
    } else {
        Exit::Fine
    })
}

/// What the agent of this folder wrote, with the relay's counters of now where we
/// may ask for them.
///
/// # Errors
/// Why it cannot be read, in a sentence.
async fn written(paths: &Paths) -> Result<Option<Document>, String> {
    let folder = paths.runtime.display();
    let puzzled =
        |error: &dyn Display| format!("cannot read the status document in {folder}: {error}");
    let document = read_status(&paths.runtime).map_err(|error| puzzled(&error))?;
    let Some(document) = document.filter(Document::is_alive) else {
        return Ok(None);
    };
    let paths = paths.clone();
    // It may wait for the relay.
    let asking = spawn_blocking(move || with_counters(&paths, document));
    asking.await.map(Some).map_err(|error| puzzled(&error))
}

/// What the agent on the bus says, which has more.
async fn described() -> Result<Document, BusError> {
    let bus = Bus::system().await.ok_or(BusError::Absent)?;
    bus.describe().await
}

/// One of the two, and what is worth a word about the other. The agent of this
/// folder may be another one than the one on the bus.
fn chosen(
    written: Result<Option<Document>, String>,
    described: Result<Document, BusError>,
) -> anyhow::Result<(Document, Option<String>)> {
    let taken = |document: &Document| {
        let counters = document.relay.as_ref()?.counters.as_ref()?;
        Some(counters.taken_unix_ms)
    };
    let written = match (written, &described) {
        (Ok(written), _) => written,
        (Err(why), Ok(_)) => return Ok((described?, Some(why))),
        (Err(why), Err(error)) => bail!("{why}; and {error}"),
    };
    match (written, described) {
        (Some(written), Ok(mut described)) if written.pid == described.pid => {
            if taken(&written) > taken(&described) {
                described.relay = written.relay;
            }
            Ok((described, None))
        }
        (Some(written), Ok(_) | Err(BusError::Absent)) => Ok((written, None)),
        (Some(written), Err(error)) => Ok((
            written,
            Some(format!("{error}; this is what it wrote last")),
        )),
        (None, Ok(described)) => Ok((described, None)),
        (None, Err(BusError::Absent)) => {
            bail!("no agent runs here; start it: systemctl start wslmesh")
        }
        (None, Err(error)) => Err(error.into()),
    }
}

fn now_unix() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn document(pid: u32, passes: u64, counted: Option<u64>) -> Document {
        let counters = counted.map_or_else(
            || "null".to_owned(),
            |taken| format!(r#"{{"taken-unix-ms":{taken},"forwards":[]}}"#),
        );
        let text = format!(
            r#"{{"version":1,"pid":{pid},"role":"active","mode":"nat","interface":null,"address":null,"gateway":null,"network-file":"/x","forwards":null,"windows-address":null,"passes":{passes},"last-pass-us":1,"health":[],
            "relay":{{"place":"guest","applied":true,"sessions":0,"counters":{counters}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_bus_has_more_and_the_file_has_newer_counters() {
        let file = |passes, counted| Some(document(7, passes, counted));
        let bus = |pid, counted| Ok(document(pid, 2, counted));
        let silent = || Err(BusError::Silent(Duration::from_secs(1)));
        let late = "the agent did not answer on the bus within 1 s; this is what it wrote last";
        // Process, passes, counters; and the note.
        let table = [
            (file(1, Some(9)), bus(7, Some(8)), (7, 2, Some(9)), None),
            (file(1, Some(8)), bus(7, Some(9)), (7, 2, Some(9)), None),
            (file(1, None), bus(7, None), (7, 2, None), None),
            (file(1, None), bus(8, None), (7, 1, None), None),
            (None, bus(8, None), (8, 2, None), None),
            (file(1, None), Err(BusError::Absent), (7, 1, None), None),
            (file(1, None), silent(), (7, 1, None), Some(late)),
        ];
        for (written, described, expected, note) in table {
            let (document, noted) = chosen(Ok(written), described).unwrap();
            let counters = document.relay.unwrap().counters;
            let counted = counters.map(|counters| counters.taken_unix_ms);
            assert_eq!((document.pid, document.passes, counted), expected);
            assert_eq!(noted.as_deref(), note);
        }
        let nobody = chosen(Ok(None), Err(BusError::Absent)).unwrap_err();
        assert!(nobody.to_string().contains("no agent runs here"));
        let stuck = chosen(Ok(None), silent()).unwrap_err();
        assert!(stuck.to_string().contains("did not answer"), "{stuck}");
        let broken = || Err("cannot read it".to_owned());
        let (document, noted) = chosen(broken(), bus(8, None)).unwrap();
        assert_eq!(
            (document.pid, noted.as_deref()),
            (8, Some("cannot read it"))
        );
        let neither = chosen(broken(), Err(BusError::Absent)).unwrap_err();
        assert_eq!(
            neither.to_string(),
            "cannot read it; and no agent is on the bus"
        );
    }
}
