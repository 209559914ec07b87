use super::*;

fn query() -> Query {
    Query::root(0x776d, Kind::Ns)
}

/// An answer to it: flags, codes and counts of questions, then the rest.
fn message(flags: u8, code: u8, questions: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![0x77, 0x6d, flags, code, 0, questions, 0, 0, 0, 0, 0, 0];
    message.extend(rest);
    message
}

const ROOT: [u8; 5] = [0, 0, 2, 0, 1];

#[test]
fn a_query_is_well_formed() {
    assert_eq!(query().bytes().len(), 17);
    assert_eq!(query().framed()[..2], [0, 17]);
    assert_eq!(query().framed()[2..], *query().bytes());
}

#[test]
fn answers_and_what_is_none() {
    for (what, bytes, expected) in [
        ("plain", message(0x81, 0x80, 1, &ROOT), Some((0, false))),
        ("cut", message(0x83, 0x80, 1, &ROOT), Some((0, true))),
        ("NXDOMAIN", message(0x81, 0x83, 1, &ROOT), Some((3, false))),
        ("SERVFAIL", message(0x81, 0x82, 1, &ROOT), Some((2, false))),
        (
            "an error without the question",
            message(0x81, 0x85, 0, &[]),
            Some((5, false)),
        ),
        (
            "no error without the question",
            message(0x81, 0x80, 0, &[]),
            None,
        ),
        ("the query itself", query().bytes().to_vec(), None),
        (
            "another question",
            message(0x81, 0x80, 1, &[0, 0, 6, 0, 1]),
            None,
        ),
        (
            "two questions",
            message(0x81, 0x80, 2, &[ROOT, ROOT].concat()),
            None,
        ),
        ("half a question", message(0x81, 0x80, 1, &ROOT[..3]), None),
        (
            "another number",
            [&[1, 2], &message(0x81, 0x80, 1, &ROOT)[2..]].concat(),
            None,
        ),
        ("a notification", message(0xa1, 0x80, 1, &ROOT), None),
        (
            "half a head",
            message(0x81, 0x80, 1, &ROOT)[..7].to_vec(),
            None,
        ),
        ("nothing", Vec::new(), None),
    ] {
        assert_eq!(query().answered_by(&bytes), expected, "{what}");
    }
}

proptest::proptest! {
    /// Bytes at random never panic, and never pass for an answer with another number or
    /// without the mark of one.
    #[test]
    fn never_misjudges(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let ours = bytes.starts_with(&[0x77, 0x6d]) && bytes.get(2).is_some_and(|b| b & 0x80 != 0);
        let found = query().answered_by(&bytes);
        proptest::prop_assert!(ours || found.is_none());
    }

    /// What follows the question does not matter.
    #[test]
    fn takes_each_code(code in 0_u8..16, rest in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let bytes = message(0x81, 0x80 | code, 1, &[&ROOT[..], &rest].concat());
        proptest::prop_assert_eq!(query().answered_by(&bytes), Some((code, false)));
    }
}
