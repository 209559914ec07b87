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
    let rows = vec![row(["A", "NAME", "X"]), row(["long", "b", ""])];
    let lines = |longest: usize, figures: bool| {
        let rows = columns(rows.clone(), longest, figures).into_iter();
        let lines = rows.map(|(long, cells)| (long, cells.join("  ").trim_end().to_owned()));
        Vec::from_iter(lines)
    };
    let short = |line: &str| (None, line.to_owned());
    assert_eq!(lines(4, false), ["A     NAME  X", "long  b"].map(short));
    assert_eq!(lines(4, true), ["A     NAME  X", "long     b"].map(short));
    let long = (Some("long".to_owned()), "   b".to_owned());
    assert_eq!(lines(3, false), [short("A  NAME  X"), long]);
}

#[test]
fn lines_hang_below_a_head() {
    let lines = ["x", "y"].map(str::to_owned);
    assert_eq!(hanging("ä: ", lines), ["ä: x", "   y"]);
    assert_eq!(hanging("a: ", Vec::new()), [""; 0]);
}
