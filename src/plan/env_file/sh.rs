//! Finds the end of a foreign line as a POSIX shell reads it.
//!
//! A line is one physical line, or more when a quote, a substitution or a
//! backslash carries it on. Nothing in it is changed; the one thing looked for
//! is an owned key assigned in the middle of it.

use super::cursor::Cursor;
use super::{Fault, Key, Problem};

/// What encloses the next char.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    /// `"..."`
    DoubleQuote,
    /// `$(...)`, and parentheses within it.
    Substitution,
    /// `` `...` ``
    Backtick,
    /// `${...}`, within double quotes or not.
    Parameter { quoted: bool },
}

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

/// The word being read, as far as it decides whether it is an assignment.
#[derive(Debug, Default)]
struct Word {
    start: Option<usize>,
    /// The literal chars in front of the first `=`.
    name: String,
    quoted: bool,
    assigned: bool,
}

impl Word {
    fn push(&mut self, at: usize, c: char) {
        self.start.get_or_insert(at);
        match c {
            _ if self.quoted || self.assigned => {}
            '=' => self.assigned = true,
            c => self.name.push(c),
        }
    }

    /// A quoted part: in front of the `=` it makes the word no assignment.
    fn quote(&mut self, at: usize) {
        self.start.get_or_insert(at);
        self.quoted = true;
    }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    /// What is open, and where it was opened.
    open: Vec<(Context, usize)>,
    word: Word,
    position: Position,
    /// The next char starts a word, so that `#` starts a comment.
    fresh: bool,
    /// The offset of the backslash, if one has just continued the line.
    continued: Option<usize>,
}

/// The offset behind the foreign line that begins at `start`.
pub(super) fn skip_line(text: &str, start: usize) -> Result<usize, Fault> {
    let mut reader = Reader {
        cursor: Cursor::new(text, start),
        open: Vec::new(),
        word: Word::default(),
        position: Position::Command,
        fresh: true,
        continued: None,
    };
    loop {
        let at = reader.cursor.at();
        let Some(c) = reader.cursor.bump() else {
            return reader.end_of_file();
        };
        if c == '\n' && reader.open.is_empty() {
            return reader.end_of_line();
        }
        match reader.context() {
            Some(Context::DoubleQuote | Context::Parameter { quoted: true }) => {
                reader.in_quotes(at, c)
            }
            None
            | Some(
                Context::Substitution | Context::Backtick | Context::Parameter { quoted: false },
            ) => {
                reader.in_plain(at, c)?;
            }
        }
    }
}

