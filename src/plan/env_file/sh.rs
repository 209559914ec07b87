//! Finds the end of a foreign line as a POSIX shell reads it.
//!
//! A line is one physical line, or more when a quote, a substitution or a
//! backslash carries it on. Nothing in it is changed; the one thing looked for
//! is an owned key assigned in the middle of it.

use super::cursor::Cursor;
use super::{Fault, Key, Problem};

/// What quotes a part of a word, and never is a literal part of one.
const QUOTES: [char; 5] = ['\\', '\'', '"', '`', '$'];

/// What the next word of the command may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// An assignment or the command's name.
    Command,
    /// An argument of a command that assigns, such as `export`.
    Declaration,
    /// An argument.
    Argument,
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    /// What closes each thing that is open, and where it was opened: `"` a quote,
    /// `` ` `` or `)` a substitution or parentheses within it, `}` a parameter.
    open: Vec<(char, usize)>,
    /// The literal chars of the word being read; a quoted part is its quote alone.
    word: String,
    word_start: usize,
    position: Position,
    /// The next char starts a word, so that `#` starts a comment.
    fresh: bool,
}

/// The offset behind the foreign line that begins at `start`.
pub(super) fn skip_line(text: &str, start: usize) -> Result<usize, Fault> {
    let mut reader = Reader {
        cursor: Cursor::new(text, start),
        open: Vec::new(),
        word: String::new(),
        word_start: start,
        position: Position::Command,
        fresh: true,
    };
    loop {
        let at = reader.cursor.at();
        match (reader.cursor.bump(), reader.open.last()) {
            (None, Some((_, opened))) => return Err(Problem::Unterminated.at(*opened)),
            // Only a backslash keeps the last newline from ending the line.
            (None, None) if text.ends_with('\n') => return Err(Problem::OpenEnd.at(at - 1)),
            (None | Some('\n'), None) => break,
            (Some(c), _) => reader.take(at, c)?,
        }
    }
    reader.end_word()?;
    Ok(reader.cursor.at())
}

impl Reader<'_> {
    fn take(&mut self, at: usize, c: char) -> Result<(), Fault> {
        let closer = self.open.last().map(|(closer, _)| *closer);
        let in_parameter = closer == Some('}');
        // A parameter within double quotes is read as they are.
        let mut around = self.open.iter().rev().map(|(closer, _)| *closer);
        let in_quotes = around.find(|closer| *closer != '}') == Some('"');
        let fresh = std::mem::replace(&mut self.fresh, false);
        match c {
            _ if closer == Some(c) => drop(self.open.pop()),
            '\\' => match self.cursor.bump() {
                _ if in_quotes => {}
                None => return Err(Problem::OpenEnd.at(at)),
                Some('\n') => self.fresh = fresh,
                Some(_) => self.push(at, c),
            },
            '"' | '`' => self.open(at, c, c),
            '$' if !in_quotes && self.cursor.peek() == Some('\'') => {
                return Err(Problem::DollarQuote.at(at));
            }
            '$' if self.cursor.eat("(") => self.open(at, c, ')'),
            '$' if self.cursor.eat("{") => self.open(at, c, '}'),
            '$' => self.push(at, c),
            _ if in_quotes => {}
            '\'' => {
                self.push(at, c);
                self.cursor.take_while(|c| c != '\'');
                if self.cursor.bump().is_none() {
                    return Err(Problem::Unterminated.at(at));
                }
            }
            '(' if closer == Some(')') => self.open(at, c, ')'),
            '<' if !in_parameter && self.cursor.peek() == Some('<') => {
                return Err(Problem::HereDocument.at(at));
            }
            '#' if fresh && !in_parameter => {
                let in_backtick = closer == Some('`');
                self.cursor
                    .take_while(|c| c != '\n' && !(in_backtick && c == '`'));
                self.fresh = true;
            }
            ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => {
                self.fresh = true;
                if self.open.is_empty() {
                    self.end_word()?;
                    if matches!(c, ';' | '&' | '|' | '(' | ')') {
                        self.position = Position::Command;
                    }
                }
            }
            _ => self.push(at, c),
        }
        Ok(())
    }

    /// Adds a literal char to the word, or the quote of a quoted part.
    fn push(&mut self, at: usize, c: char) {
        if self.open.is_empty() {
            if self.word.is_empty() {
                self.word_start = at;
            }
            self.word.push(c);
        }
    }

    /// Opens what `c` begins. A substitution begins with a new word.
    fn open(&mut self, at: usize, c: char, closer: char) {
        self.push(at, c);
        self.open.push((closer, at));
        self.fresh = matches!(closer, '`' | ')');
    }

    fn end_word(&mut self) -> Result<(), Fault> {
        let word = std::mem::take(&mut self.word);
        match word.split_once('=') {
            Some((name, _)) if !name.contains(QUOTES) => {
                let key = Key::from_name(name.strip_suffix('+').unwrap_or(name));
                if let Some(key) = key.filter(|_| self.position != Position::Argument) {
                    return Err(Problem::Inside(key).at(self.word_start));
                }
            }
            _ if word.is_empty() || self.position != Position::Command => {}
            _ => self.position = behind(&word),
        }
        Ok(())
    }
}

/// What may follow a word that is no assignment, at a command's start.
fn behind(word: &str) -> Position {
    match word {
        "export" | "readonly" | "local" | "declare" | "typeset" => Position::Declaration,
        "{" | "!" | "if" | "then" | "elif" | "else" | "while" | "until" | "do" | "time"
        | "command" | "builtin" => Position::Command,
        _ => Position::Argument,
    }
}
