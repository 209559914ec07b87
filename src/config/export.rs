//! Forwards as a `wsl2-config.json` of wsl2-port-mapper, for `wslmesh config export`.
//!
//! A file that exists is completed: what it has stays, keys that the tool ignores too, and
//! only what differs from the configured forwards is set. Nothing is removed, because a
//! port without a forward here may be another distribution's.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{
    import::{CATCH_ALL, ImportError, read_text},
    settings::Settings,
    values::Forward,
};
use crate::{
    fs::file::{self, FileError},
    model::{Firewall, Protocol},
};

/// Why nothing was exported. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file that is there cannot be completed.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// It is no such file.
    #[error("{}: {problem}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the fix.
        problem: String,
    },
    /// It cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A file that is ready to be written.
#[derive(Debug)]
pub struct Export {
    before: Option<Vec<u8>>,
    /// Its text.
    pub text: String,
    /// What was set, one sentence each.
    pub set: Vec<String>,
    /// What that tool cannot forward, one sentence each.
    pub left_out: Vec<String>,
}

impl Export {
    /// The forwards of these settings in the file at `to`, or in one of their own. A
    /// forward that was not imported becomes one of the instance `own`.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn of(settings: &Settings, to: Option<&Path>, own: &str) -> Result<Self, ExportError> {
        let before = to.map(file::read).transpose()?.flatten();
        let mut root = match (to, &before) {
            (Some(path), Some(_)) => {
                let text = read_text(path)?;
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
                serde_json::from_str(text).map_err(|error| ExportError::Refused {
                    path: path.to_owned(),
                    problem: format!("{error}; correct it, or move it away"),
                })?
            }
            _ => json!({"instances": []}),
        };
        let mut export = Self {
            before,
            text: String::new(),
            set: Vec::new(),
            left_out: Vec::new(),
        };
        let problem = |problem| ExportError::Refused {
            path: to.unwrap_or(Path::new("-")).to_owned(),
            problem,
        };
        for forward in &settings.forwards {
            let name = &forward.name;
            match foreign(forward) {
                Some(why) => export.left_out.push(format!("{name}: {why}")),
                // That tool knows no ranges.
                None => (forward.singles())
                    .try_for_each(|forward| export.put(&mut root, &forward, own))
                    .map_err(problem)?,
            }
        }
        export.text = format!("{root:#}\n");
        Ok(export)
    }

    /// Writes the file, whole or not at all; `false` when nothing of it differs.
    ///
    /// # Errors
    /// What kept it from being written.
    pub fn write(&self, to: &Path) -> Result<bool, ExportError> {
        if self.before.is_some() && self.set.is_empty() {
            return Ok(false);
        }
        file::replace(to, self.before.as_deref(), self.text.as_bytes())?;
        Ok(true)
    }

    /// Puts a forward of one port into its instance.
    fn put(&mut self, root: &mut Value, forward: &Forward, own: &str) -> Result<(), String> {
        let (name, remarks) = (&forward.name, &forward.remarks);
        let listen = forward.listen_port.first().get();
        let name_of_instance = remarks.instance.as_deref().unwrap_or_else(|| {
            let has = has_port(root, CATCH_ALL, listen);
            if has { CATCH_ALL } else { own }
        });
        let instance = instance(root, name_of_instance)?;
        if let Some(comment) = &remarks.instance_comment {
            set(instance, "comment", json!(comment));
        }
        let ports = list(instance, "ports")?;
        // The tool takes the first one with a port.
        let place = ports
            .iter()
            .position(|port| number(port, "port") == Some(listen));
        let mut new = json!({"port": listen});
        let port = place
            .and_then(|place| ports.get_mut(place))
            .unwrap_or(&mut new);
        let before = place.map(|_| port.clone());
        let connect = forward.connect_port.first().get();
        let there = number(port, "internal_port").filter(|port| *port != 0);
        if there.unwrap_or(listen) != connect {
            set(port, "internal_port", json!(connect));
        }
        let word = match forward.firewall {
            Firewall::None => "",
            Firewall::Local => "local",
            Firewall::Full => "full",
        };
        let there = get(port, "firewall").and_then(Value::as_str);
        if there.unwrap_or_default() != word {
            set(port, "firewall", json!(word));
        }
        if let Some(comment) = &remarks.comment {
            set(port, "comment", json!(comment));
        }
        if before.is_none_or(|before| before != *port) {
            let firewall = forward.firewall;
            let text = format!("{name}: tcp {listen} -> {connect}, firewall {firewall}");
            self.set.push(text);
        }
        if place.is_none() {
            ports.push(new);
        }
        Ok(())
    }
}

