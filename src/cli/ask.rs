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
    if !io::stdin().is_terminal() {
        print_error(&anyhow::anyhow!(
            "there is no terminal to ask at, and nothing was changed: {otherwise}"
        ));
        return Ok(Some(Exit::Usage));
    }
    // Standard output may be kept in a file; the question is for the person.
    write_error(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if is_yes(&answer) {
        return Ok(None);
    }
    print("nothing was changed")?;
    Ok(Some(Exit::Failed))
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
