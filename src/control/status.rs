//! What a running agent knows: from itself, or from its status document.

use std::io;

use super::client::{Client, ControlError};
use crate::{
    paths::Paths,
    report::{Document, read_status},
};

/// The status of a running agent.
#[derive(Debug)]
pub struct Status {
    /// All that is known.
    pub document: Document,
    /// Where it is not from the agent itself: from where, and why.
    pub note: Option<String>,
}

/// The status by D-Bus; without an answer there, the document on disk, which has
/// neither peers nor the counters of now. `None` where the agent is not running.
///
/// # Errors
/// The agent does not answer and there is no document, or one that cannot be read.
pub async fn status(paths: &Paths) -> Result<Option<Status>, ControlError> {
    let answer = async { Client::connect().await?.status().await };
    match answer.await {
        Ok(document) => Ok(Some(Status {
            document,
            note: None,
        })),
        Err(error) => from_document(paths, error),
    }
}

fn from_document(paths: &Paths, why: ControlError) -> Result<Option<Status>, ControlError> {
    let folder = paths.runtime.display();
    match written(paths) {
        Ok(Some(document)) => Ok(Some(Status {
            document,
            note: Some(format!("{why}; read from {folder}/status.json")),
        })),
        Ok(None) if why.is_absent() || matches!(why, ControlError::Denied) => Ok(None),
        Ok(None) => Err(why),
        Err(error) => Err(ControlError::Unreadable(format!(
            "cannot read the status document in {folder}: {error}; and {why}"
        ))),
    }
}

/// The document of a running agent.
pub(super) fn written(paths: &Paths) -> io::Result<Option<Document>> {
    Ok(read_status(&paths.runtime)?.filter(Document::is_alive))
}

#[cfg(test)]
mod tests;
