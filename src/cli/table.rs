//! Wrapped text and columns.

use textwrap::{Options, WordSplitter};

/// The default width of a terminal.
pub(super) const WIDTH: usize = 80;

/// A space at which a line is not broken.
const NO_BREAK: &str = "\u{a0}";

/// Wraps a text to lines of at most `width` characters; a longer word is broken.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    // A command is not cut at its hyphens: it is to be copied.
    let options = Options::new(width.max(1)).word_splitter(WordSplitter::NoHyphenation);
    textwrap::wrap(&words.join(" "), options)
        .into_iter()
        .map(|line| line.replace(NO_BREAK, " "))
        .filter(|line| !line.is_empty())
        .collect()
}

/// The width of each column.
pub(super) fn widths<const N: usize>(rows: &[[String; N]]) -> [usize; N] {
    std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    })
}

/// The cells of each row, padded to columns: the first, a name, is to the left, the
/// others also, or as figures to the right. A name of more than `longest` characters is
/// taken out, for a line of its own.
pub(super) fn columns<const N: usize>(
    mut rows: Vec<[String; N]>,
    longest: usize,
    figures: bool,
) -> Vec<(Option<String>, [String; N])> {
    let long = |row: &mut [String; N]| {
        let name = row.first_mut()?;
        (name.chars().count() > longest).then(|| std::mem::take(name))
    };
    let long: Vec<Option<String>> = rows.iter_mut().map(long).collect();
    let widths = widths(&rows);
    let padded = |mut row: [String; N]| {
        for (column, (cell, width)) in row.iter_mut().zip(widths).enumerate() {
            *cell = match figures && column > 0 {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            };
        }
        row
    };
    long.into_iter().zip(rows.into_iter().map(padded)).collect()
}

/// Lines of which the first comes after `head`, and the others are below it.
pub(super) fn hanging(head: &str, lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let (margin, mut head) = (head.chars().count(), head);
    let with_head = |line| format!("{:margin$}{line}", std::mem::take(&mut head));
    lines.into_iter().map(with_head).collect()
}

/// Joins parts with commas and wraps them; only a part longer than a line is broken.
pub(super) fn listed(parts: &[String], width: usize) -> Vec<String> {
    let parts: Vec<String> = parts
        .iter()
        .map(|part| match part.chars().count() {
            length if length < width => part.replace(' ', NO_BREAK),
            _ => part.clone(),
        })
        .collect();
    wrap(&parts.join(", "), width)
}

#[cfg(test)]
mod tests;
