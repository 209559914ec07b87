//! The PowerShell files that run on Windows, checked where no PowerShell exists: by a
//! parser, by lints for what the parser misses, and against the contract's texts.
//!
//! What this cannot show is that Windows PowerShell 5.1 does what the file says; the
//! script counts as untested on Windows.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, its helpers too"
)]

mod answers;
mod double;
mod host;
mod known;
mod lints;
mod names;
mod parsed;
mod setup_names;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use wslmesh::host::contract::{FirewallState, PolicyGap, State};
use wslmesh::host::scripts::Script;
use wslmesh::host::sync::LIMIT;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All files with this ending in a folder of the repository, sorted.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(ROOT).join(folder);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == ending)
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no .{ending} in {}", folder.display());
    found
}

fn report(path: &Path, findings: &[lints::Finding]) -> String {
    let lines = findings
        .iter()
        .map(|f| format!("{}:{}: {}: {}", path.display(), f.line, f.rule, f.text));
    lines.collect::<Vec<_>>().join("\n")
}

/// A script as Windows gets it.
const fn text(script: Script) -> &'static str {
    script.text()
}

/// What is shared need not be called by each script that has it, but by one of them.
#[test]
fn shipped_scripts_have_no_findings() {
    let mut found = String::new();
    let mut called = BTreeSet::new();
    let mut unused = BTreeSet::new();
    for script in Script::ALL {
        let graph = names::graph(text(script));
        called.extend(graph.calls.into_values().flatten());
        let (idle, findings): (Vec<_>, Vec<_>) = lints::check(text(script).as_bytes())
            .into_iter()
            .partition(|finding| finding.rule == "unused-function");
        unused.extend(idle.into_iter().map(|finding| finding.text));
        found += &report(Path::new(script.file_name()), &findings);
        found += "\n";
    }
    assert!(found.trim().is_empty(), "\n{found}");
    // Called by the line that starts a script.
    called.insert("invoke-script".to_owned());
    unused.retain(|name| !called.contains(&name.to_lowercase()));
    assert!(unused.is_empty(), "nobody calls: {unused:?}");
}

/// A sample is called `<rule>.<what>.ps1`; its rule and no other must object.
#[test]
fn every_lint_catches_its_own_samples_alone() {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in files("tests/powershell/broken", "ps1") {
        let name = path
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let rule = name.split('.').next().unwrap_or_default().to_owned();
        let findings = lints::check(&fs::read(&path).expect("a readable sample"));
        if findings.is_empty() || findings.iter().any(|f| f.rule != rule) {
            wrong.push(format!("{name}: {}", report(&path, &findings)));
        }
        seen.insert(rule);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let rules: BTreeSet<_> = lints::RULES.iter().map(|rule| (*rule).to_owned()).collect();
    assert_eq!(
        seen, rules,
        "each lint needs a sample, and each sample a lint"
    );
}

#[test]
fn valid_but_tricky_scripts_pass() {
    for path in files("tests/powershell/valid", "ps1") {
        let findings = lints::check(&fs::read(&path).expect("a readable sample"));
        assert!(findings.is_empty(), "\n{}", report(&path, &findings));
    }
}

/// Texts in single quotes that are keys of the table a function returns.
fn keys_of(source: &str, function: &str) -> Vec<String> {
    let tree = lints::parse(source);
    let nodes = lints::descendants(tree.root_node());
    let body = nodes
        .iter()
        .find(|n| {
            n.kind() == "function_statement"
                && source[n.byte_range()].starts_with(&format!("function {function} "))
        })
        .unwrap_or_else(|| panic!("no function {function}"));
    lints::descendants(*body)
        .iter()
        .filter(|n| n.kind() == "key_expression")
        .map(|n| source[n.byte_range()].trim().trim_matches('\'').to_owned())
        .collect()
}

fn golden(name: &str) -> Value {
    let path = Path::new(ROOT).join("tests/golden/host").join(name);
    serde_json::from_slice(&fs::read(&path).expect(name)).expect(name)
}

fn keys(value: &Value) -> BTreeSet<String> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect()
}

