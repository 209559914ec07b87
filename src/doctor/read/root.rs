//! Files below a root, within bounds.

use std::{fs, io, path::PathBuf};

use super::super::facts::Read;
use crate::fs::read_bounded;

/// Where files are read from: `/`, or a described machine of a test.
#[derive(Debug, Clone)]
pub(in crate::doctor) struct Root(pub(in crate::doctor) PathBuf);

impl Root {
    /// A path of the machine.
    pub(in crate::doctor) fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The first bytes of a regular file, `most` of them. Nothing else is read: a
    /// pipe in a file's place would never end.
    pub(in crate::doctor) fn bytes(&self, path: &str, most: usize) -> Read<Vec<u8>> {
        match read_bounded(&self.at(path), most) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The same as text.
    pub(in crate::doctor) fn text(&self, path: &str, most: usize) -> Read<String> {
        let bytes = self.bytes(path, most)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The text, empty where it cannot be read.
    pub(in crate::doctor) fn text_or_empty(&self, path: &str, most: usize) -> String {
        self.text(path, most).ok().flatten().unwrap_or_default()
    }

    /// One short line, trimmed; `None` where it is empty.
    pub(in crate::doctor) fn line(&self, path: &str) -> Option<String> {
        let text = self.text_or_empty(path, 4096);
        let line = text.lines().next()?.trim().to_owned();
        (!line.is_empty()).then_some(line)
    }

    /// Names in a folder, sorted, `most` at most; none where it is no folder.
    pub(in crate::doctor) fn names(&self, path: &str, most: usize) -> Vec<String> {
        let entries = fs::read_dir(self.at(path)).into_iter().flatten().take(most);
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Whether this is a folder that this user cannot list.
    pub(in crate::doctor) fn is_hidden(&self, path: &str) -> bool {
        let read = fs::read_dir(self.at(path));
        read.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether it exists, also as a dangling link.
    pub(in crate::doctor) fn exists(&self, path: &str) -> bool {
        self.at(path).symlink_metadata().is_ok()
    }

    /// The paths of those of these names that exist in a folder.
    pub(in crate::doctor) fn existing(&self, folder: &str, names: &[&str]) -> Vec<String> {
        let paths = names.iter().map(|name| format!("{folder}/{name}"));
        paths.filter(|path| self.exists(path)).collect()
    }

    /// Where a link leads.
    pub(in crate::doctor) fn link(&self, path: &str) -> Option<String> {
        let to = fs::read_link(self.at(path)).ok()?;
        Some(to.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_and_not_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root(folder.path().to_owned());
        fs::create_dir(root.at("/etc")).unwrap();
        fs::write(root.at("/etc/a"), " one \ntwo").unwrap();
        let pipe = root.at("/etc/pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        assert_eq!(root.text("/etc/a", 3), Ok(Some(" on".into())));
        assert_eq!(root.line("/etc/a"), Some("one".into()));
        assert_eq!(root.bytes("/etc/none", 9), Ok(None));
        for path in ["/etc", "/etc/pipe", "/dev/null"] {
            let got = root.bytes(path, 9);
            assert!(path == "/dev/null" || got.is_err(), "{path}: {got:?}");
        }
        assert_eq!(root.names("/etc", 9), ["a", "pipe"]);
        assert_eq!(root.names("/none", 9), [""; 0]);
        assert!(root.exists("/etc/pipe") && !root.exists("/etc/none"));
    }
}
