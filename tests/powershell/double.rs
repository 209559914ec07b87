//! The tests that a real PowerShell runs (`tests/windows`): parsed and linted here
//! together with the script that each is about, so that a call that does not fit, or a
//! function of the double that takes the place of nothing, is found without one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use wslmesh::host::scripts::Script;

use crate::lints::{self, Finding};
use crate::{ROOT, files, report, text};

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

/// A double serves several scripts, and a test need not call all of it.
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
        let more = if own.contains("'world-host.ps1'") {
            read("world-host.ps1")
        } else {
            String::new()
        };
        let before = format!("{}{}\n{more}\n", script(&test), world());
        let findings = objections(&format!("{before}{own}"), &["unused-function"]);
        let lines = before.lines().count();
        let message = report(&test, &findings);
        assert!(findings.is_empty(), "(lines count from {lines})\n{message}");
        assert!(own.contains("\nTest-Case -Name '"), "{}", test.display());
    }
}

/// The two lints that are about scripts on their own do not hold for a runner.
#[test]
fn the_runner_has_no_findings() {
    let findings = objections(&read("run.ps1"), &["output-encoding", "windows-section"]);
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
    ];
    let mut real = BTreeSet::new();
    for script in Script::ALL {
        let name = script.file_name();
        let (_, windows) = text(script).split_once("# ---- Windows ---").expect(name);
        real.append(&mut functions(windows));
    }
    let (all, assert) = (world(), read("assert.ps1"));
    let doubles: BTreeSet<_> = functions(&all)
        .into_iter()
        .filter(|name| !helpers.contains(name) && !functions(&assert).contains(name))
        .collect();
    let nothing: Vec<_> = doubles.difference(&real).collect();
    assert!(nothing.is_empty(), "in place of nothing: {nothing:?}");
    // What the double does not replace is called by what it does replace.
    let inner = [
        "Open-LocalMachine",
        "Get-RegistryValues",
        "Get-InstalledFolder",
        "Open-ForwardTask",
        "Read-WindowsRule",
        "Get-ShutProfiles",
        "Read-Property",
        "Read-HyperVRule",
        "Assert-PlainFile",
        "Read-Interface",
        // Written by the lines that start a script, which a test does not reach.
        "Write-Answer",
        "Write-TaskAnswer",
        "Enter-FileLock",
        "Invoke-Limited",
        "Get-NetshPath",
    ];
    for script in [Script::Refresh, Script::Forward] {
        let name = script.file_name();
        let (_, windows) = text(script).split_once("# ---- Windows ---").expect(name);
        let left: Vec<_> = functions(windows)
            .difference(&doubles)
            .copied()
            .filter(|function| !inner.contains(function))
            .collect();
        assert!(
            left.is_empty(),
            "{name}: touches Windows in a test: {left:?}"
        );
    }
}

/// `run.ps1` finds the parts of a script by its own reading of `scripts.rs`: that
/// must come to the same text.
#[test]
fn the_runner_can_read_the_list_of_parts() {
    let source = fs::read_to_string(Path::new(ROOT).join("src/host/scripts.rs")).expect("the list");
    for script in Script::ALL {
        let name = format!("{script:?}");
        // A row of the table: a part in quotation marks, then names of scripts.
        let rows = source
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix('"')?.split_once('"'));
        let joined: String = rows
            .filter(|(_, scripts)| scripts.trim_end_matches(';').split(' ').any(|s| s == name))
            .map(|(part, _)| {
                let path = format!("{ROOT}/src/host/windows/{part}.ps1");
                fs::read_to_string(&path).expect(&path) + "\n"
            })
            .collect();
        assert_eq!(joined, text(script), "{name}");
    }
}