#[test]
fn the_scripts_write_the_fields_of_the_contract() {
    let answer = golden("answer-synced.json");
    let both = [
        ("New-Answer", &answer),
        ("ConvertTo-Rule", &answer["rules"][0]),
        ("ConvertTo-Rule", &answer["conflicts"][0]),
        ("Add-Owners", &answer["taken"][0]),
        ("New-Refused", &answer["refused"][0]),
        ("New-FirewallAnswer", &answer["firewall"]),
    ];
    let refresh_alone = [
        ("Get-Installed", &answer["installed"]),
        ("Get-NetworkFacts", &answer["lowest-mtu"]),
    ];
    let tasks = both.iter().map(|pair| (text(Script::Forward), pair));
    let agents = both.iter().chain(&refresh_alone);
    for (source, (function, object)) in
        tasks.chain(agents.map(|pair| (text(Script::Refresh), pair)))
    {
        // Tables with fields of their own, and not of the answer, have bare words.
        let written: BTreeSet<_> = keys_of(source, function)
            .into_iter()
            .filter(|key| key.starts_with(char::is_lowercase))
            .collect();
        assert_eq!(written, keys(object), "{function}");
    }
}

/// Together with the ticket the task's answer has all fields: what the agent's script
/// takes over, and what it fills in itself.
#[test]
fn the_answer_of_the_task_is_taken_over_as_a_whole() {
    let source = text(Script::Refresh);
    let taken_over: Vec<&str> = body(source, "ConvertFrom-TaskAnswer")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("foreach ($name in @("))
        .flat_map(|list| list.split('\''))
        .filter(|text| text.starts_with(char::is_lowercase))
        .collect();
    // What the task does not know: the forwards of the relay.
    let relayed = ["narrower", "silent"];
    for field in relayed {
        let set = format!("$answer['{field}'] =");
        assert!(body(source, "Invoke-Installed").contains(&set), "{field}");
    }
    // What the task of an earlier version does not say.
    let optional = ["restored"];
    for field in optional {
        let set = format!("$answer['{field}'] =");
        assert!(
            body(source, "ConvertFrom-TaskAnswer").contains(&set),
            "{field}"
        );
    }
    let filled_in: Vec<&str> = body(source, "Get-AnswerText")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("$answer['"))
        .filter_map(|line| line.split('\'').next())
        .collect();
    let mut all: Vec<_> = ["version"]
        .iter()
        .chain(&taken_over)
        .chain(&relayed)
        .chain(&optional)
        .chain(&filled_in)
        .copied()
        .collect();
    all.sort_unstable();
    let contract: Vec<_> = keys(&golden("answer-synced.json")).into_iter().collect();
    assert_eq!(all, contract);
}

#[test]
fn the_script_asks_for_the_fields_of_the_contract() {
    let source = text(Script::Refresh);
    let tree = lints::parse(source);
    let request = golden("request-one.json");
    let policy: Value = serde_json::from_str(POLICY).expect("JSON");
    for object in [
        &request,
        &request["forwards"][0],
        &policy,
        &policy["grants"][0],
    ] {
        let asked = lints::descendants(tree.root_node())
            .into_iter()
            .filter(|n| {
                n.kind() == "command" && source[n.byte_range()].starts_with("Assert-Fields ")
            })
            .map(|n| {
                let inside = lints::descendants(n).into_iter();
                inside
                    .filter(|n| n.kind() == "key_expression")
                    .map(|n| source[n.byte_range()].trim().trim_matches('\'').to_owned())
                    // Bare words belong to a list's kind.
                    .filter(|key| key.starts_with(char::is_lowercase))
                    .collect()
            })
            .any(|fields: BTreeSet<String>| fields == keys(object));
        assert!(asked, "no Assert-Fields with exactly {:?}", keys(object));
    }
}

/// The policy as the contract has it.
const POLICY: &str = r#"{"version":2,"package":"0.1.0","distribution":"Debian","logon":true,"mode":"nat","profiles":["domain","private"],
  "grants":[{"protocol":"tcp","listen-address":"0.0.0.0","listen-ports":[2222,2222],"connect-ports":[22,22],"firewall":"local","backend":"auto"}]}"#;

