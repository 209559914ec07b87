use super::*;

#[test]
fn names_from_paths() {
    let table = [
        (r"\\wsl.localhost\Debian\", Some("Debian")),
        (r"\\wsl$\Ubuntu-24.04\", Some("Ubuntu-24.04")),
        (r"\\wsl.localhost\my_dev.2\", Some("my_dev.2")),
        (r"\\wsl.localhost\Debian", None),
        (r"\\wsl.localhost\\", None),
        (r"\\wsl.localhost\a b\", None),
        (r"\\wsl.localhost\a\b\", None),
        (r"\\wsl.localhost\--shutdown\", None),
        (r"\\wsl.localhost\..\", None),
        ("\\\\wsl.localhost\\a\"b\\", None),
        (r"\\wsl.localhost\D$(x)\", None),
        (r"\\server\Debian\", None),
        (r"C:\", None),
        ("", None),
    ];
    for (path, name) in table {
        let found = Distribution::from_root(path);
        assert_eq!(
            found.as_ref().ok().map(ToString::to_string).as_deref(),
            name,
            "{path}"
        );
    }
    let long = format!(r"\\wsl$\{}\", "a".repeat(65));
    assert!(Distribution::from_root(&long).is_err());
}
