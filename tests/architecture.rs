//! The house rules that no compiler checks, held against the text of src/.
//!
//! Test code is exempt: it may build what it needs. Each rule is also held
//! against a small broken sample, so that a rule that stopped working fails.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, its helpers too"
)]

use std::collections::BTreeMap;
use std::fs;
use std::iter::Peekable;
use std::path::Path;
use std::slice::Iter;

/// A longer file has more than one idea in it.
const MOST_LINES: usize = 500;

/// A file: its path below src/ and its text.
type Source = (String, String);

#[test]
fn src_keeps_the_rules() {
    let mut sources = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), "src", &mut sources);
    assert!(sources.len() > 50, "only {} files", sources.len());
    let broken: Vec<String> = sources.iter().flat_map(complaints).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

fn collect(root: &Path, folder: &str, into: &mut Vec<Source>) {
    for entry in fs::read_dir(root.join(folder)).expect("a readable folder") {
        let entry = entry.expect("a readable folder");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a file's type").is_dir() {
            collect(root, &path, into);
        } else {
            let text =
                fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{path}: {error}"));
            let below = path.strip_prefix("src/").unwrap_or(&path).to_owned();
            into.push((below, text));
        }
    }
}

/// Everything that one file does against the rules.
fn complaints((path, text): &Source) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        found.push(format!("{path}: {lines} lines, more than {MOST_LINES}"));
    }
    let Some(module) = module(path) else {
        return found;
    };
    let tokens = without_tests(lex(text));
    let part = module.first().map_or("", String::as_str);
    for path_used in paths(&module, &tokens) {
        let names: Vec<&str> = path_used.iter().map(String::as_str).collect();
        if let Some(why) = against(path, part, &names) {
            found.push(format!("{path}: {}: {why}", names.join("::")));
        }
    }
    if part != "cli" {
        for macro_name in ["println", "eprintln", "print", "eprint"] {
            let calls = |pair: &[Token]| matches!(pair, [Token::Word(word), Token::Sign('!')] if word == macro_name);
            if tokens.windows(2).any(calls) {
                found.push(format!("{path}: {macro_name}!: only src/cli prints"));
            }
        }
    }
    found
}

/// Why a file may not use what it names.
fn against(file: &str, part: &str, names: &[&str]) -> Option<&'static str> {
    const WORLD: [&[&str]; 12] = [
        &["std", "fs"],
        &["std", "process"],
        &["std", "env"],
        &["std", "os"],
        &["std", "thread"],
        &["std", "net", "TcpListener"],
        &["std", "net", "TcpStream"],
        &["std", "net", "UdpSocket"],
        &["std", "time", "Instant"],
        &["std", "time", "SystemTime"],
        &["tokio"],
        &["rustix"],
    ];
    match (part, names) {
        ("observe" | "apply", ["crate", "plan", ..]) => {
            return Some("reading and changing the world do not know decisions");
        }
        ("plan", ["crate", other, ..])
            if !["config", "model", "report", "plan"].contains(other) =>
        {
            return Some("decisions know data only");
        }
        ("bus", ["crate", other, ..])
            if !["agent", "backoff", "bus", "config", "model", "report"].contains(other) =>
        {
            return Some("the bus goes through the agent and the report");
        }
        // Of the examination `read` alone looks at the machine.
        ("doctor", names)
            if !file.starts_with("doctor/read/")
                && WORLD.iter().any(|world| names.starts_with(world)) =>
        {
            return Some("checks are pure");
        }
        ("doctor", ["crate", "agent" | "apply" | "cli" | "restore", ..]) => {
            return Some("an examination changes nothing");
        }
        (other, ["crate", "doctor", ..]) if other != "doctor" && other != "cli" => {
            return Some("only the command line examines");
        }
        ("plan", names) if WORLD.iter().any(|world| names.starts_with(world)) => {
            return Some("decisions are pure");
        }
        _ => {}
    }
    match names {
        ["anyhow", ..] if part != "cli" => Some("only src/cli has errors without a type"),
        // The log's writer where no journal listens.
        ["std", "io", "stderr", ..] if file == "report/journal.rs" => None,
        // The relay's way out, which is another program's.
        ["std", "io", "stdout" | "stderr", ..] if file == "relay/outbox.rs" => None,
        ["std", "io", "stdout" | "stderr", ..] if part != "cli" => Some("only src/cli prints"),
        _ => None,
    }
}

