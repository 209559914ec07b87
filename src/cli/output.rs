//! Printing. A closed pipe ends the output, not the program, and is no failure of
//! the command: `wslmesh status | head -n 1` is an ordinary thing to write. Any
//! other trouble with the output is one: what was asked for is not there.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use super::{
    style,
    table::{self, WIDTH},
};
use crate::model::{Finding, Severity};

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
        done => done.map_err(|error| {
            let text = format!("cannot write to standard output: {error}");
            io::Error::new(error.kind(), text)
        }),
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

/// A sentence in lines that fit a terminal, the further ones indented; one line
/// for whoever searches through a pipe.
pub(super) fn prose(sentence: &str) -> String {
    const MARGIN: &str = "  ";
    if !io::stdout().is_terminal() {
        return sentence.to_owned();
    }
    table::wrap(sentence, WIDTH - MARGIN.len()).join(&format!("\n{MARGIN}"))
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
        let severity = finding.code.severity().to_string();
        let text = prose(&format!("{severity}: {finding}"));
        print(&text.replacen(&severity, &style::severity(&severity), 1))?;
    }
    let degraded = sorted
        .iter()
        .any(|finding| finding.code.severity() > Severity::Info);
    Ok(if degraded { Exit::Degraded } else { Exit::Fine })
}
