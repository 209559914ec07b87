//! Text in columns.

/// Columns of a terminal that nobody widened.
pub(super) const WIDTH: usize = 80;

/// Breaks a text at spaces so that no line has more than `width` characters; a
/// longer word begins on a line of its own and is broken anywhere.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.extend(pieces(word, width)),
        }
    }
    lines
}

/// A word in pieces of at most `width` characters.
fn pieces(word: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let pieces = letters.chunks(width.max(1));
    pieces.map(|piece| piece.iter().collect()).collect()
}

/// Rows with their columns aligned, the first row a heading; numbers are not told
/// apart from words. Nothing where there are no rows but the heading.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths);
            let line: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            line.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// Joins parts with commas into lines of at most `width` characters; a longer part
/// is broken at its spaces.
pub(super) fn listed(parts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let last = place + 1 == parts.len();
        let part = format!("{part}{}", if last { "" } else { "," });
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + part.chars().count() <= width => {
                line.push(' ');
                line.push_str(&part);
            }
            Some(_) | None => lines.extend(wrap(&part, width)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_spaces() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(
            wrap("incomprehensible it is", 5),
            ["incom", "prehe", "nsibl", "e it", "is"]
        );
        assert_eq!(wrap("a äöü", 2), ["a", "äö", "ü"]);
        assert_eq!(wrap("ab", 0), ["a", "b"]);
        assert_eq!(wrap(" ", 5), [""; 0]);
    }

    #[test]
    fn parts_are_kept_together() {
        let parts = ["a b", "c d", "e f g h i", "j"].map(str::to_owned);
        assert_eq!(listed(&parts, 9), ["a b, c d,", "e f g h", "i, j"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [row(["A", "NAME", "X"]), row(["long", "b", ""])];
        assert_eq!(columns(&rows), ["A     NAME  X", "long  b"]);
    }
}
