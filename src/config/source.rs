//! Which files a configuration has, in which order, and their text.

use std::{
    fs,
    io::{self, Read as _},
    path::{self, Path, PathBuf},
};

use crate::fs::open_regular;

/// Where the configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The system's folders.
    System,
    /// One file, with `FILE.d/*.toml` beside it.
    File(PathBuf),
}

/// The administrator's file.
const MAIN: &str = "/etc/wslmesh/wslmesh.toml";

/// Largest configuration file in bytes; a larger one is a mistake.
const MAX_BYTES: u64 = 1 << 20;

impl Source {
    /// The source for an optional `--config FILE`.
    #[must_use]
    pub fn from_option(file: Option<&Path>) -> Self {
        file.map_or(Self::System, |file| Self::File(file.to_owned()))
    }

    /// The file that a person edits.
    #[must_use]
    pub fn main(&self) -> &Path {
        match self {
            Self::System => Path::new(MAIN),
            Self::File(file) => file,
        }
    }

    /// The folder that file is in, from the root; hooks are below it.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        let main = path::absolute(self.main()).unwrap_or_else(|_| self.main().to_owned());
        main.parent().unwrap_or(Path::new("/")).to_owned()
    }

    /// The folder whose `*.toml` override that file.
    #[must_use]
    pub fn drop_ins(&self) -> PathBuf {
        let mut name = self.main().as_os_str().to_owned();
        name.push(".d");
        PathBuf::from(name)
    }

    /// The files in the order of their weight, the last wins. The administrator's
    /// file beats what packages and the running system drop in; its own drop-ins
    /// beat it, as with systemd's units.
    fn texts(&self) -> Vec<Text> {
        let mut texts = Vec::new();
        if *self == Self::System {
            texts.extend(drop_ins(Path::new("/usr/lib/wslmesh")));
            texts.extend(drop_ins(Path::new("/run/wslmesh")));
        }
        if *self != Self::System || self.main().try_exists().unwrap_or(true) {
            texts.push((self.main().to_owned(), read(self.main())));
        }
        texts.extend(drop_ins(&self.drop_ins()));
        texts
    }
}

/// A file and its text, or what is wrong with it.
type Text = (PathBuf, Result<String, String>);

/// A drop-in that is not written yet, or is about to be removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) path: &'a Path,
    /// `None` looks at the configuration without the file.
    pub(super) text: Option<&'a str>,
}

/// The files of a source, in order; a draft takes the place of its file.
pub(super) fn texts(source: &Source, draft: Option<Draft<'_>>) -> Vec<Text> {
    let mut texts = source.texts();
    if let Some(Draft { path, text }) = draft {
        texts.retain(|(other, _)| other != path);
        // Drop-ins come last, by name.
        let after = |(other, _): &Text| other.parent() == path.parent() && **other > *path;
        let place = texts.iter().position(after).unwrap_or(texts.len());
        if let Some(text) = text {
            texts.insert(place, (path.to_owned(), Ok(text.to_owned())));
        }
    }
    texts
}

/// The `*.toml` of a folder by name; none where there is no folder.
fn drop_ins(folder: &Path) -> Vec<Text> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        entries.collect()
    };
    let mut found = match list() {
        Ok(found) => found,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Vec::new(),
            _ => return vec![(folder.to_owned(), Err(unreadable(&error)))],
        },
    };
    found.retain(|path| path.extension().is_some_and(|one| one == "toml"));
    found.sort();
    let read = |path: PathBuf| (path.clone(), read(&path));
    found.into_iter().map(read).collect()
}

fn unreadable(error: &io::Error) -> String {
    format!(
        " cannot read the configuration: {error}; correct its permissions, or name another file with --config"
    )
}

/// A file's text, or what is wrong with it.
fn read(path: &Path) -> Result<String, String> {
    let file = open_regular(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            " there is no such file; name the right one with --config".to_owned()
        }
        io::ErrorKind::InvalidInput => " is not a regular file; remove it and put the configuration there, or name another file with --config".to_owned(),
        _ => unreadable(&error),
    })?;
    let size = file.metadata().map_err(|error| unreadable(&error))?.len();
    if size > MAX_BYTES {
        return Err(format!(
            " has {size} bytes, more than any configuration (1 MiB); name the right file with --config"
        ));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let valid = error.as_bytes().iter().take(valid);
        let line = valid.filter(|byte| **byte == b'\n').count() + 1;
        format!("{line}: is not UTF-8 text; save it as UTF-8, or name another file with --config")
    })
}
