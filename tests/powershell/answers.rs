//! Every state and every text that the scripts can answer is in docs/windows.md, with what
//! to do, and nothing else is.

use std::collections::BTreeSet;

use wslmesh::host::{contract, setup};

use crate::{files, names};

const DOCUMENT: &str = include_str!("../../docs/windows.md");

/// Functions whose texts are no answers: what the elevated window shows, definitions of
/// tasks, a rule's description, and arguments of programs.
const NO_ANSWERS: [&str; 9] = [
    "Add-WinFirewallRule",
    "Format-Policy",
    "Format-Ports",
    "Get-NetshLines",
    "Get-QuestionLines",
    "Get-TaskActions",
    "Invoke-Script",
    "New-TaskXml",
    "Read-WinAnswer",
];

/// What a line has where its texts are no answers: steps, which stand in `could not STEP`,
/// lines for the elevated window, and arguments of programs.
const NO_ANSWER: [&str; 6] = [
    "$script:Step =",
    "$script:Step -cne",
    "-Step '",
    "Write-Line",
    "-Arguments",
    "$arguments =",
];

/// The texts between single quotes in a line, in which two quotes are one.
fn quoted(line: &str) -> Vec<String> {
    let marked = line.replace("''", "\u{0}");
    let texts = marked.split('\'').skip(1).step_by(2);
    texts.map(|text| text.replace('\u{0}', "'")).collect()
}

/// As the document has it: `…` in the place of what is put in.
fn written(text: &str) -> String {
    let mut text = text.to_owned();
    for place in 0..5 {
        text = text.replace(&format!("{{{place}}}"), "…");
    }
    text.trim().to_owned()
}

/// Texts of at least three words, but no pattern and no JSON.
fn is_sentence(text: &str) -> bool {
    text.matches(' ').count() >= 2 && !["\\A", "(?", "{\""].iter().any(|mark| text.contains(mark))
}

fn answers() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in files("src/host/windows", "ps1")
        .into_iter()
        .chain(files("src/host/windows/lib", "ps1"))
    {
        // Checks are in the table of the checks, and the loader answers by exit codes.
        if ["checks.ps1", "command.ps1", "loader.ps1"]
            .iter()
            .any(|name| path.ends_with(name))
        {
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a script");
        let mut function = "";
        for line in source.lines() {
            if let Some(rest) = line.strip_prefix("function ") {
                function = rest.split(' ').next().unwrap_or_default();
            }
            let comment = line.trim_start().starts_with('#');
            if comment
                || NO_ANSWERS.contains(&function)
                || NO_ANSWER.iter().any(|mark| line.contains(mark))
            {
                continue;
            }
            let texts = quoted(line).into_iter().filter(|text| is_sentence(text));
            found.extend(texts.map(|text| written(&text)));
        }
    }
    found
}

/// The code of each item of the section's lists.
fn documented() -> BTreeSet<String> {
    let section = DOCUMENT
        .split("## Every answer and what to do")
        .nth(1)
        .expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let items = section
        .lines()
        .filter_map(|line| line.strip_prefix("  - `"));
    items
        .filter_map(|item| item.strip_suffix('`'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_text_is_in_the_document_and_no_other() {
    let (scripts, document) = (answers(), documented());
    assert!(scripts.len() > 150, "{scripts:#?}");
    let missing: Vec<_> = scripts.difference(&document).collect();
    assert!(missing.is_empty(), "not in docs/windows.md: {missing:#?}");
    let stale: Vec<_> = document.difference(&scripts).collect();
    assert!(stale.is_empty(), "no script says: {stale:#?}");
}

#[test]
fn every_state_is_in_the_document() {
    let mut states = names(&[
        contract::State::Synced,
        contract::State::Partial,
        contract::State::NotElevated,
        contract::State::ServiceStopped,
        contract::State::InvalidRequest,
        contract::State::Failed,
        contract::State::TaskFailed,
        contract::State::TaskTimeout,
        contract::State::GuestAddressUnknown,
        contract::State::OtherVersion,
        contract::State::Superseded,
    ]);
    states.append(&mut names(&[
        setup::State::Installed,
        setup::State::Removed,
        setup::State::Looked,
        setup::State::Checked,
        setup::State::NothingToDo,
        setup::State::Declined,
        setup::State::Refused,
        setup::State::Unfinished,
        setup::State::Busy,
        setup::State::Forbidden,
        setup::State::Constrained,
        setup::State::NoDesktop,
        setup::State::VerificationFailed,
        setup::State::OtherUserVersion,
        setup::State::InvalidRequest,
        setup::State::Failed,
    ]));
    for state in states {
        assert!(DOCUMENT.contains(&format!("`{state}`")), "{state}");
    }
}