impl Reader<'_> {
    fn context(&self) -> Option<Context> {
        self.open.last().map(|(context, _)| *context)
    }

    fn end_of_file(self) -> Result<usize, Fault> {
        if let Some((_, at)) = self.open.last() {
            return Err(Fault {
                at: *at,
                problem: Problem::Unterminated,
            });
        }
        if let Some(at) = self.continued {
            return Err(Fault {
                at,
                problem: Problem::OpenEnd,
            });
        }
        self.end_of_line()
    }

    fn end_of_line(mut self) -> Result<usize, Fault> {
        self.end_word()?;
        Ok(self.cursor.at())
    }

    fn in_quotes(&mut self, at: usize, c: char) {
        let within_parameter = self.context() != Some(Context::DoubleQuote);
        self.fresh = false;
        match c {
            '\\' => {
                self.cursor.bump();
            }
            '"' if within_parameter => self.open.push((Context::DoubleQuote, at)),
            '"' => {
                self.open.pop();
            }
            '}' if within_parameter => {
                self.open.pop();
            }
            '`' => {
                self.open.push((Context::Backtick, at));
                self.fresh = true;
            }
            '$' => self.dollar(at, true),
            _ => {}
        }
    }

    fn in_plain(&mut self, at: usize, c: char) -> Result<(), Fault> {
        let context = self.context();
        let in_parameter = matches!(context, Some(Context::Parameter { .. }));
        let fresh = std::mem::replace(&mut self.fresh, false);
        self.continued = None;
        match c {
            '\\' => match self.cursor.bump() {
                None => {
                    return Err(Fault {
                        at,
                        problem: Problem::OpenEnd,
                    });
                }
                Some('\n') => {
                    self.continued = Some(at);
                    self.fresh = fresh;
                }
                Some(_) => self.quoted_part(at),
            },
            '\'' => {
                self.quoted_part(at);
                self.cursor.take_while(|c| c != '\'');
                if self.cursor.bump().is_none() {
                    return Err(Fault {
                        at,
                        problem: Problem::Unterminated,
                    });
                }
            }
            '"' => {
                self.quoted_part(at);
                self.open.push((Context::DoubleQuote, at));
            }
            '$' if self.cursor.peek() == Some('\'') => {
                return Err(Fault {
                    at,
                    problem: Problem::DollarQuote,
                });
            }
            '$' => {
                self.quoted_part(at);
                self.dollar(at, false);
            }
            '`' if context == Some(Context::Backtick) => {
                self.open.pop();
            }
            '`' => {
                self.quoted_part(at);
                self.open.push((Context::Backtick, at));
                self.fresh = true;
            }
            '}' if in_parameter => {
                self.open.pop();
            }
            ')' if context == Some(Context::Substitution) => {
                self.open.pop();
            }
            '(' if context == Some(Context::Substitution) => {
                self.open.push((Context::Substitution, at));
                self.fresh = true;
            }
            '<' if !in_parameter && self.cursor.peek() == Some('<') => {
                return Err(Fault {
                    at,
                    problem: Problem::HereDocument,
                });
            }
            '#' if fresh && !in_parameter => {
                let in_backtick = context == Some(Context::Backtick);
                self.cursor
                    .take_while(|c| c != '\n' && !(in_backtick && c == '`'));
                self.fresh = true;
            }
            ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => self.separator(c)?,
            c if self.open.is_empty() => self.word.push(at, c),
            _ => {}
        }
        Ok(())
    }

    fn quoted_part(&mut self, at: usize) {
        if self.open.is_empty() {
            self.word.quote(at);
        }
    }

    /// Opens what a `$` at `at` begins, if it begins something.
    fn dollar(&mut self, at: usize, quoted: bool) {
        if self.cursor.eat("(") {
            self.open.push((Context::Substitution, at));
            self.fresh = true;
        } else if self.cursor.eat("{") {
            self.open.push((Context::Parameter { quoted }, at));
        }
    }

    fn separator(&mut self, c: char) -> Result<(), Fault> {
        self.fresh = true;
        if !self.open.is_empty() {
            return Ok(());
        }
        self.end_word()?;
        if matches!(c, ';' | '&' | '|' | '(' | ')') {
            self.position = Position::Command;
        }
        Ok(())
    }

    fn end_word(&mut self) -> Result<(), Fault> {
        let word = std::mem::take(&mut self.word);
        let Some(at) = word.start else { return Ok(()) };
        if word.assigned {
            let key = Key::from_name(word.name.strip_suffix('+').unwrap_or(&word.name));
            if let Some(key) = key.filter(|_| self.position != Position::Argument) {
                return Err(Fault {
                    at,
                    problem: Problem::Inside(key),
                });
            }
        } else if self.position == Position::Command {
            self.position = behind(&word);
        }
        Ok(())
    }
}

/// What may follow a word that is no assignment, at a command's start.
fn behind(word: &Word) -> Position {
    match word.name.as_str() {
        _ if word.quoted => Position::Argument,
        "export" | "readonly" | "local" | "declare" | "typeset" => Position::Declaration,
        "{" | "!" | "if" | "then" | "elif" | "else" | "while" | "until" | "do" | "time"
        | "command" | "builtin" => Position::Command,
        _ => Position::Argument,
    }
}
