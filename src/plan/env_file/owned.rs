//! Reads one line that assigns an owned key, strictly: the value must be one
//! literal that a shell and systemd read alike.

use super::cursor::Cursor;
use super::{Assignment, Fault, Key, Problem, Style};

/// The assignment that begins at `start` and the offset behind its line; None
/// if the line does not assign an owned key.
pub(super) fn line(text: &str, start: usize) -> Result<Option<(Assignment, usize)>, Fault> {
    let mut cursor = Cursor::new(text, start);
    cursor.skip_blanks();
    let start = cursor.at();
    let mut behind_export = cursor.clone();
    if behind_export.eat("export") && behind_export.skip_blanks() {
        cursor = behind_export;
    }
    let name = cursor.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
    let Some(key) = Key::from_name(name) else {
        return Ok(None);
    };
    if cursor.eat("+=") {
        return Err(Fault {
            at: start,
            problem: Problem::Append(key),
        });
    }
    if !cursor.eat("=") {
        return Ok(None);
    }

    // The line is ours from here on; every fault is reported at its beginning.
    let fault = |problem: fn(Key) -> Problem| Fault {
        at: start,
        problem: problem(key),
    };
    let value_start = cursor.at();
    let (style, value) = if cursor.eat("'") {
        (Style::Single, single_quoted(&mut cursor).map_err(fault)?)
    } else if cursor.eat("\"") {
        (Style::Double, double_quoted(&mut cursor).map_err(fault)?)
    } else {
        (Style::Bare, bare(&mut cursor).map_err(fault)?)
    };
    let span = value_start..cursor.at();
    rest_of_line(&mut cursor).map_err(fault)?;
    Ok(Some((
        Assignment {
            key,
            value,
            style,
            start,
            span,
        },
        cursor.at(),
    )))
}

/// Why a value is refused; the key is filled in by the caller.
type KeyProblem = fn(Key) -> Problem;

fn single_quoted(cursor: &mut Cursor<'_>) -> Result<String, KeyProblem> {
    let mut value = String::new();
    loop {
        match cursor.bump() {
            Some('\'') => return Ok(value),
            None | Some('\n' | '\r') => return Err(Problem::OpenQuote),
            Some(c) => push(&mut value, c)?,
        }
    }
}

fn double_quoted(cursor: &mut Cursor<'_>) -> Result<String, KeyProblem> {
    let mut value = String::new();
    loop {
        match cursor.bump() {
            Some('"') => return Ok(value),
            None | Some('\n' | '\r') => return Err(Problem::OpenQuote),
            Some('$' | '`') => return Err(Problem::Expansion),
            Some('\\') => match cursor.bump() {
                None => return Err(Problem::OpenQuote),
                Some('\n' | '\r') => return Err(Problem::Continuation),
                Some(c @ ('"' | '\\' | '$' | '`')) => value.push(c),
                // Before any other char the backslash is literal.
                Some(c) => {
                    value.push('\\');
                    push(&mut value, c)?;
                }
            },
            Some(c) => push(&mut value, c)?,
        }
    }
}

fn bare(cursor: &mut Cursor<'_>) -> Result<String, KeyProblem> {
    let mut value = String::new();
    loop {
        match cursor.peek() {
            None | Some(' ' | '\t' | '\n') => return Ok(value),
            Some('\r') if cursor.rest().starts_with("\r\n") => return Ok(value),
            Some(';' | '&' | '|' | '<' | '>' | '(' | ')') => return Err(Problem::Trailing),
            Some('\'' | '"') => return Err(Problem::Concatenated),
            // Not all of these expand in every assignment, but they do behind
            // `export` in some shells.
            Some('$' | '`' | '~' | '*' | '?' | '[' | '{') => return Err(Problem::Expansion),
            Some('\\') => {
                cursor.bump();
                match cursor.bump() {
                    None | Some('\n' | '\r') => return Err(Problem::Continuation),
                    Some(c) => push(&mut value, c)?,
                }
            }
            Some(c) => {
                cursor.bump();
                push(&mut value, c)?;
            }
        }
    }
}

fn push(value: &mut String, c: char) -> Result<(), KeyProblem> {
    if c.is_control() && c != '\t' {
        return Err(Problem::Control);
    }
    value.push(c);
    Ok(())
}

/// Takes what may follow a value: blanks, a comment, the newline.
fn rest_of_line(cursor: &mut Cursor<'_>) -> Result<(), KeyProblem> {
    let gap = cursor.skip_blanks();
    match cursor.peek() {
        None => Ok(()),
        Some('\n') => {
            cursor.bump();
            Ok(())
        }
        Some('\r') if cursor.eat("\r\n") => Ok(()),
        Some('#') if gap => {
            cursor.take_while(|c| c != '\n');
            cursor.bump();
            Ok(())
        }
        Some('\\') if cursor.eat("\\\n") || cursor.eat("\\\r\n") => Err(Problem::Continuation),
        Some(';' | '&' | '|' | '<' | '>' | '(' | ')') => Err(Problem::Trailing),
        Some(_) if gap => Err(Problem::Trailing),
        Some(_) => Err(Problem::Concatenated),
    }
}
