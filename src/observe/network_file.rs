//! The generated network file as it is.

use std::path::Path;

use crate::{fs::file, model::NetworkFile};

pub(super) fn read(path: &Path) -> NetworkFile {
    match file::read(path) {
        Ok(Some(found)) => NetworkFile::Content(found.content().to_vec()),
        Ok(None) => NetworkFile::Missing,
        Err(error) => NetworkFile::Unreadable(error.to_string()),
    }
}
