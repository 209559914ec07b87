//! The house rules that neither the compiler nor clippy checks. Test code is exempt.

#![expect(clippy::expect_used, reason = "a test may stop at the first surprise")]

use std::{collections::BTreeMap, collections::BTreeSet, fs, path::Path};

use syn::visit::{self, Visit};

/// Each folder may use those before it, and no other.
const ORDER: &str = "model paths backoff blocking fs netlink wireguard interop config units \
    report observe apply plan host control bus agent restore doctor cli";
/// And these only the ones named: decisions are made of data, an examination changes nothing.
const ONLY: &[(&str, &str)] = &[
    ("plan", "config model"),
    ("bus", "backoff config control model observe report"),
    (
        "doctor",
        "blocking config control fs interop model netlink observe paths plan report units",
    ),
];
/// What `plan` and the checks of `doctor` do without: the outside world and the time.
const WORLD: &str = "std::env std::fs std::net::Tcp std::net::Udp std::os std::process \
    std::thread std::time::Instant std::time::SystemTime rustix tokio";
/// Where standard output is the program's (clippy allows no print macro outside of cli).
const PRINTS: &[&str] = &["cli", "report::journal", "events", "program"];
const MAX_LINES: usize = 500;

/// The paths in a file, without those of its tests.
#[derive(Default)]
struct Paths(BTreeSet<Vec<String>>);

impl Paths {
    fn add_tree(&mut self, mut path: Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.add_tree(path, &part.tree);
            }
            syn::UseTree::Group(group) => {
                let add = |tree| self.add_tree(path.clone(), tree);
                group.items.iter().for_each(add);
            }
            syn::UseTree::Name(syn::UseName { ident })
            | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                path.extend((ident != "self").then(|| ident.to_string()));
                self.0.insert(path);
            }
            syn::UseTree::Glob(_) => drop(self.0.insert(path)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(Vec::new(), &item.tree);
    }
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|part| part.ident.to_string());
        self.0.insert(names.collect());
        visit::visit_path(self, path);
    }
}

/// Everything against a rule in these files: their modules, as `agent::relay`, and texts.
fn breaches(files: &BTreeMap<String, String>) -> Vec<String> {
    let (mut found, mut edges) = (Vec::new(), BTreeSet::new());
    for (module, text) in files {
        if text.lines().count() > MAX_LINES {
            found.push(format!("{module}: more than {MAX_LINES} lines"));
        }
        let mut paths = Paths::default();
        paths.visit_file(&syn::parse_file(text).expect("Rust"));
        let folder = module.split("::").next().unwrap_or_default();
        let pure = folder == "plan" || folder == "doctor" && !module.starts_with("doctor::read");
        for path in paths.0 {
            let supers = path.iter().take_while(|name| *name == "super").count();
            let name = path.join("::");
            if pure
                && WORLD
                    .split_whitespace()
                    .any(|world| name.starts_with(world))
            {
                found.push(format!("{module}: {name}: I/O or a clock in a decision"));
            } else if !PRINTS.contains(&folder)
                && !PRINTS.contains(&module.as_str())
                && (name.ends_with("io::stdout") || name.ends_with("io::stderr"))
            {
                found.push(format!("{module}: {name}: only cli prints"));
            } else if folder != "cli" && name.starts_with("anyhow") {
                found.push(format!(
                    "{module}: {name}: an error without a type outside cli"
                ));
            }
            let above: Vec<&str> = module.split("::").collect();
            let full = match name.strip_prefix("crate::") {
                Some(name) => name.to_owned(),
                None if supers > 0 && supers < above.len() => {
                    let (above, _) = above.split_at(above.len() - supers);
                    let below = path.iter().skip(supers).map(String::as_str);
                    Vec::from_iter(above.iter().copied().chain(below)).join("::")
                }
                None => continue,
            };
            let mut used = full.as_str();
            while !files.contains_key(used) {
                used = used.rsplit_once("::").map_or("", |(above, _)| above);
                if used.is_empty() {
                    break;
                }
            }
            // A module and those within it are one thing.
            let within = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}::"));
            if !used.is_empty() && !within(module, used) && !within(used, module) {
                edges.insert((module.clone(), used.to_owned()));
            }
        }
    }
    for (user, used) in &edges {
        let of = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
        let place = |module: &str| {
            ORDER
                .split_whitespace()
                .position(|folder| folder == of(module))
        };
        let only = ONLY.iter().find(|(folder, _)| *folder == of(user));
        if of(user) != of(used)
            && (place(user) < place(used)
                || only.is_some_and(|(_, may)| !may.split(' ').any(|may| may == of(used))))
        {
            found.push(format!("{user}: {used}: not for this folder"));
        }
        let mut reached = BTreeSet::from([used]);
        while let Some((_, next)) = edges
            .iter()
            .find(|(from, to)| reached.contains(from) && !reached.contains(to))
        {
            reached.insert(next);
        }
        if reached.contains(user) {
            found.push(format!("{user}: {used}: a cycle"));
        }
    }
    found
}

fn collect(folder: &Path, module: &str, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let name = match (stem.as_str(), module) {
            ("tests" | "testing", _) => continue,
            ("mod", _) => module.to_owned(),
            (stem, "") => stem.to_owned(),
            (stem, module) => format!("{module}::{stem}"),
        };
        if path.is_dir() {
            collect(&path, &name, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.insert(name, fs::read_to_string(&path).expect("a text"));
        }
    }
}

#[test]
fn sources_keep_the_rules() {
    for source in ["src", "relay/src"] {
        let mut files = BTreeMap::new();
        collect(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(source),
            "",
            &mut files,
        );
        assert!(files.len() > 5, "only {} files in {source}", files.len());
        let breaches = breaches(&files);
        assert!(breaches.is_empty(), "{source}:\n{}", breaches.join("\n"));
    }
}

#[test]
fn each_rule_finds_a_breach() {
    let long = "\n".repeat(MAX_LINES + 1);
    for (module, text, breach) in [
        ("agent", long.as_str(), "agent: more than"),
        ("plan::mtu", "use std::{fs, io};", "plan::mtu: std::fs: I/O"),
        (
            "doctor::checks",
            "fn f() { tokio::spawn(g()) }",
            "doctor::checks: tokio::spawn: I/O",
        ),
        (
            "agent",
            "fn f() -> anyhow::Result<()> { g() }",
            "agent: anyhow::Result: an error",
        ),
        (
            "agent",
            "fn f() { std::io::stdout() }",
            "agent: std::io::stdout: only cli",
        ),
        (
            "observe",
            "use crate::{model, plan::{self, Plan}};",
            "observe: plan: not for",
        ),
        ("plan", "use crate::report::Event;", "plan: report: not for"),
        (
            "apply::mtu",
            "fn f() { super::file::g() }",
            "apply::file: apply::mtu: a cycle",
        ),
    ] {
        let mut files = BTreeMap::from(
            [
                ("plan", ""),
                ("report", ""),
                ("apply::file", "use super::mtu::f;"),
            ]
            .map(|(module, text)| (module.to_owned(), text.to_owned())),
        );
        files.insert(module.to_owned(), text.to_owned());
        let found = breaches(&files);
        assert!(
            found.iter().any(|one| one.starts_with(breach)),
            "{breach}: {found:?}"
        );
        files.insert(module.to_owned(), format!("mod tests {{ {text} }}"));
        let found = breaches(&files);
        assert!(found.is_empty() || text.len() > MAX_LINES, "{found:?}");
    }
}
