use super::*;

/// As `printf 'wslmesh event pass' | sha256sum` has it.
#[test]
fn ids_are_stable() {
    let table = [
        ("pass", None, "5ee8c9fbf4d92c8050ccf1b48e01a6dd"),
        (
            "health",
            Some("forward-taken"),
            "59702d1ecb91b1f137a328ae081ce066",
        ),
        (
            "reload",
            Some("config-rejected"),
            "fca726fb37f929968e6124c2b99a86f8",
        ),
        (
            "health-cleared",
            Some("forward-taken"),
            "fa9cf1e4b131787a0a7f79aea19a1988",
        ),
    ];
    for (event, health, id) in table {
        assert_eq!(message_id(event, health), id, "{event}");
    }
}
