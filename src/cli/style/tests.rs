use super::*;

#[test]
fn colours_need_a_terminal_and_no_no_color() {
    let table = [
        (true, None, Some("xterm-256color"), true),
        (true, Some(""), Some("linux"), true),
        (false, None, Some("xterm"), false),
        (true, Some("1"), Some("xterm"), false),
        (true, Some("0"), Some("xterm"), false),
        (true, None, Some("dumb"), false),
        (true, None, Some(""), false),
        (true, None, None, false),
    ];
    for (terminal, no_color, term, expected) in table {
        assert_eq!(
            has_colours(terminal, no_color.map(OsStr::new), term.map(OsStr::new)),
            expected,
            "terminal {terminal}, NO_COLOR {no_color:?}, TERM {term:?}"
        );
    }
}

#[test]
fn each_line_is_styled_separately() {
    let styled = |colours, style, text| finish(&styled(colours, style, text));
    let text = "\none\ntwo";
    assert_eq!(styled(false, Style::Bad, text), text);
    assert_eq!(
        styled(true, Style::Bad, text),
        "\n\x1b[31mone\x1b[0m\n\x1b[31mtwo\x1b[0m"
    );
    assert_eq!(styled(true, Style::Heading, "x"), "\x1b[1mx\x1b[0m");
    assert_eq!(styled(true, Style::Good, ""), "");
}

#[test]
fn only_our_own_escapes_are_printed() {
    let foreign = "a\x1b[31mb\x1b]0;title\x07\u{9b}2Jc\rd\u{202e}e\u{7f}\tf";
    let shown = "a\\u{1b}[31mb\\u{1b}]0;title\\u{7}\\u{9b}2Jc\\u{d}d\\u{202e}e\\u{7f}\tf";
    assert_eq!(finish(foreign), shown);
    let text = styled(true, Style::Bad, foreign);
    assert_eq!(finish(&text), format!("\x1b[31m{shown}\x1b[0m"));
}
