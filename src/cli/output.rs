//! Printing: all output passes here, and control characters from files, processes and
//! Windows stay here. A closed pipe is not an error (`wslmesh status | head -n 1`); any other
//! failure to write the output is.

use std::{
    cmp::Reverse,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use serde::Serialize;

use super::{
    style,
    table::{self, WIDTH},
};
use crate::model::{Finding, Severity, disturbs, visible};

/// How a command ended; the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Success, and the node is healthy.
    Fine = 0,
    /// The command failed.
    Failed = 1,
    /// A required option is missing.
    Usage = 2,
    /// The command succeeded, and the node is degraded.
    Degraded = 3,
    /// The agent's configuration is invalid: EX_CONFIG of sysexits.h, which the unit names in
    /// RestartPreventExitStatus=.
    Invalid = 78,
}

impl Exit {
    /// How a command ended that has nothing to report but this.
    pub(super) fn unless(degraded: bool) -> Self {
        if degraded { Self::Degraded } else { Self::Fine }
    }

    /// This, or where it is success the other.
    pub(super) fn or(self, other: Self) -> Self {
        if self == Self::Fine { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Prints a text and a newline to standard output.
pub(super) fn print(text: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{}", style::finish(text)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| {
            let text = format!("cannot write to standard output: {error}");
            io::Error::new(error.kind(), text)
        }),
    }
}

/// Writes to standard error.
pub(super) fn write_error(text: &str) {
    let mut stderr = io::stderr().lock();
    // There is no other place to report it.
    stderr
        .write_all(visible(text).as_bytes())
        .unwrap_or_default();
}

/// A JSON text of which a terminal obeys nothing: serde_json leaves DEL and what is
/// beyond ASCII as it is.
pub(super) fn json_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if disturbs(character) && character != '\n' {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&json_text(&serde_json::to_string_pretty(value)?))?;
    Ok(())
}

/// Prints an error with its causes to standard error.
pub(super) fn print_error(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Many errors already contain the text of their cause.
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    let lines = text.lines().map(|line| format!("wslmesh: {line}\n"));
    write_error(&String::from_iter(lines));
}

/// A sentence wrapped for a terminal with a hanging indent; one line in a pipe.
pub(super) fn prose(sentence: &str) -> String {
    const MARGIN: &str = "  ";
    if !io::stdout().is_terminal() {
        return sentence.to_owned();
    }
    table::wrap(sentence, WIDTH - MARGIN.len()).join(&format!("\n{MARGIN}"))
}

/// Prints findings, the most severe first.
pub(super) fn findings(findings: &[Finding]) -> io::Result<Exit> {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    let severity = |finding: &Finding| finding.code.severity();
    sorted.sort_by_key(|one| (Reverse(severity(one)), one.code, &one.subject));
    for finding in &sorted {
        let severity = severity(finding);
        let text = prose(&format!("{severity}: {finding}"));
        print(&style::with_severity(&text, severity))?;
    }
    let first = sorted.first().copied().map(severity);
    Ok(Exit::unless(first > Some(Severity::Info)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_the_same_value() {
        let text = "a\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{feff}\n\t\u{e4}";
        let pretty = serde_json::to_string_pretty(&[text]).unwrap();
        let shown = json_text(&pretty);
        assert!(!shown.chars().any(|c| disturbs(c) && c != '\n'), "{shown}");
        assert!(shown.contains("\\u007f\\u009b31m\\u202e\\ufeff"), "{shown}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text]);
    }
}
