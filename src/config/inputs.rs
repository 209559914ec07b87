//! From files to one set of wishes: which files, in which order, and what the
//! later ones override.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{self, Path, PathBuf},
    time::Duration,
};

use toml::Spanned;

use super::{
    ConfigError,
    dependents::{Entry, PlacedUnit},
    fragments::{
        Backend, Forward, Fragment, Interface, KNOWN, Settle, SysctlSetting, Underlay, nearest,
    },
};
use crate::model::{Patterns, SysctlKey};

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

impl Source {
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
        beside(self.main())
    }
}

/// Largest configuration file in bytes; a larger one is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// All keys merged, later files over earlier ones.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) files: Vec<PathBuf>,
    pub(super) interface: Option<Interface>,
    pub(super) config_file: Option<PathBuf>,
    pub(super) settle: Option<Settle>,
    pub(super) mtu_interfaces: Option<Patterns>,
    pub(super) mtu_value: Option<u16>,
    pub(super) underlay: Option<Underlay>,
    pub(super) sysctl: BTreeMap<SysctlKey, SysctlSetting>,
    pub(super) wireguard_interfaces: Option<Patterns>,
    pub(super) keepalive: Option<u16>,
    pub(super) backend: Option<Backend>,
    pub(super) units: Option<Vec<PlacedUnit>>,
    pub(super) hook_timeout: Option<Duration>,
    pub(super) forwards: Vec<Placed>,
}

/// A forward and where it is written.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) forward: Forward,
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

/// A drop-in that is not written yet, or is about to be removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) path: &'a Path,
    /// `None` looks at the configuration without the file.
    pub(super) text: Option<&'a str>,
}

/// Reads all files of a source, in order; a draft takes the place of its file.
pub(super) fn read(source: &Source, draft: Option<Draft<'_>>) -> Result<Inputs, ConfigError> {
    let mut inputs = Inputs::default();
    let mut paths = paths(source)?;
    if let Some(draft) = draft {
        paths.retain(|path| path != draft.path);
        // Drop-ins come last, by name.
        let after = |path: &PathBuf| path.parent() == draft.path.parent() && **path > *draft.path;
        let place = paths.iter().position(after).unwrap_or(paths.len());
        if draft.text.is_some() {
            paths.insert(place, draft.path.to_owned());
        }
    }
    for path in paths {
        let text = match draft {
            Some(draft) if draft.path == path => draft.text.unwrap_or_default().to_owned(),
            Some(_) | None => read_text(&path)?,
        };
        let fragment = parse(&path, &text)?;
        inputs.merge(fragment, &path, &text);
    }
    Ok(inputs)
}

/// The files of a source in the order of their weight, the last wins. The
/// administrator's file beats what packages and the running system drop in;
/// its own drop-ins beat it, as with systemd's units.
fn paths(source: &Source) -> Result<Vec<PathBuf>, ConfigError> {
    match source {
        Source::System => {
            let main = Path::new(MAIN);
            let mut paths = fragments_in(Path::new("/usr/lib/wslmesh"))?;
            paths.extend(fragments_in(Path::new("/run/wslmesh"))?);
            if main.try_exists().unwrap_or(true) {
                paths.push(main.to_owned());
            }
            paths.extend(fragments_in(&beside(main))?);
            Ok(paths)
        }
        Source::File(file) => {
            let mut paths = vec![file.clone()];
            paths.extend(fragments_in(&beside(file))?);
            Ok(paths)
        }
    }
}

/// `FILE.d` beside FILE.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".d");
    PathBuf::from(name)
}

/// The `*.toml` of a folder by name; none where there is no folder.
fn fragments_in(folder: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let meta = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ConfigError::Missing {
                path: path.to_owned(),
            });
        }
        meta => meta.map_err(failed)?,
    };
    if !meta.is_file() {
        return Err(ConfigError::NotAFile {
            path: path.to_owned(),
        });
    }
    if meta.len() > MAX_BYTES {
        return Err(ConfigError::TooLarge {
            path: path.to_owned(),
            bytes: meta.len(),
        });
    }
    let bytes = fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error
            .as_bytes()
            .iter()
            .take(good)
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        ConfigError::NotText {
            path: path.to_owned(),
            line,
        }
    })
}

fn parse(path: &Path, text: &str) -> Result<Fragment, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let (line, column) = position(text, offset);
        let place = place(text, offset);
        let mut message = error.message().trim_end().replace('\n', " ");
        if message.starts_with("unknown field") {
            let written = error
                .span()
                .and_then(|span| text.get(span))
                .unwrap_or_default()
                .trim_matches(['"', '\'']);
            message = unknown_key(&place.table, written);
        } else if !place.key.is_empty() {
            message = format!("{}: {message}", place.to_string().trim_start_matches('.'));
        }
        ConfigError::Syntax {
            path: path.to_owned(),
            line,
            column,
            message,
        }
    })
}