/// Why that tool has no such forward.
fn foreign(forward: &Forward) -> Option<String> {
    match (forward.protocol, forward.listen_address) {
        (Protocol::Udp, _) => Some("wsl2-port-mapper forwards TCP only".to_owned()),
        (Protocol::Tcp, address) if address.is_ipv6() => {
            Some("wsl2-port-mapper listens by IPv4 alone".to_owned())
        }
        (Protocol::Tcp, address) if !address.is_unspecified() => Some(format!(
            "wsl2-port-mapper listens on all addresses, not on {address} alone"
        )),
        (Protocol::Tcp, _) if forward.connect_address.is_some() => {
            Some("wsl2-port-mapper reaches no service that listens on loopback alone".to_owned())
        }
        (Protocol::Tcp, _) => {
            (forward.proxy_protocol).map(|_| "wsl2-port-mapper writes no PROXY header".to_owned())
        }
    }
}

/// The object's key, whatever its case: the tool reads it so.
fn key_of<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a String> {
    object.keys().find(|one| one.eq_ignore_ascii_case(key))
}

fn get<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object.get(key_of(object, key)?)
}

fn number(value: &Value, key: &str) -> Option<u16> {
    get(value, key)?.as_u64()?.try_into().ok()
}

/// Sets a key of an object; another value has none.
fn set(value: &mut Value, key: &str, to: Value) {
    if let Some(object) = value.as_object_mut() {
        let there = key_of(object, key).cloned();
        object.insert(there.unwrap_or_else(|| key.to_owned()), to);
    }
}

/// The list in an object, made where there is none.
fn list<'a>(value: &'a mut Value, key: &str) -> Result<&'a mut Vec<Value>, String> {
    if get(value, key).is_none_or(Value::is_null) {
        set(value, key, json!([]));
    }
    let object = value.as_object_mut();
    let list = object.and_then(|object| {
        let key = key_of(object, key)?.clone();
        object.get_mut(&key)?.as_array_mut()
    });
    list.ok_or_else(|| format!("{key} is no list; correct it, or move the file away"))
}

/// Windows matches the names of distributions without regard to case.
fn is_named(instance: &Value, name: &str) -> bool {
    let there = get(instance, "name").and_then(Value::as_str);
    there.is_some_and(|there| there.eq_ignore_ascii_case(name))
}

/// The first instance of that name, made where there is none.
fn instance<'a>(root: &'a mut Value, name: &str) -> Result<&'a mut Value, String> {
    let instances = list(root, "instances")?;
    let place = instances.iter().position(|one| is_named(one, name));
    let place = place.unwrap_or_else(|| {
        instances.push(json!({"name": name}));
        instances.len() - 1
    });
    let instance = instances.get_mut(place);
    instance.ok_or_else(|| "it has no instances".to_owned())
}

fn has_port(root: &Value, instance: &str, listen: u16) -> bool {
    let instances = get(root, "instances").and_then(Value::as_array);
    let named = instances.into_iter().flatten();
    let ports = named
        .filter(|one| is_named(one, instance))
        .filter_map(|one| get(one, "ports")?.as_array());
    let mut ports = ports.flatten();
    ports.any(|port| number(port, "port") == Some(listen))
}

#[cfg(test)]
mod tests;
