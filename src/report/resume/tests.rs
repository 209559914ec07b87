use std::time::Duration;

use super::*;
use crate::model::Resume;

fn recovery(
    sign: ResumeSign,
    times: u32,
    steps: Vec<(RecoveryStep, StepOutcome)>,
) -> RecoveryEntry {
    let recovery = Recovery {
        resume: Resume {
            sign,
            away: Duration::from_secs(8 * 3_600),
            awake_unix: 0,
        },
        times,
        steps,
        took: Duration::from_millis(1_940),
    };
    RecoveryEntry::of(&recovery, 7)
}

#[test]
fn stories() {
    use RecoveryStep::{Dns, Forwards, Link, Route, Time, Wireguard};
    use ResumeSign::{Clock, Handshakes};
    use StepOutcome::{Failed, Skipped, Untried, Well};
    let repaired = |text: &str| StepOutcome::Repaired(text.to_owned());
    let set = || (Time, repaired("the clock was 8 h behind and is right"));
    for (sign, times, steps, expected) in [
        (
            ResumeSign::Link,
            1,
            vec![(Time, Skipped), (Link, Well)],
            "back after 8 h without a network in 1.9 s: nothing was broken",
        ),
        (
            Clock,
            1,
            vec![set(), (Link, Well)],
            "back after 8 h asleep in 1.9 s: the clock was 8 h behind and is right, nothing else was broken",
        ),
        (
            Clock,
            1,
            vec![
                set(),
                (Dns, repaired("DNS answered after 0.6 s")),
                (Wireguard, repaired("2 of 2 peers have new handshakes")),
                (Forwards, repaired("forward web leads here again")),
            ],
            "back after 8 h asleep in 1.9 s: the clock was 8 h behind and is right, DNS answered after 0.6 s, 2 of 2 peers have new handshakes, forward web leads here again",
        ),
        (
            Clock,
            2,
            vec![set()],
            "back after 8 h asleep, 2 times in a row, in 1.9 s: the clock was 8 h behind and is right, nothing else was broken",
        ),
        (
            Handshakes,
            1,
            vec![
                (Link, Failed("eth0 has no carrier".to_owned())),
                (Route, Untried(Link)),
                (Wireguard, Untried(Route)),
            ],
            "back after 8 h without a handshake in 1.9 s: the interface failed (eth0 has no carrier), the route was left out (it needs the interface), WireGuard was left out (it needs the route)",
        ),
    ] {
        assert_eq!(recovery(sign, times, steps).summary, expected);
    }
}

#[test]
fn steps_are_named() {
    use RecoveryStep::{Dns, Link, Route, Time};
    let steps = vec![
        (Time, StepOutcome::Well),
        (Link, StepOutcome::Failed(String::new())),
        (Route, StepOutcome::Untried(Link)),
        (Dns, StepOutcome::Repaired(String::new())),
    ];
    let entry = recovery(ResumeSign::Clock, 1, steps);
    let json = serde_json::to_value(&entry).unwrap();
    for (key, value) in [
        ("broken", r#"["link","route","dns"]"#),
        ("repaired", r#"["dns"]"#),
        ("failed", r#"["link","route"]"#),
        ("sign", r#""clock""#),
        ("away-s", "28800"),
        ("duration-ms", "1940"),
        ("ended-unix", "7"),
    ] {
        assert_eq!(json[key].to_string(), value, "{key}");
    }
}