/// Texts behind these marks, up to the next quote.
fn marked(source: &str, marks: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for mark in marks {
        for (place, _) in source.match_indices(mark) {
            let rest = &source[place + mark.len()..];
            let text = rest.split(['\'', '"']).next().unwrap_or_default();
            found.insert(text.to_owned());
        }
    }
    found
}

fn names<T: serde::Serialize>(values: &[T]) -> BTreeSet<String> {
    let name = |value: &T| serde_json::to_value(value).expect("a name");
    values
        .iter()
        .map(|value| name(value).as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn the_scripts_know_every_state_and_no_other() {
    let marks = ["-State '", "$answer['state'] = '", "State = '"];
    let firewall = include_str!("../../src/host/windows/lib/firewall.ps1");
    let mut written = BTreeSet::new();
    for source in [text(Script::Refresh), text(Script::Forward)] {
        assert!(source.contains(firewall));
        let rest = source.replace(firewall, "");
        written.append(&mut marked(&rest, &marks));
    }
    let states = names(&[
        State::Synced,
        State::Partial,
        State::NotElevated,
        State::ServiceStopped,
        State::InvalidRequest,
        State::Failed,
        State::TaskFailed,
        State::TaskTimeout,
        State::GuestAddressUnknown,
        State::OtherVersion,
        State::Superseded,
    ]);
    assert_eq!(written, states);
    let states = names(&[FirewallState::Done, FirewallState::Failed]);
    assert_eq!(marked(firewall, &marks), states);
    let reasons = names(&[
        PolicyGap::OutsidePolicy,
        PolicyGap::ListenAddress,
        PolicyGap::Firewall,
    ]);
    assert_eq!(
        marked(text(Script::Refresh), &["-Reason '", "{ return '"])
            .intersection(&reasons)
            .count(),
        3
    );
}

/// The text of a function, without its first and last lines.
fn body<'a>(source: &'a str, function: &str) -> &'a str {
    source
        .split_once(&format!("\nfunction {function} {{"))
        .and_then(|(_, rest)| rest.split_once("\n}\n"))
        .expect("the function")
        .0
}

/// Once rules are written, only reading them back may come before the answer.
#[test]
fn the_facts_are_gathered_before_the_rules_are_touched() {
    let source = text(Script::Refresh);
    let body = body(source, "Get-AnswerText");
    let facts = body.find("Get-NetworkFacts").expect("the facts");
    let sync = body.find("Invoke-").expect("the sync");
    assert!(facts < sync, "{body}");
    assert_eq!(source.matches("= Get-NetworkFacts").count(), 1);
}

#[test]
fn waiting_for_the_lock_leaves_the_agent_time_to_hear_of_it() {
    let lock = body(text(Script::Refresh), "Enter-SyncLock");
    let wait = lock
        .split_once("Invoke-WinShared -Milliseconds ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .and_then(|number| number.parse().ok())
        .map(Duration::from_millis)
        .expect("a time");
    assert!(
        wait + Duration::from_secs(15) <= LIMIT,
        "PowerShell's start and the rules need the rest of {LIMIT:?}"
    );
    assert!(lock.contains(&format!("(waited {} s)", wait.as_secs())));
}

/// Constrained by a policy no method may be called: that is asked for before anything else.
#[test]
fn a_script_that_is_a_file_says_that_the_language_is_constrained() {
    for (script, code) in [
        (Script::Refresh, 0),
        (Script::Host, 0),
        // The last result of the task.
        (Script::Forward, 3),
    ] {
        let body = body(text(script), "Invoke-Script");
        let first = format!("Assert-Language -Code {code}");
        assert_eq!(body.lines().nth(1).map(str::trim), Some(first.as_str()));
        let check = self::body(text(script), "Assert-Language");
        assert!(!check.contains("::") && !check.contains(".Write"));
        assert!(check.contains("Write-Host ('wslmesh ' + $language)"));
    }
}
