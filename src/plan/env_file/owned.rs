//! Reads one line that assigns an owned key, strictly: the value must be one
//! literal that a shell and systemd read alike.

use super::cursor::Cursor;
use super::{Assignment, BLANKS, Fault, Key, Problem, exported};

/// What ends a command or redirects it.
const OPERATORS: [char; 7] = [';', '&', '|', '<', '>', '(', ')'];

/// The assignment that begins at `start` and the offset behind its line; None
/// if the line does not assign an owned key.
pub(super) fn line(text: &str, start: usize) -> Result<Option<(Assignment, usize)>, Fault> {
    let line = text.get(start..).unwrap_or_default();
    let line = line.trim_start_matches(BLANKS);
    let start = text.len() - line.len();
    let mut cursor = Cursor::new(text, text.len() - exported(line).len());
    let name = cursor.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
    let Some(key) = Key::from_name(name) else {
        return Ok(None);
    };
    if cursor.eat("+=") {
        return Err(Problem::Append(key).at(start));
    }
    if !cursor.eat("=") {
        return Ok(None);
    }

    // The line is ours from here on; every fault is reported at its beginning.
    let fault = |problem: KeyProblem| problem(key).at(start);
    let value_start = cursor.at();
    let mut quotes = ["'", "\""].into_iter();
    let quote = quotes.find(|quote| cursor.eat(quote)).unwrap_or_default();
    let value = value(&mut cursor, quote).map_err(fault)?;
    let span = value_start..cursor.at();
    rest_of_line(&mut cursor).map_err(fault)?;
    let assignment = Assignment {
        key,
        value,
        quote,
        start,
        span,
    };
    Ok(Some((assignment, cursor.at())))
}

/// Why a value is refused; the key is filled in by the caller.
type KeyProblem = fn(Key) -> Problem;

/// Takes a value through its closing quote, or up to what ends a bare one.
fn value(cursor: &mut Cursor<'_>, quote: &str) -> Result<String, KeyProblem> {
    let (bare, literal) = (quote.is_empty(), quote == "'");
    let mut value = String::new();
    loop {
        let ends = if bare {
            let rest = cursor.rest();
            rest.starts_with([' ', '\t', '\n']) || rest.starts_with("\r\n")
        } else {
            cursor.eat(quote)
        };
        if ends {
            return Ok(value);
        }
        let c = match cursor.bump() {
            None if bare => return Ok(value),
            None => return Err(Problem::OpenQuote),
            Some('\n' | '\r') if !bare => return Err(Problem::OpenQuote),
            Some('\\') if !literal => match cursor.bump() {
                None if !bare => return Err(Problem::OpenQuote),
                None | Some('\n' | '\r') => return Err(Problem::Continuation),
                Some(c) => {
                    // In double quotes a backslash before any other char is literal.
                    if !bare && !matches!(c, '"' | '\\' | '$' | '`') {
                        value.push('\\');
                    }
                    c
                }
            },
            Some('$' | '`') if !literal => return Err(Problem::Expansion),
            // Not all of these expand in every assignment, but they do behind
            // `export` in some shells.
            Some('~' | '*' | '?' | '[' | '{') if bare => return Err(Problem::Expansion),
            Some('\'' | '"') if bare => return Err(Problem::Concatenated),
            Some(c) if bare && OPERATORS.contains(&c) => return Err(Problem::Trailing),
            Some(c) => c,
        };
        if c.is_control() && c != '\t' {
            return Err(Problem::Control);
        }
        value.push(c);
    }
}

/// Takes what may follow a value: blanks, a comment, the newline.
fn rest_of_line(cursor: &mut Cursor<'_>) -> Result<(), KeyProblem> {
    let gap = !cursor.take_while(|c| BLANKS.contains(&c)).is_empty();
    if gap && cursor.peek() == Some('#') {
        cursor.take_while(|c| c != '\n');
    }
    match cursor.peek() {
        _ if cursor.eat("\n") || cursor.eat("\r\n") => Ok(()),
        None => Ok(()),
        Some('\\') if cursor.eat("\\\n") || cursor.eat("\\\r\n") => Err(Problem::Continuation),
        Some(c) if gap || OPERATORS.contains(&c) => Err(Problem::Trailing),
        Some(_) => Err(Problem::Concatenated),
    }
}
