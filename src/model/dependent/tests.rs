use super::*;

#[test]
fn names_are_systemds() {
    let long = "a".repeat(248);
    let table = [
        ("nginx", Ok("nginx.service")),
        ("nginx.service", Ok("nginx.service")),
        ("wg-quick@wg0", Ok("wg-quick@wg0.service")),
        ("a.b", Ok("a.b.service")),
        ("mesh.target", Ok("mesh.target")),
        (
            "dev-disk-by\\x2dlabel-x.swap",
            Ok("dev-disk-by\\x2dlabel-x.swap"),
        ),
        ("a@b@c.timer", Ok("a@b@c.timer")),
        ("", Err("something before its suffix")),
        (".service", Err("something before its suffix")),
        ("@x.service", Err("before the @")),
        ("wg-quick@.service", Err("name the instance")),
        ("wg-quick@", Err("name the instance")),
        ("a b", Err("letters, digits")),
        ("a/b", Err("systemd-escape")),
        ("é", Err("letters, digits")),
        ("a;b", Err("letters, digits")),
        ("a\n", Err("letters, digits")),
        ("*", Err("letters, digits")),
        (long.as_str(), Err("255")),
    ];
    for (text, expected) in table {
        match (UnitName::parse(text), expected) {
            (Ok(name), Ok(expected)) => assert_eq!(name.as_str(), expected),
            (Err(why), Err(part)) => assert!(why.contains(part), "{text:?}: {why}"),
            (got, _) => panic!("{text:?}: {got:?}"),
        }
    }
    assert!(UnitName::parse(&"a".repeat(247)).is_ok());
}
