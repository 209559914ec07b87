use super::{super::machine::rule, *};

#[test]
fn a_loop_of_rules_that_never_meets_the_first_ends() {
    let rules = vec![
        rule(("0.0.0.0", 2222), ("127.0.0.1", 1), true),
        rule(("0.0.0.0", 1), ("127.0.0.1", 2), false),
        rule(("0.0.0.0", 2), ("127.0.0.1", 1), false),
    ];
    let windows = WindowsPort {
        rules: Some(rules),
        ..WindowsPort::default()
    };
    assert_eq!(leads_back(&windows, 2222), None);
}
