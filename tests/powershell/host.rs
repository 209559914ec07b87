//! The scripts of installing and removing: what must hold of their texts for the
//! elevated side to need no trust.

use std::collections::BTreeSet;

use wslmesh::host::{scripts::Script, setup::CHECKS};

use crate::{lints, names, text};

fn body<'a>(source: &'a str, function: &str) -> &'a str {
    source
        .split_once(&format!("\nfunction {function} {{"))
        .and_then(|(_, rest)| rest.split_once("\n}\n"))
        .unwrap_or_else(|| panic!("no function {function}"))
        .0
}

fn between<'a>(text: &'a str, start: &str, end: char) -> Vec<&'a str> {
    text.split(start)
        .skip(1)
        .filter_map(|rest| rest.split(end).next())
        .collect()
}

/// The text that `host.ps1` has run with administrator rights, before its values are
/// put in.
fn loader() -> &'static str {
    text(Script::Host)
        .split_once("\n$LoaderText = @'\n")
        .and_then(|(_, rest)| rest.split_once("\n'@\n"))
        .expect("the loader")
        .0
}

/// The loader may run a text, which no other script may, and nothing else is excused.
#[test]
fn the_loader_has_no_findings_but_that_it_runs_what_it_has_checked() {
    let found = lints::check(loader().as_bytes());
    let mut rules: Vec<_> = found
        .iter()
        // It touches Windows, and prints nothing.
        .filter(|f| f.rule != "windows-boundary" && f.rule != "output-encoding")
        .map(|f| (f.rule, f.text.as_str()))
        .collect();
    rules.sort_unstable();
    let run = "[scriptblock]::Create($texts['setup.ps1'])";
    assert_eq!(rules, [("run-text", run)]);
    // In constrained language mode a call of a method ends it with PowerShell's own 1.
    let mode = loader().find(".LanguageMode -cne").expect("the mode");
    assert!(mode < loader().find("::").expect("a call"));
    let check = loader().find("-cne $file[1]").expect("the check");
    let run = loader().find("& $setup").expect("the run");
    assert!(check < run);
    assert_eq!(loader().matches("ReadAllBytes(").count(), 1);
}

/// Windows passes 32767 characters, but the way by the shell is said to stop at 8191.
#[test]
fn the_loader_fits_into_a_command_line() {
    let lines: Vec<_> = loader()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let path = 260 * 3 * 4 / 3;
    let characters = lines.join("\n").len() + path + 2 * 64;
    let encoded = characters * 2 * 4 / 3 + 4;
    assert!(encoded < 8000, "{encoded}");
}

#[test]
fn the_host_script_knows_every_state_and_no_other() {
    let mut written = BTreeSet::new();
    // Its own file: what it shares with the syncs has states of those.
    let own = include_str!("../../src/host/windows/host.ps1");
    for start in ["-State '", "$outcome.State = '"] {
        written.extend(between(own, start, '\''));
    }
    // Two more come from the result of the elevated side by the same names.
    let known: BTreeSet<_> = [
        "installed",
        "removed",
        "looked",
        "checked",
        "nothing-to-do",
        "declined",
        "refused",
        "forbidden",
        "constrained",
        "no-desktop",
        "unfinished",
        "busy",
        "verification-failed",
        "other-user-version",
        "invalid-request",
        "failed",
    ]
    .into();
    assert_eq!(written, known);
}

/// A path made from no text would lie in the root of the current drive: every caller but
/// the one that takes no text for absence goes through the function that refuses it.
#[test]
fn a_folder_that_windows_does_not_name_ends_the_call() {
    for script in Script::ALL {
        let callers: BTreeSet<_> = names::graph(text(script))
            .calls
            .into_iter()
            .filter(|(_, calls)| calls.contains("get-winpath"))
            .map(|(name, _)| name)
            .filter(|name| name != "get-answertext")
            .collect();
        assert_eq!(callers, ["get-knownfolder".to_owned()].into());
    }
}

