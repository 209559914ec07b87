//! Asking the person at the terminal.

use std::io::{self, IsTerminal};

use super::output::{Exit, print, print_error, write_error};

/// Asks whether to go on, unless the person said so beforehand (`yes`); an empty answer
/// is no. Where the answer is no, or there is no terminal, that is printed and the
/// command ends with this status; `otherwise` is what to do without a terminal.
pub(super) fn go_on(question: &str, yes: bool, otherwise: &str) -> anyhow::Result<Option<Exit>> {
    if yes {
        return Ok(None);
    }
    if !has_terminal() {
        print_error(&anyhow::anyhow!(
            "there is no terminal to ask at, and nothing was changed: {otherwise}"
        ));
        return Ok(Some(Exit::Usage));
    }
    if confirm(question)? {
        return Ok(None);
    }
    print("nothing was changed")?;
    Ok(Some(Exit::Failed))
}

/// Whether the person says yes; the end of the input is no.
pub(super) fn confirm(question: &str) -> anyhow::Result<bool> {
    Ok(line(&format!("{question} [y/N] "))?.is_some_and(|answer| is_yes(&answer)))
}

/// What the person answers, as `parse` reads it: an empty answer is `default`, and
/// after one that is wrong the question comes again. `None` at the end of the input.
pub(super) fn answer<T>(
    question: &str,
    default: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> anyhow::Result<Option<T>> {
    while let Some(text) = line(&format!("{question} [{default}] "))? {
        let text = match text.trim() {
            "" => default,
            text => text,
        };
        match parse(text) {
            Ok(answer) => return Ok(Some(answer)),
            Err(why) => print_error(&anyhow::anyhow!(why)),
        }
    }
    Ok(None)
}

/// Whether there is a person to ask.
pub(super) fn has_terminal() -> bool {
    io::stdin().is_terminal()
}

/// The line after a question; `None` at the end of the input.
fn line(question: &str) -> anyhow::Result<Option<String>> {
    // Standard output may be kept in a file; the question is for the person.
    write_error(question);
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer)?;
    Ok((read > 0).then_some(answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for answer in ["y", "Y\n", " yes\r\n", "YES"] {
            assert!(is_yes(answer), "{answer:?}");
        }
        for answer in ["", "\n", "n", "no", "yes please", "yy", "1"] {
            assert!(!is_yes(answer), "{answer:?}");
        }
    }
}
