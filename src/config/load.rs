//! From files to settings: everything is read before anything is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    connect_address,
    dns::Zones,
    listen_address,
    reader::{Problem, Read, Reader},
    settings::{Keys, Settings},
    source::{self, Draft, Source, Unusable},
    values::{self, Backend, Forward, MOST_PORTS, Remarks},
};
use crate::model::{Dependent, Protocol, SysctlKey, SysctlValue, counted};

/// Most problems that a [`ConfigError`] lists; the count is that of all.
const LISTED: usize = 100;

/// Everything that is wrong with a configuration, each with file, place, key and
/// fix; nothing of it is used then.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.list(LISTED, "\n"))]
pub struct ConfigError(Vec<Problem>);

impl ConfigError {
    /// Whether it stays wrong until it is changed: not all of it is that the system could
    /// not read files.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !self.0.iter().all(|problem| problem.passing)
    }

    /// One line for the journal: the first five problems and the count.
    #[must_use]
    pub fn summary(&self) -> String {
        self.list(5, "; ")
    }

    fn list(&self, most: usize, between: &str) -> String {
        let shown = self.0.iter().take(most).map(ToString::to_string);
        let mut parts: Vec<String> = shown.collect();
        let count = self.0.len();
        if count > 1 {
            let files: BTreeSet<_> = self.0.iter().map(|problem| &problem.file).collect();
            let (errors, files) = (counted(count, "error"), counted(files.len(), "file"));
            let cut = if count > most {
                format!(", the first {most} shown")
            } else {
                String::new()
            };
            parts.push(format!("{errors} in {files}{cut}"));
        }
        parts.join(between)
    }
}

/// Where a forward is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The forward's name.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// The line of its block, from 1.
    pub line: usize,
    /// The column of its block, from 1.
    pub column: usize,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// The settings of a source, and where each of their forwards is written.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) settings: Settings,
    pub(super) places: Vec<Located>,
}

impl Loaded {
    /// The forwards with their places.
    pub(super) fn forwards(&self) -> impl Iterator<Item = (&Forward, &Located)> {
        self.settings.forwards.iter().zip(&self.places)
    }
}

impl Settings {
    /// Reads and checks the configuration of a source.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(source: &Source) -> Result<Self, ConfigError> {
        load(source, None).map(|loaded| loaded.settings)
    }
}

/// Reads and checks a source, with a drop-in that is a draft.
///
/// # Errors
/// Everything that is wrong, in all files.
pub(super) fn load(source: &Source, draft: Option<Draft<'_>>) -> Result<Loaded, ConfigError> {
    read_all(source, draft, Loaded::check_forwards)
}

/// The same with forwards that may clash, for the removal of one of them.
///
/// # Errors
/// As [`load`], but for what is wrong with forwards together.
pub(super) fn read(source: &Source, draft: Option<Draft<'_>>) -> Result<Loaded, ConfigError> {
    read_all(source, draft, |_, _| {})
}

/// The forwards in force and where each is written.
///
/// # Errors
/// See [`ConfigError`].
pub fn located(source: &Source) -> Result<Vec<Located>, ConfigError> {
    Ok(read(source, None)?.places)
}

fn read_all(
    source: &Source,
    draft: Option<Draft<'_>>,
    check: fn(&Loaded, &mut Vec<Problem>),
) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let mut loaded = Loaded {
        settings: Settings::default(),
        places: Vec::new(),
    };
    for (file, text) in source::texts(source, draft) {
        let text = match text {
            Ok(text) => text,
            Err(why) => {
                problems.push(Problem {
                    file,
                    text: why.to_string(),
                    passing: matches!(why, Unusable::Unread(_)),
                });
                continue;
            }
        };
        match Reader::new(&file, &text) {
            Ok(mut reader) => {
                loaded.settings.keys(&mut reader);
                loaded.read_forwards(&mut reader, &file);
                problems.extend(reader.finish());
            }
            Err(wrong) => problems.extend(wrong),
        }
        loaded.settings.files.push(file);
    }
    check(&loaded, &mut problems);
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(ConfigError(problems))
    }
}

impl Loaded {
    /// Reads the blocks of a file. A forward of an earlier file is replaced by
    /// name; a name that is repeated within one file is found later.
    fn read_forwards(&mut self, reader: &mut Reader<'_>, file: &Path) {
        let new = reader.blocks("forward", |reader, start| {
            let name = reader.require("name", start, |value| values::name(value));
            let protocol = reader.require("protocol", start, |value| Protocol::deserialize(value));
            let address = reader.take("listen-address", |value| listen_address::read(value));
            let listen_port = reader.require("listen-port", start, values::ports_at);
            let connect_port = reader.take("connect-port", values::ports_at);
            let connect_address =
                reader.take("connect-address", |value| connect_address::read(value));
            let firewall = reader.take("firewall", |value| Deserialize::deserialize(value));
            let backend = reader.take("backend", |value| values::forward_backend(value));
            let proxy_protocol =
                reader.take("proxy-protocol", |value| Deserialize::deserialize(value));
            let remarks = Remarks {
                comment: reader.take("comment", |value| values::comment(value)),
                instance: reader.take("instance", |value| values::comment(value)),
                instance_comment: reader.take("instance-comment", |value| values::comment(value)),
                discovered: None,
            };
            let (name, (_, listen_port)) = (name?, listen_port?);
            let connect = values::connect_ports(listen_port, connect_port.map(|(_, ports)| ports));
            let at = connect_port.map_or(start, |(at, _)| at);
            let connect_port = connect.map_err(|why| reader.refuse(at, "connect-port", &why));
            let (line, column) = reader.position(start);
            let at = Located {
                name: name.clone(),
                file: file.to_owned(),
                line,
                column,
            };
            let forward = Forward {
                name,
                protocol: protocol?,
                listen_address: address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
                listen_port,
                connect_address,
                connect_port: connect_port.ok()?,
                firewall: firewall.unwrap_or_default(),
                backend,
                proxy_protocol,
                remarks,
            };
            Some((forward, at))
        });
        let replaced = |name: &str| new.iter().any(|(forward, _)| forward.name == name);
        self.settings.forwards.retain(|old| !replaced(&old.name));
        self.places.retain(|old| !replaced(&old.name));
        for (forward, at) in new {
            self.settings.forwards.push(forward);
            self.places.push(at);
        }
    }