/// The module that a file is, from the crate's root; `None` for what is no Rust
/// and for a file of tests.
fn module(path: &str) -> Option<Vec<String>> {
    let path = path.strip_suffix(".rs")?;
    let mut names: Vec<String> = path.split('/').map(str::to_owned).collect();
    if names
        .iter()
        .any(|name| name == "tests" || name == "testing")
    {
        return None;
    }
    if names.last().is_some_and(|last| last == "mod") {
        names.pop();
    }
    if names == ["lib"] || names == ["main"] {
        names.clear();
    }
    Some(names)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Colons,
    Sign(char),
}

/// Rust without its comments and literals.
fn lex(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_text(rest) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            character(rest)
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let word = rest.split_at(end.unwrap_or(rest.len())).0;
            tokens.push(Token::Word(word.to_owned()));
            word.len()
        } else if rest.starts_with("::") {
            tokens.push(Token::Colons);
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            first.len_utf8()
        };
        rest = rest.split_at(length).1;
    }
    tokens
}

/// The length of a raw text such as r#"..."#.
fn raw_text(rest: &str) -> Option<usize> {
    let marks = rest
        .strip_prefix("br")
        .or_else(|| rest.strip_prefix('r'))?
        .trim_start_matches('#');
    let content = marks.strip_prefix('"')?;
    let start = rest.len() - content.len();
    let hashes = rest.split_at(start).0.matches('#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    Some(
        content
            .find(&end)
            .map_or(rest.len(), |at| start + at + end.len()),
    )
}

fn quoted(rest: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == mark => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// A character literal, or the mark of a lifetime.
fn character(rest: &str) -> usize {
    let mut next = rest.chars().skip(1);
    match (next.next(), next.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(rest, '\''),
        _ => 1,
    }
}

/// Leaves out each item behind `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mark = lex("#[cfg(test)]");
    let mut kept = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some((first, behind)) = rest.split_first() {
        if let Some(item) = rest.strip_prefix(mark.as_slice()) {
            rest = item.split_at(item_length(item)).1;
        } else {
            kept.push(first.clone());
            rest = behind;
        }
    }
    kept
}

