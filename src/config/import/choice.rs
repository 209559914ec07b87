//! What of the other tool's file becomes a forward here, and as which text.

use std::{collections::BTreeSet, net::Ipv4Addr, path::Path};

use super::{
    super::{load::Loaded, values::Forward},
    format::{Foreign, Instance, Port},
};
use crate::model::Protocol;

/// The instance that is for any distribution that runs.
const CATCH_ALL: &str = "active-wsl-instance";

/// Longest part of a forward's name that comes from a comment, in characters.
const LONGEST: usize = 24;

/// Widest line of a comment, in characters.
const WIDTH: usize = 78;

/// Why nothing of a file is for this distribution.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// No instance is for this distribution.
    #[error("none of its instances is known to be this distribution ({}): choose with --instance NAME", .0.join(", "))]
    NoneIsOurs(Vec<String>),
    /// An instance that was asked for is missing.
    #[error("has no instance {name:?}; it has {}", names.join(", "))]
    Missing {
        /// What was asked for.
        name: String,
        /// The instances in the file.
        names: Vec<String>,
    },
}

/// Whose forwards are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// These instances, by name; if there are none, this distribution's and the
    /// catch-all.
    pub instances: &'a [String],
    /// The name of this distribution, where it is known.
    pub distribution: Option<&'a str>,
}

/// What was decided.
#[derive(Debug, Default)]
pub(super) struct Choice {
    entries: Vec<Entry>,
    /// Why the others are none, one sentence each.
    pub(super) left: Vec<String>,
    /// Whether one of those should have been.
    pub(super) conflicts: bool,
}

#[derive(Debug)]
struct Entry {
    /// The instance with its comment, at its first forward.
    heading: Option<String>,
    comment: String,
    forward: Forward,
}

/// Windows matches the names of distributions without regard to case.
fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

impl Wanted<'_> {
    fn has(&self, instance: &Instance) -> bool {
        let is = |name: &str| same(name, &instance.name);
        if self.instances.is_empty() {
            is(CATCH_ALL) || self.distribution.is_some_and(is)
        } else {
            self.instances.iter().any(|name| is(name))
        }
    }
}

/// Chooses beside the forwards that are configured already.
pub(super) fn choose(
    foreign: &Foreign,
    wanted: &Wanted<'_>,
    there: &Loaded,
) -> Result<Choice, ChoiceError> {
    let instances = &foreign.instances;
    let names = || instances.iter().map(|one| printable(&one.name)).collect();
    let missing = |name: &&String| !instances.iter().any(|one| same(name, &one.name));
    if let Some(name) = wanted.instances.iter().find(missing) {
        return Err(ChoiceError::Missing {
            name: name.clone(),
            names: names(),
        });
    }
    if !instances.iter().any(|one| wanted.has(one)) {
        return Err(ChoiceError::NoneIsOurs(names()));
    }
    let mut choice = Choice::default();
    let mut names: BTreeSet<String> = there.places.iter().map(|at| at.name.clone()).collect();
    for instance in instances {
        if wanted.has(instance) {
            choice.instance(instance, there, &mut names);
        } else {
            choice.left.push(format!(
                "instance {:?} with {} port(s): it is another distribution",
                printable(&instance.name),
                instance.ports.len()
            ));
        }
    }
    Ok(choice)
}

