//! What of the other tool's file becomes a forward here, and as which text.

use std::{collections::BTreeSet, path::Path};

use textwrap::{Options, WordSplitter};

use super::{
    super::{load::Loaded, values::Forward},
    format::{Foreign, Instance},
};

/// The instance that is for any distribution that runs.
pub(in super::super) const CATCH_ALL: &str = "active-wsl-instance";

/// Longest part of a forward's name that comes from a comment, in characters; one
/// less where it is a single word.
const LONGEST: usize = 24;

/// Widest line of a comment, in characters.
const WIDTH: usize = 78;

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
    forwards: Vec<Forward>,
    /// The names that are taken.
    names: BTreeSet<String>,
    /// The blocks of the forwards, with the file's comments.
    blocks: String,
    /// Why the others are none, one sentence each.
    pub(super) left: Vec<String>,
    /// Whether one of those should have been.
    pub(super) conflicts: bool,
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
///
/// # Errors
/// Why nothing of a file is for this distribution.
pub(super) fn choose(
    foreign: &Foreign,
    wanted: &Wanted<'_>,
    there: &Loaded,
) -> Result<Choice, String> {
    let instances = &foreign.instances;
    let names = || {
        let names: Vec<String> = instances.iter().map(|one| printable(&one.name)).collect();
        names.join(", ")
    };
    let missing = |name: &&String| !instances.iter().any(|one| same(name, &one.name));
    if let Some(name) = wanted.instances.iter().find(missing) {
        return Err(format!("has no instance {name:?}; it has {}", names()));
    }
    if !instances.iter().any(|one| wanted.has(one)) {
        return Err(format!(
            "none of its instances is known to be this distribution ({}): choose with --instance NAME",
            names()
        ));
    }
    let mut choice = Choice {
        names: there.places.iter().map(|at| at.name.clone()).collect(),
        ..Choice::default()
    };
    for (line, key) in &foreign.ignored {
        let key = printable(key);
        let text = format!("key {key:?} in line {line}: wsl2-port-mapper ignores it too");
        choice.left.push(text);
    }
    for instance in instances {
        if wanted.has(instance) {
            choice.instance(instance, there);
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
    fn instance(&mut self, instance: &Instance, there: &Loaded) {
        let name = printable(&instance.name);
        let mut heading = format!("Instance {name}");
        if let Some(comment) = instance.comment.as_deref().map(printable)
            && !comment.is_empty()
        {
            heading += &format!(": {comment}");
        }
        // It is at the first forward.
        heading = comment(&heading) + "\n";
        for port in &instance.ports {
            let mut forward = port.forward(instance, !heading.is_empty());
            let listen = forward.listen_port;
            let subject = format!("port {listen} of {name:?}");
            if let Some(earlier) = self.forwards.iter().find(|one| one.listen_port == listen) {
                // That tool takes the first one too.
                let earlier = &earlier.name;
                let why = format!("{subject}: forward {earlier:?} above has the port");
                self.left.push(why);
                continue;
            }
            let mut clashes = there
                .forwards()
                .filter(|(one, _)| one.clashes_with(&forward));
            if let Some((one, at)) = clashes.next() {
                let single = one.singles().find(|one| one.listen_port == listen);
                let to = single.map_or(one.connect_port, |single| single.connect_port);
                let at = format!("forward {:?} at {at}", one.name);
                self.left.push(if to == forward.connect_port {
                    format!("{subject}: {at} does it already")
                } else {
                    self.conflicts = true;
                    format!("{subject}: {at} has it and leads to {to}")
                });
                continue;
            }
            let words = port.comment.as_deref().unwrap_or_default();
            forward.name = self.free(format!("{}-{listen}", stem(words)));
            let comment = comment(&printable(words));
            self.blocks
                .extend(["\n", &heading, &comment, &forward.block()]);
            heading.clear();
            self.forwards.push(forward);
        }
    }

    /// Takes a name, or the name with a number where that is taken.
    fn free(&mut self, name: String) -> String {
        let numbered = (2..=u32::MAX).map(|number| format!("{name}-{number}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        let free = names.find(|name| self.names.insert(name.clone()));
        free.unwrap_or(name)
    }

    /// What becomes a forward, one sentence each.
    pub(super) fn taken(&self) -> Vec<String> {
        let sentence = |forward: &Forward| {
            format!(
                "{}: tcp {} -> {}, firewall {}",
                forward.name, forward.listen_port, forward.connect_port, forward.firewall
            )
        };
        self.forwards.iter().map(sentence).collect()
    }

    /// The drop-in.
    pub(super) fn text(&self, from: &Path) -> String {
        let mut text = comment(&format!(
            "Made by `wslmesh config import` from {}. A port without `firewall` there has \"none\" here: no rule is made for it, as before.",
            printable(&from.to_string_lossy())
        ));
        text.push_str(&self.blocks);
        if !self.left.is_empty() {
            text.push('\n');
        }
        let left = |sentence| comment(&format!("Left out: {}.", printable(sentence)));
        text.extend(self.left.iter().map(|sentence| left(sentence)));
        text
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

/// A text without what a comment or a terminal must not have.
fn printable(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// Lines of a comment; none for an empty text.
fn comment(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let options = Options::new(WIDTH)
        .initial_indent("# ")
        .subsequent_indent("# ")
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::fill(text, options) + "\n"
}
