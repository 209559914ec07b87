//! The tests that a real PowerShell runs (`tests/windows`): parsed and linted here
//! together with the script that each is about, so that a call that does not fit, or a
//! function of the double that takes the place of nothing, is found without one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use wslmesh::host::scripts::Script;

use crate::lints::{self, Finding};
use crate::{ROOT, files, names, report, text};

/// Read before every test, in this order; `run.ps1` names them too.
const WORLD: [&str; 4] = ["assert", "world", "world-task", "world-firewall"];

fn read(name: &str) -> String {
    let path = Path::new(ROOT).join("tests/windows").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn world() -> String {
    WORLD.map(|part| read(&format!("{part}.ps1"))).join("\n")
}

/// The script whose name a test's begins with.
fn script(test: &Path) -> &'static str {
    let name = test.file_name().expect("a file").to_string_lossy();
    let about = name
        .split(['-', '.'])
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let script = Script::ALL
        .into_iter()
        .find(|script| script.file_name().strip_suffix(".ps1") == Some(&about));
    text(script.unwrap_or_else(|| panic!("no script that {name} is about")))
}

fn functions(source: &str) -> BTreeSet<&str> {
    source
        .lines()
        .filter_map(|line| line.strip_prefix("function "))
        .filter_map(|rest| rest.split(' ').next())
        .collect()
}

/// What need not hold for tests: a double serves several scripts, is called in part,
/// takes the place of functions of the script and need not look at what it is given.
const RELAXED: [&str; 5] = [
    "unused-function",
    "unused-parameter",
    "duplicate-function",
    "windows-boundary",
    "failure-words",
];

fn objections(source: &str, relaxed: &[&str]) -> Vec<Finding> {
    lints::check(source.as_bytes())
        .into_iter()
        .filter(|finding| !relaxed.contains(&finding.rule))
        .collect()
}

#[test]
fn the_tests_fit_the_scripts_they_are_about() {
    let tests: Vec<_> = files("tests/windows", "ps1")
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".Tests.ps1"))
        .collect();
    assert!(tests.len() >= 4, "{tests:?}");
    for test in tests {
        let own = fs::read_to_string(&test).expect("a readable test");
        // What host.ps1 and setup.ps1 see besides is named by their tests.
        let more: String = ["world-host.ps1", "world-install.ps1"]
            .iter()
            .filter(|name| own.contains(&format!("'{name}'")))
            .map(|name| read(name) + "\n")
            .collect();
        let before = format!("{}{}\n{more}\n", script(&test), world());
        let findings = objections(&format!("{before}{own}"), &RELAXED);
        let lines = before.lines().count();
        let message = report(&test, &findings);
        assert!(findings.is_empty(), "(lines count from {lines})\n{message}");
        assert!(own.contains("\nTest-Case -Name '"), "{}", test.display());
    }
}

/// The lint that is about scripts on their own does not hold for a runner.
#[test]
fn the_runner_has_no_findings() {
    let findings = objections(&read("run.ps1"), &["output-encoding", "windows-boundary"]);
    assert!(
        findings.is_empty(),
        "\n{}",
        report(Path::new("run.ps1"), &findings)
    );
    let runner = read("run.ps1");
    for part in WORLD {
        assert!(runner.contains(&format!("'{part}.ps1'")), "{part}");
    }
}

/// What replaces Windows must have the name of what touches Windows.
#[test]
fn the_double_takes_the_place_of_what_touches_windows() {
    let helpers = [
        "Reset-World",
        "Reset-TaskWorld",
        "Reset-FirewallWorld",
        "Get-WorldText",
        "Get-FirewallText",
        "Get-PolicySample",
        "Get-SelectionSample",
        "New-RuleSample",
        "ConvertTo-InstalledRule",
        "Select-Rules",
        "Find-WorldRules",
    ];
    let mut real = BTreeSet::new();
    for script in Script::ALL {
        real.append(&mut functions(text(script)));
    }
    let (all, assert) = (world(), read("assert.ps1"));
    let doubles: BTreeSet<_> = functions(&all)
        .into_iter()
        .filter(|name| !helpers.contains(name) && !functions(&assert).contains(name))
        .collect();
    let nothing: Vec<_> = doubles.difference(&real).collect();
    assert!(nothing.is_empty(), "in place of nothing: {nothing:?}");
    let cut = doubles.iter().map(|name| name.to_lowercase()).collect();
    for (script, root) in [
        (Script::Refresh, "Get-AnswerText"),
        (Script::Forward, "Get-TaskText"),
        (Script::Port, "Get-PortAnswerText"),
    ] {
        let graph = names::graph(text(script));
        let reached = graph.reached(root, &cut);
        assert!(reached.len() > 20, "{root}: {reached:?}");
        let left: Vec<_> = reached.intersection(&graph.touching).collect();
        assert!(
            left.is_empty(),
            "{}: touches Windows in a test: {left:?}",
            script.file_name()
        );
    }
}

/// `run.ps1` and `assemble` put the scripts together by their own reading of
/// `scripts.rs`: that must come to the same texts.
#[test]
fn others_can_read_the_lists_of_files() {
    let source = fs::read_to_string(Path::new(ROOT).join("src/host/scripts.rs")).expect("the list");
    for script in Script::ALL {
        let start = format!(
            "const {}: &str = script!(",
            script.file_name()[..]
                .trim_end_matches(".ps1")
                .to_uppercase()
        );
        let list = source
            .split_once(&start)
            .and_then(|(_, rest)| rest.split_once(");"))
            .expect("a list of files")
            .0;
        let joined: String = list
            .split('"')
            .skip(1)
            .step_by(2)
            .map(|file| {
                let path = format!("{ROOT}/src/host/windows/{file}.ps1");
                fs::read_to_string(&path).expect(&path) + "\n"
            })
            .collect();
        assert_eq!(joined, text(script), "{start}");
    }
}
