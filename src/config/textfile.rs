//! `[metrics]`: the file that node_exporter reads.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A file for node_exporter's textfile collector, or none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Textfile(Option<PathBuf>);

impl Textfile {
    /// Its path; nothing where none is to be written.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

impl TryFrom<String> for Textfile {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        // The collector takes what matches *.prom (node_exporter: collector/textfile.go).
        let path = Path::new(&text);
        let ends = path.extension().is_some_and(|end| end == "prom");
        if path.is_absolute() && ends && !text.contains('\0') {
            return Ok(Self(Some(path.to_owned())));
        }
        Err(format!(
            "{text:?} is no file that node_exporter reads: write an absolute path that ends in .prom, such as \"/var/lib/prometheus/node-exporter/wslmesh.prom\", or \"\" for none"
        ))
    }
}

impl From<Textfile> for String {
    fn from(file: Textfile) -> Self {
        let path = file.0.unwrap_or_default();
        path.into_os_string().into_string().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
