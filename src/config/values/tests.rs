use super::*;

#[test]
fn durations() {
    let table = [
        ("50ms", Some(50)),
        ("1s", Some(1000)),
        ("0ms", Some(0)),
        ("10", None),
        ("s", None),
        ("-1s", None),
        ("1.5s", None),
        ("1m", None),
        ("", None),
    ];
    for (text, millis) in table {
        assert_eq!(
            duration(text),
            millis.map(Duration::from_millis),
            "{text:?}"
        );
    }
}
