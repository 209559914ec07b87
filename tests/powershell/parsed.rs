//! What tests on a double of Windows consist of, parsed: the suites and the modules in
//! PowerShell 7, and the C# of the double. Nothing of it is run here: that needs a
//! PowerShell (`pwsh tests/windows/run.ps1 -Whole`).

use std::fs;
use std::path::{Path, PathBuf};

use tree_sitter::{Language, Node, Parser};

use crate::{ROOT, lints};

/// All files with this ending below a folder of the repository, sorted.
fn below(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            below(&path, ending, found);
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found.sort();
}

fn all(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    below(&Path::new(ROOT).join("tests/windows"), ending, &mut found);
    found
}

/// Lines, counted from 1, where the parser found an error or had to invent a token.
fn errors(node: Node<'_>, lines: &mut Vec<usize>) {
    if node.is_error() || node.is_missing() {
        lines.push(node.start_position().row + 1);
    } else if node.has_error() {
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            errors(child, lines);
        }
    }
}

fn csharp_errors(path: &Path) -> Vec<usize> {
    let mut parser = Parser::new();
    parser
        .set_language(&Language::new(tree_sitter_c_sharp::LANGUAGE))
        .expect("the grammar fits the library");
    let source = fs::read_to_string(path).expect("a readable file");
    let tree = parser.parse(&source, None).expect("a tree");
    let mut lines = Vec::new();
    errors(tree.root_node(), &mut lines);
    lines
}

fn powershell_errors(path: &Path) -> Vec<usize> {
    let source = fs::read_to_string(path).expect("a readable file");
    let mut lines = Vec::new();
    errors(lints::parse(&source).root_node(), &mut lines);
    lines
}

fn report(paths: &[PathBuf], check: fn(&Path) -> Vec<usize>) -> String {
    let mut text = String::new();
    for path in paths {
        for line in check(path) {
            text += &format!("\n{}:{line}: syntax", path.display());
        }
    }
    text
}

#[test]
fn all_powershell_of_the_tests_parses() {
    for (ending, least) in [("ps1", 15), ("psm1", 2), ("psd1", 2)] {
        let paths = all(ending);
        assert!(paths.len() >= least, "{paths:?}");
        let found = report(&paths, powershell_errors);
        assert!(found.is_empty(), "{found}");
    }
}

#[test]
fn the_double_parses() {
    let paths = all("cs");
    assert!(paths.len() > 20, "{paths:?}");
    let found = report(&paths, csharp_errors);
    assert!(found.is_empty(), "{found}");
}

/// Files stay small enough to be read.
#[test]
fn files_of_the_double_are_short() {
    for path in all("cs").into_iter().chain(all("ps1")) {
        let lines = fs::read_to_string(&path).expect("text").lines().count();
        assert!(lines < 500, "{}: {lines} lines", path.display());
    }
}

#[test]
fn the_parser_sees_errors_in_csharp() {
    let broken = Path::new(ROOT).join("tests/powershell/broken");
    let mut paths = Vec::new();
    below(&broken, "cs", &mut paths);
    assert!(paths.len() >= 2, "{paths:?}");
    for path in paths {
        assert!(!csharp_errors(&path).is_empty(), "{}", path.display());
    }
}
