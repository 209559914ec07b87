//! Colours on a terminal; plain text in a pipe or a file, with NO_COLOR set
//! (<https://no-color.org>) or on a terminal without colours.
//!
//! `format!` counts escape sequences as width: pad a text first, then style it.

use std::{
    env,
    ffi::OsStr,
    hash::{BuildHasher, RandomState},
    io::{self, IsTerminal},
    sync::LazyLock,
};

use crate::model::{Severity, visible};

/// Stands for the beginning of our own escape sequences until a text is printed. No
/// foreign text can have it: it is another one in each process.
static MARK: LazyLock<String> =
    LazyLock::new(|| format!("\x1b{:016x}[", RandomState::new().hash_one("style")));

/// The text as it goes to the terminal: with our own escape sequences and no others.
pub(super) fn finish(text: &str) -> String {
    let parts: Vec<String> = text.split(MARK.as_str()).map(visible).collect();
    parts.join("\x1b[")
}

/// Whether standard output shows colours.
static COLOURS: LazyLock<bool> = LazyLock::new(|| {
    let (no_color, term) = (env::var_os("NO_COLOR"), env::var_os("TERM"));
    has_colours(
        io::stdout().is_terminal(),
        no_color.as_deref(),
        term.as_deref(),
    )
});

/// A style as an SGR parameter (ECMA-48, 8.3.117) of terminals with 16 colours.
#[derive(Debug, Clone, Copy)]
enum Style {
    Heading = 1,
    Dim = 2,
    Bad = 31,
    Good = 32,
    Warn = 33,
}

/// The title of a block or of a table.
pub(super) fn heading(text: &str) -> String {
    styled(*COLOURS, Style::Heading, text)
}

/// Healthy or done.
pub(super) fn good(text: &str) -> String {
    styled(*COLOURS, Style::Good, text)
}

/// Needs attention.
pub(super) fn warn(text: &str) -> String {
    styled(*COLOURS, Style::Warn, text)
}

/// Failed.
pub(super) fn bad(text: &str) -> String {
    styled(*COLOURS, Style::Bad, text)
}

/// Secondary information.
pub(super) fn dim(text: &str) -> String {
    styled(*COLOURS, Style::Dim, text)
}

/// The name of a severity in its colour.
pub(super) fn severity(name: &str) -> String {
    match name {
        "error" => bad(name),
        "warning" => warn(name),
        _ => dim(name),
    }
}

/// A text that begins with its severity, which gets its colour.
pub(super) fn with_severity(text: &str, of: Severity) -> String {
    let name = of.to_string();
    text.replacen(&name, &severity(&name), 1)
}

/// An empty NO_COLOR counts as unset (no-color.org); without TERM there are no colours.
fn has_colours(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal
        && no_color.is_none_or(OsStr::is_empty)
        && term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Styles each line separately, so that a pager can start at any of them.
fn styled(colours: bool, style: Style, text: &str) -> String {
    if !colours {
        return text.to_owned();
    }
    let sgr = style as u8;
    let line = |line: &str| match line {
        "" => String::new(),
        line => format!("{0}{sgr}m{line}{0}0m", *MARK),
    };
    let lines: Vec<String> = text.split('\n').map(line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