/// Says that a key is unknown and names the nearest known one.
fn unknown_key(table: &str, written: &str) -> String {
    let known = KNOWN
        .iter()
        .find(|(name, _)| *name == table)
        .map_or(&[][..], |(_, keys)| keys);
    let nearest = nearest(known, written);
    let place = if table.is_empty() {
        "at the top of the file".to_owned()
    } else {
        format!("in [{table}]")
    };
    let elsewhere = KNOWN
        .iter()
        .find(|(name, keys)| *name != table && keys.contains(&written))
        .map(|(name, _)| name);
    match (nearest, elsewhere) {
        (_, Some(elsewhere)) => {
            format!("unknown key `{written}` {place}: it belongs in [{elsewhere}]")
        }
        (Some(key), None) => format!("unknown key `{written}` {place}: did you mean `{key}`?"),
        (None, None) => format!(
            "unknown key `{written}` {place}: known are {}",
            known.join(", ")
        ),
    }
}

/// Line and column, counted from 1, of a byte in a text.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

/// Table and key that a byte of a TOML text stands in, for messages.
struct Place {
    table: String,
    key: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.table, self.key)
    }
}

fn place(text: &str, offset: usize) -> Place {
    let start = text
        .get(..offset)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |at| at + 1);
    let line = text
        .get(start..)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default()
        .trim();
    let header = |line: &str| {
        let name = line
            .strip_prefix('[')?
            .trim_start_matches('[')
            .split(']')
            .next()?;
        Some(name.trim().to_owned())
    };
    if line.starts_with('[') {
        // A table's own name belongs to no table.
        return Place {
            table: String::new(),
            key: header(line).unwrap_or_default(),
        };
    }
    let above = text.get(..start).unwrap_or_default().lines().rev();
    let mut above = above
        .map(str::trim)
        .take_while(|line| header(line).is_none());
    // A list may go over several lines, and its key stands on the first.
    let key = key_of(line).or_else(|| above.find_map(key_of));
    let table = text.get(..start).unwrap_or_default().lines().rev();
    let table = table.map(str::trim).find_map(header).unwrap_or_default();
    Place {
        table,
        key: key.unwrap_or_default().to_owned(),
    }
}

/// The key that a line gives a value to; none on a line within a list.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    (!key.starts_with(['{', '#', '['])).then_some(key)
}

impl Inputs {
    fn merge(&mut self, fragment: Fragment, path: &Path, text: &str) {
        let Fragment {
            network,
            mtu,
            sysctl,
            wireguard,
            host,
            dependents,
            forward,
        } = fragment;
        self.files.push(path.to_owned());
        over(&mut self.interface, network.interface);
        over(
            &mut self.config_file,
            network.config_file.map(|path| path.0),
        );
        over(&mut self.settle, network.settle);
        over(&mut self.mtu_interfaces, mtu.interfaces);
        over(&mut self.mtu_value, mtu.value.map(|value| value.0));
        over(&mut self.underlay, mtu.underlay);
        self.sysctl
            .extend(sysctl.into_iter().map(|(key, setting)| (key.0, setting)));
        over(&mut self.wireguard_interfaces, wireguard.interfaces);
        over(
            &mut self.keepalive,
            wireguard.keepalive.map(|value| value.0),
        );
        over(&mut self.backend, host.backend);
        let placed = |unit: Spanned<Entry>| PlacedUnit {
            line: position(text, unit.span().start).0,
            dependent: unit.into_inner().0,
            file: path.to_owned(),
        };
        let units = dependents.units;
        over(
            &mut self.units,
            units.map(|units| units.into_iter().map(placed).collect()),
        );
        over(
            &mut self.hook_timeout,
            dependents.hook_timeout.map(|timeout| timeout.0),
        );
        // A forward of an earlier file is replaced by name; within one file a
        // repeated name stays twice and is refused later.
        let names: Vec<&str> = forward
            .iter()
            .map(|forward| forward.as_ref().name.as_str())
            .collect();
        self.forwards
            .retain(|earlier| !names.contains(&earlier.forward.name.as_str()));
        for forward in forward {
            let (line, _) = position(text, forward.span().start);
            self.forwards.push(Placed {
                forward: forward.into_inner(),
                file: path.to_owned(),
                line,
            });
        }
    }
}

fn over<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}
