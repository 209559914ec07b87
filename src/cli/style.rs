//! Emphasis on a terminal, plain text everywhere else: in a pipe or a file, with
//! NO_COLOR set (<https://no-color.org>), on a terminal that knows no colours.
//!
//! The escape sequences have no width, and `format!` does not know that: pad a
//! text to its column first, then style it.

use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal},
    sync::LazyLock,
};

/// Whether standard output is for somebody who sees colours. It does not change
/// while a command runs.
static COLOURS: LazyLock<bool> = LazyLock::new(|| {
    let (no_color, term) = (env::var_os("NO_COLOR"), env::var_os("TERM"));
    wanted(
        io::stdout().is_terminal(),
        no_color.as_deref(),
        term.as_deref(),
    )
});

/// What a text means to the reader, as an SGR parameter (ECMA-48, 8.3.117) that
/// each terminal with 16 colours has.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    Heading = 1,
    Dim = 2,
    Bad = 31,
    Good = 32,
    Warn = 33,
}

/// The title of a block or of a table.
pub(super) fn heading(text: &str) -> String {
    styled(*COLOURS, Meaning::Heading, text)
}

/// As it should be.
pub(super) fn good(text: &str) -> String {
    styled(*COLOURS, Meaning::Good, text)
}

/// Wants attention.
pub(super) fn warn(text: &str) -> String {
    styled(*COLOURS, Meaning::Warn, text)
}

/// Does not work.
pub(super) fn bad(text: &str) -> String {
    styled(*COLOURS, Meaning::Bad, text)
}

/// Good to know, and not what the reader looks for first.
pub(super) fn dim(text: &str) -> String {
    styled(*COLOURS, Meaning::Dim, text)
}

/// The name of a severity, as a status document has it, in its colour.
pub(super) fn severity(name: &str) -> String {
    match name {
        "error" => bad(name),
        "warning" => warn(name),
        _ => dim(name),
    }
}

/// An empty NO_COLOR counts as none, as its authors want it. A terminal without a
/// name is taken for one that can do nothing.
fn wanted(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal
        && no_color.is_none_or(OsStr::is_empty)
        && term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Each line by itself, so that a pager may show any of them first.
fn styled(colours: bool, meaning: Meaning, text: &str) -> String {
    if !colours {
        return text.to_owned();
    }
    let sgr = meaning as u8;
    let line = |line: &str| match line {
        "" => String::new(),
        line => format!("\x1b[{sgr}m{line}\x1b[0m"),
    };
    let lines: Vec<String> = text.split('\n').map(line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_a_terminal_that_has_them_and_a_person_who_wants_them() {
        let table = [
            (true, None, Some("xterm-256color"), true),
            (true, Some(""), Some("linux"), true),
            (false, None, Some("xterm"), false),
            (true, Some("1"), Some("xterm"), false),
            (true, Some("0"), Some("xterm"), false),
            (true, None, Some("dumb"), false),
            (true, None, Some(""), false),
            (true, None, None, false),
        ];
        for (terminal, no_color, term, expected) in table {
            assert_eq!(
                wanted(terminal, no_color.map(OsStr::new), term.map(OsStr::new)),
                expected,
                "terminal {terminal}, NO_COLOR {no_color:?}, TERM {term:?}"
            );
        }
    }

    #[test]
    fn each_line_is_styled_by_itself_or_not_at_all() {
        let text = "\none\ntwo";
        assert_eq!(styled(false, Meaning::Bad, text), text);
        assert_eq!(
            styled(true, Meaning::Bad, text),
            "\n\x1b[31mone\x1b[0m\n\x1b[31mtwo\x1b[0m"
        );
        assert_eq!(styled(true, Meaning::Heading, "x"), "\x1b[1mx\x1b[0m");
        assert_eq!(styled(true, Meaning::Good, ""), "");
    }
}