/// Up to the `;` or the closing brace that ends an item.
fn item_length(item: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in item.iter().enumerate() {
        match token {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(token, Token::Sign(';' | '}')) {
            return at + 1;
        }
    }
    item.len()
}

/// Every path in a file, from the crate's root (`crate::...`) or from another
/// crate's, with what `use` has brought in put in full.
fn paths(module: &[String], tokens: &[Token]) -> Vec<Vec<String>> {
    let mut imports = BTreeMap::new();
    let mut used = Vec::new();
    let mut rest = tokens.iter().peekable();
    while let Some(token) = rest.next() {
        match token {
            Token::Word(word) if word == "use" => tree(&mut rest, &[], &mut imports),
            Token::Word(word) => {
                let mut path = vec![word.clone()];
                while rest.next_if_eq(&&Token::Colons).is_some() {
                    if let Some(Token::Word(next)) = rest.peek() {
                        path.push(next.clone());
                        rest.next();
                    }
                }
                used.push(path);
            }
            Token::Colons | Token::Sign(_) => {}
        }
    }
    used.extend(imports.values().cloned());
    used.into_iter()
        .map(|path| in_full(module, path, &imports))
        .collect()
}

/// One tree of a `use`, up to its `,`, `}` or `;`: names and their paths.
fn tree(
    rest: &mut Peekable<Iter<'_, Token>>,
    above: &[String],
    imports: &mut BTreeMap<String, Vec<String>>,
) {
    let mut path = above.to_vec();
    let mut name = None;
    while let Some(token) = rest.next_if(|t| !matches!(t, Token::Sign(',' | '}' | ';'))) {
        match token {
            Token::Word(word) if word == "as" => {
                name = rest.next().and_then(|token| match token {
                    Token::Word(word) => Some(word.clone()),
                    Token::Colons | Token::Sign(_) => None,
                });
            }
            Token::Word(word) => path.push(word.clone()),
            Token::Sign('{') => loop {
                tree(rest, &path, imports);
                if rest.next() != Some(&Token::Sign(',')) {
                    return;
                }
            },
            Token::Colons | Token::Sign(_) => {}
        }
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if path.len() > above.len() || !above.is_empty() {
        let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
        // Two of one name, as of a macro and a module, both count.
        let key = (0..)
            .map(|n| {
                if n == 0 {
                    name.clone()
                } else {
                    format!("{name} {n}")
                }
            })
            .find(|key| !imports.contains_key(key))
            .unwrap_or_default();
        imports.insert(key, path);
    }
}

fn in_full(
    module: &[String],
    mut path: Vec<String>,
    imports: &BTreeMap<String, Vec<String>>,
) -> Vec<String> {
    // A chain of imports is as long as the crate is deep; a circle is no Rust.
    for _ in 0..8 {
        let Some((first, rest)) = path.split_first() else {
            break;
        };
        let root = || std::iter::once("crate".to_owned()).chain(module.iter().cloned());
        path = match first.as_str() {
            "crate" => break,
            "wslmesh" => std::iter::once("crate".to_owned())
                .chain(rest.to_vec())
                .collect(),
            "self" => root().chain(rest.to_vec()).collect(),
            "super" => {
                let above = rest.iter().take_while(|name| *name == "super").count() + 1;
                let kept = (module.len() + 1).saturating_sub(above).max(1);
                root()
                    .take(kept)
                    .chain(rest.iter().skip(above - 1).cloned())
                    .collect()
            }
            name => match imports.get(name) {
                Some(import) if import.first() != Some(first) => {
                    import.iter().chain(rest).cloned().collect()
                }
                Some(_) | None => break,
            },
        };
    }
    path
}

/// Per line: a file, its text (`@` begins a new line in it), and the start of
/// what must be said of it.
const BROKEN: &str = r####"
observe/mod.rs      | use crate::plan;                                              | crate::plan:
observe/mode.rs     | use crate::{model::Mode, plan::{self}};                       | crate::plan:
observe/mode.rs     | fn f() { super::super::plan::plan(); }                        | crate::plan::plan:
apply/file.rs       | use super::super::plan::Node as Place;                        | crate::plan::Node:
apply/mod.rs        | use super::plan::*;                                           | crate::plan:
plan/mtu.rs         | use crate::{config::Settings, netlink::Netlink};              | crate::netlink::Netlink:
plan/mod.rs         | fn f() { crate::agent::run(); }                               | crate::agent::run:
plan/mtu.rs         | use super::super::host;                                       | crate::host:
plan/mtu.rs         | use std::{fs, net::Ipv4Addr};                                 | std::fs:
plan/mtu.rs         | use std::net::TcpStream;                                      | std::net::TcpStream:
plan/mtu.rs         | use std::net; fn f() { net::UdpSocket::bind(a); }             | std::net::UdpSocket::bind:
plan/mtu.rs         | fn f() { std::process::exit(1) }                              | std::process::exit:
plan/mtu.rs         | use std::time; use time::Instant;                             | std::time::Instant:
plan/mtu.rs         | use std::time::{Duration, SystemTime as T};                   | std::time::SystemTime:
plan/env_file/sh.rs | use tokio::time::sleep;                                       | tokio::time::sleep:
bus/mod.rs          | use crate::plan::Node;                                        | crate::plan::Node:
bus/interface.rs    | use super::super::apply::file;                                | crate::apply::file:
doctor/checks/mtu.rs | use std::fs;                                                  | std::fs:
doctor/mod.rs       | fn f() { rustix::process::getuid(); }                         | rustix::process::getuid:
doctor/read/local.rs | use crate::apply::file;                                       | crate::apply::file:
agent.rs            | use crate::doctor::Facts;                                     | crate::doctor::Facts:
agent.rs            | fn f() { println!("x"); }                                     | println!:
agent/pass.rs       | fn f<'a>(c: &'a str) { if q == '"' { eprintln!("{c}") } }     | eprintln!:
report/status.rs    | use std::io; fn f() { io::stderr().lock(); }                  | std::io::stderr:
report/journal.rs   | use std::io::{self, Write}; fn f() { io::stdout(); }          | std::io::stdout:
main.rs             | fn main() { std::io::stdout(); }                              | std::io::stdout:
host/child.rs       | use anyhow::Context;                                          | anyhow::Context:
host/child.rs       | fn f() -> anyhow::Result<()> { Ok(()) }                       | anyhow::Result:
host/child.rs       | #[cfg(test)] mod t { fn g() { anyhow::x() } } fn f() { anyhow::y() } | anyhow::y:
host/child.rs       | const A: &str = r#""//"#; fn f() { anyhow::z(); }             | anyhow::z:
host/child.rs       | const A: &[u8] = b"\""; // '@fn f() { anyhow::z(); }          | anyhow::z:
"####;

const FINE: &str = r####"
observe/network_file.rs | use crate::apply::file;
observe/mode.rs         | //! Not crate::plan.@fn f() { let plan = "crate::plan"; plan; }
plan/mod.rs             | mod mtu; use crate::{config::Settings, model::Plan, report::Code}; use self::mtu::x;
plan/env_file/owned.rs  | use super::{cursor::Cursor, super::Node}; use std::net::IpAddr;
plan/mtu.rs             | #[cfg(test)]@mod tests { use std::fs; fn f() { println!(); } }
plan/testing.rs         | use std::fs;
bus/interface.rs        | use super::{Shared, error::Error}; use crate::{agent::Refusal, report::Document};
doctor/read/root.rs     | use std::fs; use crate::observe;
doctor/checks/mtu.rs    | use crate::{model::Link, plan}; use super::super::facts::Facts;
cli/doctor.rs           | use crate::doctor::Facts;
cli/output.rs           | use std::io; use anyhow::Error; fn f() { io::stdout(); println!(); }
report/journal.rs       | use std::io; fn f() { x(io::stderr) }
agent.rs                | use crate::plan; /* println!() */ fn f() -> std::io::Result<()> { x }
"####;

/// What is said of each line of a table, with its other columns.
fn judged(table: &str) -> impl Iterator<Item = (Vec<&str>, Vec<String>)> {
    table.lines().skip(1).map(|line| {
        let columns: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let [path, text, ..] = columns.as_slice() else {
            panic!("{line:?} is no sample")
        };
        let found = complaints(&((*path).to_owned(), text.replace('@', "\n")));
        (columns, found)
    })
}

#[test]
fn each_rule_notices_a_breach() {
    for (columns, found) in judged(BROKEN) {
        let start = match columns.as_slice() {
            [path, _, said] => format!("{path}: {said}"),
            _ => panic!("{columns:?} is no sample"),
        };
        assert!(
            matches!(found.as_slice(), [one] if one.starts_with(&start)),
            "{columns:?}: {found:#?}"
        );
    }
    for path in ["agent.rs", "host/other.ps1"] {
        let found = complaints(&(path.to_owned(), "\n".repeat(MOST_LINES + 1)));
        assert_eq!(found, [format!("{path}: 501 lines, more than 500")]);
    }
}

#[test]
fn what_is_allowed_is_not_complained_of() {
    for (columns, found) in judged(FINE) {
        assert!(found.is_empty(), "{columns:?}: {found:#?}");
    }
}