    /// Checks the forwards against each other.
    fn check_forwards(&self, problems: &mut Vec<Problem>) {
        let mut ports = 0;
        for (index, (forward, at)) in self.forwards().enumerate() {
            let mut wrong = |text: String| {
                problems.push(Problem {
                    file: at.file.clone(),
                    text: format!("{}:{}: forward {:?}: {text}", at.line, at.column, at.name),
                    passing: false,
                });
            };
            let backend = self.settings.backend_of(forward);
            if forward.protocol == Protocol::Udp && backend == Backend::Portproxy {
                wrong("Windows' portproxy is TCP only; set protocol = \"tcp\", or backend = \"auto\", here or in [host]".to_owned());
            }
            if forward.proxy_protocol.is_some() {
                if forward.protocol == Protocol::Udp {
                    wrong(
                        "proxy-protocol is for TCP: leave it out, or set protocol = \"tcp\""
                            .to_owned(),
                    );
                } else if backend == Backend::Portproxy {
                    wrong("Windows' portproxy writes no PROXY header: leave proxy-protocol out, or set backend = \"relay\" in this forward".to_owned());
                }
            }
            if backend == Backend::Tunnel && forward.proxy_protocol.is_some() {
                wrong("the tunnel writes no PROXY header: leave proxy-protocol out, or set backend = \"relay\" in this forward".to_owned());
            }
            if backend == Backend::Tunnel && forward.connect_address.is_some() {
                wrong("the tunnel leads to this distribution's address in it, 192.168.127.2, and to no loopback address: leave connect-address out and let the service listen on all addresses, or set backend = \"relay\" in this forward".to_owned());
            }
            let (own, before) = (forward.listen_port.len(), ports);
            ports += own;
            if before <= MOST_PORTS && ports > MOST_PORTS {
                wrong(format!(
                    "with {} all forwards together have {ports}, and {MOST_PORTS} is the most: shorten a listen-port, or remove forwards",
                    if own == 1 {
                        "its port".to_owned()
                    } else {
                        format!("its {own} ports")
                    }
                ));
            }
            for (earlier, there) in self.forwards().take(index) {
                if earlier.name == forward.name {
                    wrong(format!("the name is taken at {there}; choose another"));
                }
                if earlier.clashes_with(forward) {
                    wrong(format!(
                        "{} listen-port",
                        there.has_port_of(earlier, forward)
                    ));
                }
            }
        }
    }
}

impl Located {
    /// Says that the forward that is here has a port of another one.
    pub(super) fn has_port_of(&self, here: &Forward, other: &Forward) -> String {
        let (theirs, port, protocol) = (here.listen_port, other.listen_port, other.protocol);
        let taken = if theirs == port {
            format!("{protocol} is taken by")
        } else {
            format!("{protocol} overlaps listen-port {theirs} of")
        };
        format!(
            "listen-port {port} {taken} forward {:?} at {self}; choose another",
            self.name
        )
    }
}

impl Keys for Reader<'_> {
    fn table(&mut self, name: &'static str) {
        self.table(name);
    }

    fn key_with<T: Serialize>(&mut self, key: &'static str, value: &mut T, read: Read<T>) {
        if let Some(new) = self.take(key, read) {
            *value = new;
        }
    }

    fn sysctls(&mut self, sysctls: &mut BTreeMap<SysctlKey, SysctlValue>) {
        for (name, value) in self.rest() {
            let key = match values::sysctl_key(name.get_ref()) {
                Ok(key) => key,
                Err(why) => {
                    self.refuse(name.span().start, name.get_ref(), &why);
                    continue;
                }
            };
            match self.read(name.get_ref(), value, values::sysctl) {
                Some(Some(value)) => drop(sysctls.insert(key, value)),
                Some(None) => drop(sysctls.remove(&key)),
                None => {}
            }
        }
    }

    fn zones(&mut self, key: &'static str, zones: &mut Zones) {
        self.zones(key, zones);
    }

    fn units(&mut self, key: &'static str, units: &mut Vec<Dependent>) {
        let Some(found) = self.list::<Dependent>(key) else {
            return;
        };
        for (index, (offset, Dependent { unit, .. })) in found.iter().enumerate() {
            let mut before = found.iter().take(index);
            if let Some((first, _)) = before.find(|(_, other)| other.unit == *unit) {
                let there = self.place(*first);
                let why = format!("{unit} is named already at {there}; leave one out");
                self.refuse(*offset, key, &why);
            }
        }
        *units = found.into_iter().map(|(_, unit)| unit).collect();
    }
}