/// What a person agrees to must not change while it is read, and what was hashed is
/// what is written.
#[test]
fn the_setup_reads_everything_before_it_asks_and_nothing_after() {
    let order = body(text(Script::Setup), "Invoke-Order");
    let places: Vec<_> = [
        "$caller.Elevated",
        "ConvertTo-Order ",
        "Read-Files ",
        "Request-Agreement ",
        "Invoke-Work ",
    ]
    .iter()
    .map(|name| order.find(name).unwrap_or_else(|| panic!("no {name}")))
    .collect();
    assert!(places.is_sorted(), "{places:?}");
    // The folder that the user can write is named by the parameters, by the one
    // function that reads it and by the call that hands it over.
    let users = text(Script::Setup)
        .lines()
        .filter(|line| line.contains("$Staging") && !line.contains("param("))
        .count();
    assert_eq!(users, 2);
    let read = body(text(Script::Setup), "Read-Files");
    assert!(read.contains("-cne $Order.Hashes[$name]"));
    assert_eq!(read.matches("Read-WinFile").count(), 1);
}

/// Rights as numbers, of the entry for the user or for all users, in each list.
fn rights(text: &str) -> Vec<u32> {
    between(text, ";0x", ';')
        .into_iter()
        .map(|number| u32::from_str_radix(number, 16).expect("a number"))
        .collect()
}

#[test]
fn the_user_may_change_the_contents_of_one_file_and_nothing_else() {
    // winnt.h: write data, append, write EA, delete child, write attributes, delete,
    // write DAC, write owner.
    let write = 0x2 | 0x4 | 0x10 | 0x40 | 0x100 | 0x1_0000 | 0x4_0000 | 0x8_0000;
    let list = |name: &str| {
        let start = format!("${name} = ");
        let mut lines = text(Script::Setup).lines();
        rights(lines.find(|line| line.starts_with(&start)).expect("a list"))
    };
    for list in [list("ProgramSecurity"), list("FolderSecurity")] {
        assert_eq!(list.len(), 1);
        assert_eq!(list[0] & write, 0, "{:#x}", list[0]);
        assert_ne!(list[0] & 0x1, 0);
    }
    let file = list("SelectionSecurity");
    assert_eq!(file.len(), 1);
    assert_eq!(file[0] & write, 0x2 | 0x4 | 0x10 | 0x100, "{:#x}", file[0]);
    // Every list is its own: nothing comes from the folder above.
    for line in text(Script::Setup).lines().filter(|l| l.contains("O:BA")) {
        assert!(line.contains("D:P("), "{line}");
    }
}

#[test]
fn rules_go_first_and_the_ledger_not_before_them() {
    let line = text(Script::Setup)
        .lines()
        .find(|line| line.starts_with("$RemovalSteps = "))
        .expect("the order");
    assert_eq!(
        between(line, "'", '\'')
            .into_iter()
            .step_by(2)
            .collect::<Vec<_>>(),
        [
            "remove the rules",
            "change the firewall",
            "change the tasks",
            "write the registry",
            "change the files"
        ]
    );
    let order = body(text(Script::Setup), "Invoke-Order");
    assert!(order.find("Enter-SyncLock") < order.find("Invoke-Work"));
}

/// Every way in which the setup can end has words in the host script.
#[test]
fn every_exit_code_has_words() {
    let mut codes = BTreeSet::new();
    for function in ["Invoke-Order", "Request-Agreement"] {
        codes.extend(
            between(body(text(Script::Setup), function), "return ", '\n')
                .into_iter()
                .filter_map(|text| text.split([' ', '}']).next()?.parse::<u32>().ok()),
        );
    }
    codes.extend(
        between(loader(), "exit ", '\n')
            .into_iter()
            .filter_map(|text| text.split([' ', '}']).next()?.parse::<u32>().ok()),
    );
    codes.remove(&0);
    // 23 has no words of its own: the result of the setup says what failed.
    codes.remove(&23);
    assert_eq!(codes, [20, 21, 22, 24, 25, 26, 27, 28, 29].into());
    let words = text(Script::Host)
        .split_once("\n$ExitOutcomes = @{")
        .and_then(|(_, rest)| rest.split_once("\n}\n"))
        .expect("the words")
        .0;
    for code in codes {
        assert!(words.contains(&format!("\n    {code} = @('")), "{code}");
    }
}

/// What the task ends with where it can write no answer has words for the agent.
#[test]
fn every_exit_code_of_the_task_has_words() {
    let script = body(text(Script::Forward), "Invoke-Script");
    let words = body(text(Script::Refresh), "Get-TimeoutDetail");
    let codes: BTreeSet<_> = between(script, "exit ", '\n')
        .into_iter()
        .chain(between(script, "-Code ", '\n'))
        .filter_map(|code| code.split(' ').next()?.parse::<u32>().ok())
        .filter(|code| *code != 0)
        .collect();
    assert_eq!(codes, [2, 3, 4].into());
    for code in codes {
        assert!(words.contains(&format!("'0x{code:08x}' = '")), "{code}");
    }
}

