use std::collections::BTreeSet;

use super::*;

#[test]
fn names_are_unique_and_plain() {
    let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.len(), Code::ALL.len());
    for name in names {
        assert!(
            name.chars()
                .all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit()),
            "{name}"
        );
    }
}

#[test]
fn every_code_has_a_text_and_a_remediation() {
    for code in Code::ALL {
        assert!(code.text().ends_with('.'), "{code}: text is a sentence");
        assert!(
            !code.remediation().is_empty() && !code.remediation().ends_with('.'),
            "{code}: the remediation is shown with a full stop added"
        );
    }
}
