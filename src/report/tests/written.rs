//! The files generated from the registries: docs/health.md, the tables of docs/journal.md and
//! docs/metrics.md, and the journal's catalog.

use std::{env, fmt::Write, fs, path::Path};

use super::super::{EVENTS, Event, Metric, journal::field_name, message_id};
use crate::model::Code;

const COMMAND: &str = "WSLMESH_WRITE_DOCS=1 cargo test --lib health";

/// Makes a file's new text from its current one.
type Make = fn(&str) -> String;

const FILES: &[(&str, Make)] = &[
    ("docs/health.md", |_| health_page()),
    ("docs/journal.md", with_events),
    ("docs/metrics.md", with_metrics),
    ("systemd/wslmesh.catalog", |_| catalog()),
];

#[test]
fn health_codes_and_events_are_documented_as_registered() {
    for (file, make) in FILES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let before = fs::read_to_string(&path).unwrap_or_default();
        if env::var_os("WSLMESH_WRITE_DOCS").is_some() && before != make(&before) {
            fs::write(&path, make(&before)).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == make(&written),
            "{file} is not current: {COMMAND}"
        );
    }
}

fn health_page() -> String {
    let mut page = format!(
        "# Health codes\n\nGenerated from the registry in `src/model/code.rs`; after a change there run: `{COMMAND}`.\n\n\
         `info` is informational, `warning` means that something you configured does not work now (exit status 3), `error` that the agent cannot do its main job.\n",
    );
    for code in Code::ALL {
        page.push_str(&format!(
            "\n## {code} ({})\n{}\n\n{}.\n",
            code.severity(),
            code.text(),
            code.remediation()
        ));
    }
    page
}

/// The page with its table of events generated; the rest is written by hand.
fn with_events(page: &str) -> String {
    let mut table = String::from(
        "| event | MESSAGE_ID | what happened | fields | at most |\n|---|---|---|---|---|\n",
    );
    for Event {
        name,
        limit,
        text,
        fields,
    } in EVENTS
    {
        let id = match *name {
            "health" => "that of its code".to_owned(),
            name => format!("`{}`", message_id(name, None)),
        };
        let fields: Vec<_> = fields.iter().map(|field| field_name(field)).collect();
        let most = limit.map_or_else(String::new, |limit| {
            format!("{} in {} min", limit.most, limit.within.as_secs() / 60)
        });
        let fields = fields.join(" ");
        writeln!(table, "| {name} | {id} | {text} | {fields} | {most} |").unwrap();
    }
    with_table(page, "src/report/event.rs", &table)
}

/// The same with its table of metrics.
fn with_metrics(page: &str) -> String {
    let mut table = String::from("| metric | type | labels | |\n|---|---|---|---|\n");
    for metric in Metric::ALL {
        let (name, kind, labels, help) = metric.facts();
        let (kind, labels) = (format!("{kind:?}").to_lowercase(), labels.join(", "));
        let help = help.trim_end_matches('.');
        writeln!(table, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    with_table(page, "src/report/metrics/registry.rs", &table)
}

fn with_table(page: &str, source: &str, table: &str) -> String {
    const END: &str = "<!-- end -->\n";
    let begin = format!("<!-- from {source} -->\n");
    match (page.split_once(&begin), page.split_once(END)) {
        (Some((above, _)), Some((_, below))) => format!("{above}{begin}{table}{END}{below}"),
        _ => format!("{page}{begin}{table}{END}"),
    }
}

/// The explanations that `journalctl -x` shows (systemd.io/CATALOG).
fn catalog() -> String {
    let mut catalog = format!(
        "# What `journalctl -x -u wslmesh` adds to a line.\n\
         # Generated from src/model/code.rs and src/report/event.rs; after a change there run\n\
         # {COMMAND}\n"
    );
    for code in Code::ALL {
        let subject = format!("{code} ({}) @WSLMESH_SUBJECT@", code.severity());
        let remediation = format!("{}.", code.remediation());
        let text = [
            code.text(),
            "",
            &remediation,
            "",
            "`wslmesh status` shows whether it still applies.",
        ];
        entry(
            &mut catalog,
            &message_id("health", Some(code.as_str())),
            &subject,
            &text,
        );
    }
    for event in EVENTS {
        if event.name == "health" {
            continue;
        }
        let facts: Vec<String> = event
            .fields
            .iter()
            .map(|field| format!("{field}: @{}@", field_name(field)))
            .collect();
        let subject = format!("wslmesh {}", event.name);
        let text: Vec<&str> = [event.text, ""]
            .into_iter()
            .take(1 + facts.len().min(1))
            .chain(facts.iter().map(String::as_str))
            .collect();
        entry(&mut catalog, &message_id(event.name, None), &subject, &text);
    }
    catalog
}

fn entry(catalog: &mut String, id: &str, subject: &str, text: &[&str]) {
    writeln!(
        catalog,
        "\n-- {id}\nSubject: {subject}\nDefined-By: wslmesh\nDocumentation: man:wslmesh(8)\n"
    )
    .unwrap();
    for paragraph in text {
        for line in wrapped(paragraph) {
            writeln!(catalog, "{line}").unwrap();
        }
    }
}

/// Wraps to the width that journalctl's margin leaves; a command stays whole.
fn wrapped(text: &str) -> Vec<String> {
    const NO_BREAK: &str = "\u{a0}";
    let pieces = text.split('`').enumerate().map(|(at, piece)| match at % 2 {
        0 => piece.to_owned(),
        _ => piece.replace(' ', NO_BREAK),
    });
    let text = pieces.collect::<Vec<_>>().join("`");
    let lines = textwrap::wrap(
        &text,
        textwrap::Options::new(76)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation),
    );
    let plain = lines.iter().map(|line| line.replace(NO_BREAK, " "));
    plain.collect()
}

/// systemd ignores a line that starts like a comment, starts an entry at `-- `, and
/// replaces `@NAME@` by a field.
#[test]
fn no_text_has_a_meaning_in_catalog_syntax() {
    let catalog = catalog();
    let mut lines = 0;
    for line in catalog.lines().skip(3) {
        lines += 1;
        assert!(line.len() <= 90, "{line}");
        assert!(!line.starts_with(['#', ';']), "{line}");
        let is_id = |id: &str| id.len() == 32 && id.bytes().all(|c| c.is_ascii_hexdigit());
        assert!(line.strip_prefix("-- ").is_none_or(is_id), "{line}");
        for name in line.split('@').skip(1).step_by(2) {
            let plain = |c: char| c.is_ascii_uppercase() || c == '_';
            let field = name.starts_with("WSLMESH_") && name.chars().all(plain);
            assert!(field || !name.chars().all(plain), "{line}");
        }
    }
    let entries = catalog.matches("\n-- ").count();
    assert_eq!(entries, Code::ALL.len() + EVENTS.len() - 1);
    assert!(lines > entries * 6, "{lines}");
}