/// A line of a check in the document: the number, and the statement.
fn documented(line: &str) -> Option<(&str, String)> {
    let (id, statement) = line.strip_prefix("| T")?.split_once(" | ")?;
    Some((id, statement.replace('`', "")))
}

/// The numbers in a report mean what the document says, which may say more than the title.
#[test]
fn the_document_has_the_statements_of_the_checks() {
    let path = std::path::Path::new(crate::ROOT).join("docs/windows.md");
    let document = std::fs::read_to_string(path).expect("the document");
    let documented: Vec<_> = document.lines().filter_map(documented).collect();
    assert_eq!(documented.len(), CHECKS.len());
    for ((id, title), (number, statement)) in CHECKS.iter().zip(&documented) {
        assert_eq!(id.strip_prefix('T'), Some(*number));
        let rest = statement.strip_prefix(title);
        let ends = rest.is_some_and(|rest| rest.starts_with([':', ',', ' ']));
        assert!(ends, "{id}: {title:?} and {statement:?}");
    }
    // The agent makes these two itself.
    let mut scripted: Vec<_> = CHECKS.iter().map(|(id, _)| *id).collect();
    scripted.retain(|id| !["T18", "T23"].contains(id));
    let cases = between(
        body(text(Script::Host), "Get-Finding"),
        "\n        'T",
        '\'',
    );
    let cases: Vec<_> = cases.iter().map(|number| format!("T{number}")).collect();
    assert_eq!(cases, scripted);
}

/// Who reads that a check was not made reads what to do, or that there is nothing to do.
#[test]
fn every_reason_not_to_make_a_check_says_what_to_do() {
    let host = text(Script::Host);
    let mut reasons = between(host, "New-Skipped -Reason '", '\'');
    reasons.extend(between(body(host, "Find-Obstacle"), "return '", '\''));
    assert_eq!(reasons.len(), 10, "{reasons:#?}");
    let scratch = include_str!("../../src/host/setup/scratch.rs");
    let texts = scratch.split("#[error(").skip(1).filter_map(|rest| {
        let text = rest.split_once(")]")?.0.trim();
        text.strip_prefix('"')?.strip_suffix('"')
    });
    let texts: Vec<_> = texts.map(|text| text.replace("\\\"", "\"")).collect();
    assert_eq!(texts.len(), 16, "{texts:#?}");
    for reason in reasons
        .iter()
        .copied()
        .chain(texts.iter().map(String::as_str))
    {
        let (why, what) = reason
            .split_once(": ")
            .unwrap_or_else(|| panic!("{reason}"));
        let fix = [
            "run \"wsl",
            "run \"sudo ",
            "run this again",
            "there is nothing to do",
        ];
        assert!(
            !why.is_empty() && fix.iter().any(|fix| what.contains(fix)),
            "{reason}"
        );
        let mut commands = between(what, "run \"", '"').into_iter();
        assert!(
            commands.all(|one| one.starts_with("wsl") || one.starts_with("sudo ")),
            "{reason}"
        );
    }
}

/// It becomes one argument: no quotation mark or backslash that would have to be escaped,
/// no second line, no value but a number, no variable for pipeline input, and nothing that
/// constrained language mode forbids before that is asked for.
#[test]
fn the_command_is_one_plain_line_and_fixed_but_for_a_number() {
    let command = Script::Refresh.command();
    assert!(!lints::parse(&command).root_node().has_error());
    let size = format!("$size = {};", text(Script::Refresh).len());
    let fixed = command.strip_prefix(&size).expect("the size");
    let golden = std::path::Path::new(crate::ROOT).join("tests/golden/host/command.txt");
    let golden = std::fs::read_to_string(golden).expect("the golden command");
    assert_eq!(fixed.trim(), golden.trim());
    let other = Script::Host.command();
    assert_eq!(other.split_once(';').expect("the size").1, fixed);
    assert!(
        !command.contains(['"', '\n', '`', '%', '\\', '^']),
        "{command}"
    );
    assert!(!command.to_lowercase().contains("$input"), "{command}");
    let asked = fixed.split_once("exit 0;").expect("an end").0;
    for method in ["::", "New-Object", ".Read"] {
        assert!(
            fixed.contains(method) && !asked.contains(method),
            "{method}"
        );
    }
    // CreateProcess takes 32,767 characters (learn.microsoft.com).
    assert!(command.len() < 4000, "{}", command.len());
}
