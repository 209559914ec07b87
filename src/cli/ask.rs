//! Asking the person at the terminal.

use std::io::{self, IsTerminal, Write};

use super::output::{Exit, print, print_error};

/// The answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// The person agrees, or said so beforehand with `--yes`.
    Yes,
    /// The person does not.
    No,
    /// There is no terminal.
    NoTerminal,
}

/// Asks a question that is answered with yes or no; an empty answer is no.
fn ask(question: &str, yes: bool) -> io::Result<Reply> {
    if yes {
        return Ok(Reply::Yes);
    }
    if !io::stdin().is_terminal() {
        return Ok(Reply::NoTerminal);
    }
    // Standard output may be kept in a file; the question is for the person.
    write!(io::stderr().lock(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(reply(&answer))
}

/// Asks whether to go on. Where the answer is no, or there is no terminal, that is
/// printed and the command ends with this status; `otherwise` is what to do without
/// a terminal.
pub(super) fn go_on(question: &str, yes: bool, otherwise: &str) -> anyhow::Result<Option<Exit>> {
    match ask(question, yes)? {
        Reply::Yes => Ok(None),
        Reply::No => {
            print("nothing was changed")?;
            Ok(Some(Exit::Failed))
        }
        Reply::NoTerminal => {
            print_error(&anyhow::anyhow!(
                "there is no terminal to ask at, and nothing was changed: {otherwise}"
            ));
            Ok(Some(Exit::Usage))
        }
    }
}

fn reply(answer: &str) -> Reply {
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Reply::Yes,
        _ => Reply::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for answer in ["y", "Y\n", " yes\r\n", "YES"] {
            assert_eq!(reply(answer), Reply::Yes, "{answer:?}");
        }
        for answer in ["", "\n", "n", "no", "yes please", "yy", "1"] {
            assert_eq!(reply(answer), Reply::No, "{answer:?}");
        }
    }
}
