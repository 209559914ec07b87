//! Checks the sources against the registries.

mod written;

use std::{collections::BTreeSet, fs, path::Path};

use super::event::{EVENTS, message_id};
use crate::model::Code;

/// Every file of Rust below src/ that is part of the agent: path and text.
fn sources(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                sources(&path, into);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            into.push((path.display().to_string(), text));
        }
    }
}

/// The calls by which the sources log.
const CALLS: [&str; 5] = [
    "tracing::error!(",
    "tracing::warn!(",
    "tracing::info!(",
    "tracing::debug!(",
    "tracing::trace!(",
];

/// The events that a text names, and what it logs without one.
fn events(text: &str) -> (BTreeSet<&str>, Vec<&str>) {
    let (mut named, mut nameless) = (BTreeSet::new(), Vec::new());
    let calls = CALLS.iter().flat_map(|call| text.split(call).skip(1));
    for argument in calls.map(str::trim_start) {
        match argument
            .strip_prefix("event = \"")
            .and_then(|name| name.split('"').next())
        {
            Some(name) => {
                named.insert(name);
            }
            None => nameless.push(argument.lines().next().unwrap_or_default()),
        }
    }
    (named, nameless)
}

#[test]
fn every_log_call_names_a_registered_event_first() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let known: BTreeSet<_> = EVENTS.iter().map(|event| event.name).collect();
    let mut found = BTreeSet::new();
    for (path, text) in &files {
        let (named, nameless) = events(text);
        assert!(nameless.is_empty(), "{path}: no event: {nameless:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(
            unknown.is_empty(),
            "{path}: {unknown:?} is not in EVENTS (src/report/event.rs)"
        );
        found.extend(named);
    }
    assert!(found.len() > 8, "only {found:?}");
}

#[test]
fn an_unregistered_event_is_found() {
    let text = r#"
        tracing::info!(event = "pass", "x");
        tracing::warn!(
            event = "unregistered", "y");
        tracing::debug!("z");
    "#;
    let (named, nameless) = events(text);
    assert_eq!(named, BTreeSet::from(["pass", "unregistered"]));
    assert_eq!(nameless, [r#""z");"#]);
}

#[test]
fn names_and_ids_are_unique() {
    let names: BTreeSet<_> = EVENTS.iter().map(|event| event.name).collect();
    assert_eq!(names.len(), EVENTS.len());
    let codes = Code::ALL
        .iter()
        .map(|code| message_id("health", Some(code.as_str())));
    let ids: BTreeSet<_> = names
        .iter()
        .map(|name| message_id(name, None))
        .chain(codes)
        .collect();
    assert_eq!(ids.len(), EVENTS.len() + Code::ALL.len());
    for event in EVENTS {
        assert!(event.text.ends_with('.'), "{}: a sentence", event.name);
    }
}
