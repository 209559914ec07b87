//! Wrapped text and columns.

/// The default width of a terminal.
pub(super) const WIDTH: usize = 80;

/// A space at which a line is not broken.
const NO_BREAK: &str = "\u{a0}";

/// Wraps a text to lines of at most `width` characters; a longer word is broken.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    textwrap::wrap(&words.join(" "), width.max(1))
        .into_iter()
        .map(|line| line.replace(NO_BREAK, " "))
        .filter(|line| !line.is_empty())
        .collect()
}

/// Rows with aligned columns; the first row is the heading.
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
