//! Which files a configuration has, in which order, and their text.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs::{self, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt,
    path::{self, Path, PathBuf},
};

use crate::fs::{
    open_regular,
    own::{OTHERS_WRITE, PERMISSIONS, STICKY},
};

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
        let owners = Owners::of(self);
        let mut found = Vec::new();
        if *self == Self::System {
            found.extend(owners.drop_ins(Path::new("/usr/lib/wslmesh")));
            found.extend(owners.drop_ins(Path::new("/run/wslmesh")));
        }
        let main = self.main();
        if *self != Self::System || main.try_exists().unwrap_or(true) {
            found.push(owners.found(main.to_owned()));
        }
        found.extend(owners.drop_ins(&self.drop_ins()));
        unmasked(found)
    }
}

/// Something in a folder of configuration.
#[derive(Debug)]
enum Found {
    Text(Text),
    /// A symlink to /dev/null: no file of this name in a folder before it counts.
    Mask(PathBuf),
}

/// The texts that no mask hides (systemd.unit(5) has the same for its files).
fn unmasked(found: Vec<Found>) -> Vec<Text> {
    let mut masks = BTreeSet::new();
    let mut texts = Vec::new();
    for one in found.into_iter().rev() {
        match one {
            Found::Mask(path) => drop(masks.insert(path.file_name().map(OsString::from))),
            Found::Text((path, _)) if masks.contains(&path.file_name().map(OsString::from)) => {}
            Found::Text(text) => texts.push(text),
        }
    }
    texts.reverse();
    texts
}

fn is_mask(path: &Path) -> bool {
    path.is_symlink() && fs::canonicalize(path).is_ok_and(|to| to == Path::new("/dev/null"))
}

/// Whose files are loaded: what they say, root does.
#[derive(Debug)]
struct Owners {
    /// With `--config` also the user who runs this, perhaps by sudo.
    user: Option<u32>,
}

impl Owners {
    fn of(source: &Source) -> Self {
        let user = || {
            let own = rustix::process::geteuid().as_raw();
            let sudo = || env::var("SUDO_UID").ok()?.parse().ok();
            if own == 0 { sudo().unwrap_or(0) } else { own }
        };
        Self {
            user: (*source != Source::System).then(user),
        }
    }

    /// Checks that no one else made this file, link or folder, or can write it.
    fn check(&self, path: &Path, meta: &Metadata) -> Result<(), Unusable> {
        let (uid, shown) = (meta.uid(), path.display());
        if uid != 0 && Some(uid) != self.user {
            return Err(Unusable::Wrong(format!(
                " is not loaded: {shown} belongs to user {uid}; look at what is in it, then run `chown -h root: {shown}`, or remove it"
            )));
        }
        let mode = meta.mode() & PERMISSIONS;
        let others = if meta.gid() == 0 { 0o002 } else { OTHERS_WRITE };
        // In a sticky folder others make files, which are theirs, and write no other.
        let sticky = meta.is_dir() && mode & STICKY != 0;
        // A symlink has no mode, and users share what is theirs with whom they want.
        if mode & others == 0 || sticky || meta.is_symlink() || uid != 0 {
            return Ok(());
        }
        Err(Unusable::Wrong(format!(
            " is not loaded: others than root can write {shown} (mode {mode:o}); look at what is in it, then run `chmod go-w {shown}`"
        )))
    }

    /// Checks the folder of a file, and the file's own link.
    fn check_place(&self, path: &Path) -> Result<(), Unusable> {
        let folder = match path.parent().unwrap_or(path) {
            none if none.as_os_str().is_empty() => Path::new("."),
            folder => folder,
        };
        self.check(folder, &fs::metadata(folder)?)?;
        self.check(path, &fs::symlink_metadata(path)?)
    }

    /// What is at this path.
    fn found(&self, path: PathBuf) -> Found {
        if !is_mask(&path) {
            let text = self.read(&path);
            return Found::Text((path, text));
        }
        match self.check_place(&path) {
            Ok(()) => Found::Mask(path),
            Err(why) => Found::Text((path, Err(why))),
        }
    }
}

/// A file and its text, or what is wrong with it.
type Text = (PathBuf, Result<String, Unusable>);

/// Why a file or a folder is not loaded, and the fix.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// What is wrong with it.
    #[error("{0}")]
    Wrong(String),
    /// The system's reason, which may pass.
    #[error(
        " cannot read the configuration: {0}; correct its permissions, or name another file with --config"
    )]
    Unread(#[from] io::Error),
}

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

impl Owners {
    /// The `*.toml` of a folder by name; none where there is no folder. Hidden files are
    /// those of editors.
    fn drop_ins(&self, folder: &Path) -> Vec<Found> {
        let list = || -> io::Result<Vec<PathBuf>> {
            let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
            entries.collect()
        };
        let mut found = match list() {
            Ok(found) => found,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Vec::new(),
                _ => return vec![Found::Text((folder.to_owned(), Err(error.into())))],
            },
        };
        let is_hidden = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(b".")
        };
        found.retain(|path| path.extension().is_some_and(|one| one == "toml") && !is_hidden(path));
        found.sort();
        found.into_iter().map(|path| self.found(path)).collect()
    }

    /// A file's text, or what is wrong with it.
    fn read(&self, path: &Path) -> Result<String, Unusable> {
        let wrong = |text: &str| Unusable::Wrong(text.to_owned());
        let file = open_regular(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                wrong(" there is no such file; name the right one with --config")
            }
            io::ErrorKind::InvalidInput => wrong(
                " is not a regular file; remove it and put the configuration there, or name another file with --config",
            ),
            _ => error.into(),
        })?;
        let meta = file.metadata()?;
        self.check_place(path)?;
        self.check(path, &meta)?;
        let size = meta.len();
        if size > MAX_BYTES {
            return Err(Unusable::Wrong(format!(
                " has {size} bytes, more than any configuration (1 MiB); name the right file with --config"
            )));
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        // Editors on Windows begin a file with a byte order mark.
        if bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let valid = error.as_bytes().iter().take(valid);
            let line = valid.filter(|byte| **byte == b'\n').count() + 1;
            Unusable::Wrong(format!(
                "{line}: is not UTF-8 text; save it as UTF-8, or name another file with --config"
            ))
        })
    }
}
