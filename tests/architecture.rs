//! The house rules that neither the compiler nor clippy checks. Test code is exempt.

#![expect(clippy::expect_used, reason = "a test may stop at the first surprise")]

use std::{collections::BTreeMap, collections::BTreeSet, fs, mem, path::Path};

use proc_macro2::{TokenStream, TokenTree};

/// Each folder may use those before it, and no other.
const ORDER: &str = "model paths backoff blocking fs netlink wireguard interop config units \
    report observe apply plan host tunnel control bus agent restore doctor cli";
/// And these only the ones named: decisions are made of data, an examination changes nothing.
const ONLY: [(&str, &str); 3] = [
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
/// What starts programs: WSL's init, and the relay in the folder of ours.
const STARTS: &str = "interop::child host::relay";
const MAX_LINES: usize = 500;

/// Adds the paths in the tokens, as `std::fs::read`, each after `above`.
fn add_paths(tokens: TokenStream, above: &str, paths: &mut BTreeSet<String>) {
    let mut path = above.to_owned();
    for token in tokens {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == ':' => path.push(':'),
            TokenTree::Ident(name) if path.ends_with("::") => path += &name.to_string(),
            // The braces of a `use`.
            TokenTree::Group(group) => {
                // Of a `use` where a path precedes it.
                let above = Some(&*path).filter(|path| path.ends_with("::"));
                add_paths(group.stream(), above.unwrap_or_default(), paths);
            }
            token => {
                paths.insert(mem::replace(&mut path, above.to_owned()));
                if let TokenTree::Ident(name) = token {
                    path += &name.to_string();
                }
            }
        }
    }
    paths.insert(path);
}

/// The path from the crate's root of what a file of that module calls `path`.
fn from_root(module: &str, path: &str) -> Option<String> {
    let rest = path.trim_start_matches("super::");
    let supers = (path.len() - rest.len()) / "super::".len();
    let above = module.rsplitn(supers + 1, "::").nth(supers)?;
    let in_crate = path.strip_prefix("crate::").map(str::to_owned);
    in_crate.or_else(|| (supers > 0).then(|| format!("{above}::{rest}")))
}

/// Whether it is that module or in it.
fn is_in(path: &str, module: &str) -> bool {
    let rest = path.strip_prefix(module);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Everything against a rule in these files: their modules, as `agent::relay`, and texts.
fn breaches(files: &BTreeMap<String, String>) -> Vec<String> {
    let (mut found, mut edges) = (Vec::new(), BTreeSet::new());
    for (module, text) in files {
        if text.lines().count() > MAX_LINES {
            found.push(format!("{module}: more than {MAX_LINES} lines"));
        }
        // Tests are at the end of a file.
        let code = text.split("\nmod tests {").next().unwrap_or_default();
        let mut paths = BTreeSet::new();
        add_paths(code.parse().expect("Rust"), "", &mut paths);
        let reads = is_in(module, "doctor::read");
        let decides = is_in(module, "plan") || is_in(module, "doctor") && !reads;
        for path in paths {
            if decides && WORLD.split(' ').any(|part| path.starts_with(part)) {
                found.push(format!("{module}: {path}: I/O or a clock in a decision"));
            }
            if path.ends_with("Command::new") && !STARTS.split(' ').any(|one| one == module) {
                found.push(format!("{module}: {path}: not for this file"));
            }
            let path = from_root(module, &path).unwrap_or_default();
            let used = files.keys().filter(|used| is_in(&path, used)).max();
            // A module and those in it are one thing.
            let apart = |used: &&String| !is_in(module, used) && !is_in(used, module);
            edges.extend(used.filter(apart).map(|used| (module, used)));
        }
    }
    for (user, used) in &edges {
        let [from, to] = [user, used].map(|module| module.split("::").next());
        let place = |folder| ORDER.split(' ').position(|one| Some(one) == folder);
        let only = ONLY.iter().find(|(folder, _)| Some(*folder) == from);
        let may = only.is_none_or(|(_, may)| may.split(' ').any(|may| Some(may) == to));
        if from != to && (place(from) < place(to) || !may) {
            found.push(format!("{user}: {used}: not for this folder"));
        }
    }
    // What uses nothing or is not used is in no cycle; without it, more are like that.
    let mut before = usize::MAX;
    while mem::replace(&mut before, edges.len()) > edges.len() {
        let (users, used): (BTreeSet<_>, BTreeSet<_>) = edges.iter().copied().unzip();
        edges.retain(|(user, uses)| used.contains(user) && users.contains(uses));
    }
    let cycle = |(user, used)| format!("{user}: {used}: a cycle");
    found.extend(edges.into_iter().map(cycle));
    found
}

/// Reads the sources in a folder, by module.
fn read(folder: &Path, module: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        let inner = format!("{module}::{name}");
        match path.extension() {
            _ if ["tests", "testing"].contains(&&*name) => {}
            None => read(&path, &inner, files),
            Some(end) if end != "rs" => {}
            Some(_) => {
                let text = fs::read_to_string(&path).expect("a text");
                let module = inner.trim_end_matches("::mod").trim_start_matches("::");
                files.insert(module.to_owned(), text);
            }
        }
    }
}

#[test]
fn sources_keep_the_rules() {
    for source in ["src", "relay/src"] {
        let mut files = BTreeMap::new();
        read(Path::new(source), "", &mut files);
        assert!(files.len() > 5, "only {} files in {source}", files.len());
        assert_eq!(breaches(&files), [""; 0], "{source}");
    }
}

/// The pages in a folder that have links.
fn pages(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect()
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let mut count = 0;
    for page in [".", "docs", "docs/modes"]
        .map(Path::new)
        .into_iter()
        .flat_map(pages)
    {
        let text = fs::read_to_string(&page).expect("a text");
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains(':') {
                continue;
            }
            count += 1;
            let to = page.parent().expect("a folder").join(file);
            assert!(to.exists(), "{}: {link}", page.display());
        }
    }
    assert!(count > 30, "only {count} links");
    // A page for each networking mode.
    for mode in ["nat", "mirrored", "consomme", "bridged", "none", "linux"] {
        let page = format!("docs/modes/{mode}.md");
        assert!(Path::new(&page).exists(), "{page}");
    }
}
