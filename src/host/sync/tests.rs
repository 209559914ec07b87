use std::io;

use super::*;
use crate::model::SyncMode;

#[test]
fn a_call_that_was_never_started_has_made_no_rule() {
    let no_thread = BlockingError::NoThread(io::ErrorKind::WouldBlock.into());
    let table = [
        (BlockingError::Busy, Code::InteropTimeout, None),
        (no_thread, Code::InteropFailed, None),
        (
            BlockingError::TimedOut(LIMIT),
            Code::InteropTimeout,
            Some(true),
        ),
        (BlockingError::Interrupted, Code::InteropFailed, Some(true)),
    ];
    for (error, code, rules_remain) in table {
        let wanted = RuleSet::nothing(SyncMode::Nat);
        let outcome = not_returned(wanted, &error, LIMIT);
        assert_eq!(
            outcome.findings.first().map(|f| f.code),
            Some(code),
            "{error}"
        );
        assert_eq!(outcome.rules_remain, rules_remain, "{error}");
        assert!(!outcome.settled && outcome.facts.is_none(), "{error}");
    }
}
