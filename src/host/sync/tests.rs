use std::{io, net::Ipv4Addr, num::NonZeroU16};

use super::*;
use crate::model::{Firewall, ForwardBackend, Listen, Protocol, Rule, SyncMode};

fn wanted(by: &[ForwardBackend]) -> RuleSet {
    let rule = |backend| Rule {
        name: String::new(),
        listen: Listen {
            protocol: Protocol::Tcp,
            listen_address: Ipv4Addr::UNSPECIFIED.into(),
            listen_port: NonZeroU16::MIN,
        },
        connect_port: NonZeroU16::MIN,
        backend,
        firewall: Firewall::Local,
    };
    RuleSet {
        rules: by.iter().copied().map(rule).collect(),
        ..RuleSet::nothing(SyncMode::Nat)
    }
}

#[test]
fn a_call_that_was_never_started_has_made_no_rule() {
    use ForwardBackend::{Guest, Portproxy, Relay};
    let no_thread = BlockingError::NoThread(io::ErrorKind::WouldBlock.into());
    let table = [
        (BlockingError::Busy, Code::InteropTimeout, false),
        (no_thread, Code::InteropFailed, false),
        (BlockingError::TimedOut(LIMIT), Code::InteropTimeout, true),
        (BlockingError::Interrupted, Code::InteropFailed, true),
    ];
    for (error, code, started) in table {
        // A question alone makes none, nor do those of the relay.
        for (by, makes) in [
            (&[][..], false),
            (&[Relay], false),
            (&[Relay, Portproxy], true),
            (&[Guest], true),
        ] {
            let outcome = not_returned(wanted(by), &error, LIMIT);
            assert_eq!(
                outcome.findings.first().map(|f| f.code),
                Some(code),
                "{error}"
            );
            let expected = (started && makes).then_some(true);
            assert_eq!(outcome.rules_remain, expected, "{error} {by:?}");
            assert!(!outcome.settled && outcome.facts.is_none(), "{error}");
        }
    }
}
