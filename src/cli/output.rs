//! Printing. A closed pipe ends the output, not the program.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::style;
use crate::{model::Finding, report::Severity};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// All is well.
    Fine,
    /// The command did not do its work.
    Failed,
    /// The command lacks an option without which it cannot work here.
    Usage,
    /// The command did its work, and the node is degraded.
    Degraded,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Degraded => 3,
        })
    }
}

/// Prints a text and a newline to standard output.
pub(super) fn print(text: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Prints an error with its causes to standard error.
pub(super) fn complain(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Many errors already say what their cause says.
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    let text = text
        .lines()
        .map(|line| format!("wslmesh: {line}\n"))
        .collect::<String>();
    // There is nobody left to tell.
    io::stderr()
        .lock()
        .write_all(text.as_bytes())
        .unwrap_or_default();
}

/// Prints findings, the worst first, and tells how the node is.
pub(super) fn findings(findings: &[Finding]) -> io::Result<Exit> {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| {
        (
            std::cmp::Reverse(finding.code.severity()),
            finding.code,
            finding.subject.clone(),
        )
    });
    for finding in &sorted {
        let severity = style::severity(&finding.code.severity().to_string());
        print(&format!("{severity}: {finding}"))?;
    }
    let degraded = sorted
        .iter()
        .any(|finding| finding.code.severity() > Severity::Info);
    Ok(if degraded { Exit::Degraded } else { Exit::Fine })
}