impl Choice {
    fn instance(&mut self, instance: &Instance, there: &Loaded, names: &mut BTreeSet<String>) {
        let mut heading = Some(
            match printable(instance.comment.as_deref().unwrap_or_default()) {
                comment if comment.is_empty() => printable(&instance.name),
                comment => format!("{}: {comment}", printable(&instance.name)),
            },
        );
        for port in &instance.ports {
            let mut forward = forward(port);
            let comment = port.comment.as_deref().unwrap_or_default();
            let subject = format!("port {} of {:?}", port.listen, printable(&instance.name));
            let twin = |entry: &&Entry| entry.forward.listen_port == forward.listen_port;
            if let Some(earlier) = self.entries.iter().find(twin) {
                let name = &earlier.forward.name;
                // That tool takes the first one too.
                self.left
                    .push(format!("{subject}: forward {name:?} above has the port"));
                continue;
            }
            let mut clashes = there
                .forwards()
                .filter(|(one, _)| one.clashes_with(&forward));
            if let Some((one, at)) = clashes.next() {
                let at = format!(
                    "forward {:?} at {}:{}",
                    one.name,
                    at.file.display(),
                    at.line
                );
                self.left.push(if one.connect_port == forward.connect_port {
                    format!("{subject}: {at} does it already")
                } else {
                    self.conflicts = true;
                    format!("{subject}: {at} has it and leads to {}", one.connect_port)
                });
                continue;
            }
            forward.name = free(&stem(comment), port.listen.get(), names);
            names.insert(forward.name.clone());
            self.entries.push(Entry {
                heading: heading.take(),
                comment: printable(comment),
                forward,
            });
        }
    }

    /// What becomes a forward, one sentence each.
    pub(super) fn taken(&self) -> Vec<String> {
        let sentence = |entry: &Entry| {
            let Forward {
                name,
                listen_port,
                connect_port,
                firewall,
                ..
            } = &entry.forward;
            format!("{name}: tcp {listen_port} -> {connect_port}, firewall {firewall}")
        };
        self.entries.iter().map(sentence).collect()
    }

    /// The drop-in.
    pub(super) fn text(&self, from: &Path) -> String {
        let mut text = comment(&format!(
            "Made by `wslmesh config import` from {}. A port without `firewall` there has \"none\" here: no rule is made for it, as before.",
            printable(&from.to_string_lossy())
        ));
        for entry in &self.entries {
            text.push('\n');
            if let Some(heading) = &entry.heading {
                text.push_str(&comment(&format!("Instance {heading}")));
                text.push('\n');
            }
            text.push_str(&comment(&entry.comment));
            text.push_str(&entry.forward.block());
        }
        if !self.left.is_empty() {
            text.push('\n');
        }
        for sentence in &self.left {
            text.push_str(&comment(&format!("Left out: {}.", printable(sentence))));
        }
        text
    }
}

fn forward(port: &Port) -> Forward {
    Forward {
        name: String::new(),
        protocol: Protocol::Tcp,
        listen_address: Ipv4Addr::UNSPECIFIED,
        listen_port: port.listen,
        connect_port: port.connect(),
        firewall: port.firewall(),
    }
}

/// A word for a forward's name: what its comment begins with, before any bracket.
fn stem(comment: &str) -> String {
    let head = comment.split(['(', '[', ':', ',', ';', '.']).next();
    let words = head
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut stem = String::new();
    for word in words {
        if stem.len() + 1 + word.len() > LONGEST {
            break;
        }
        if !stem.is_empty() {
            stem.push('-');
        }
        stem.push_str(&word.to_ascii_lowercase());
    }
    if stem.is_empty() {
        "port".to_owned()
    } else {
        stem
    }
}

/// `STEM-PORT`, or with a further number where that is taken.
fn free(stem: &str, port: u16, names: &BTreeSet<String>) -> String {
    let plain = format!("{stem}-{port}");
    if !names.contains(&plain) {
        return plain;
    }
    // There is one more candidate than there are names.
    (2..names.len() + 3)
        .map(|number| format!("{plain}-{number}"))
        .find(|name| !names.contains(name))
        .unwrap_or(plain)
}

/// A text without what a comment or a terminal must not have.
fn printable(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// Lines of a comment; none for an empty text.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if width == 0 || width + 1 + length > WIDTH {
            if width > 0 {
                lines.push('\n');
            }
            lines.push('#');
            width = 1;
        }
        lines.push(' ');
        lines.push_str(word);
        width += 1 + length;
    }
    if width > 0 {
        lines.push('\n');
    }
    lines
}
