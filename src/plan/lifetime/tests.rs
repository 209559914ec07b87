use super::*;

const FILE: &str = "C:\\Users\\ann\\.wslconfig";

fn facts(instance_ms: Option<i32>) -> IdleFacts {
    IdleFacts {
        timeouts: Ok(IdleTimeouts {
            file: FILE.to_owned(),
            instance_ms,
            ..IdleTimeouts::default()
        }),
        knows: Some(true),
        may_be_started: false,
        sessions: None,
    }
}

fn with(instance_ms: Option<i32>, change: impl FnOnce(&mut IdleFacts)) -> Idle {
    let mut facts = facts(instance_ms);
    change(&mut facts);
    idle(&facts)
}

fn file(facts: &mut IdleFacts) -> &mut IdleTimeouts {
    facts.timeouts.as_mut().unwrap()
}

#[test]
fn what_becomes_of_an_idle_distribution() {
    use IdleFate::{Kept, Stopped, Unknown};
    let table = [
        (with(None, |_| {}), Stopped, "stopped 15 s after"),
        (with(Some(60_000), |_| {}), Stopped, "stopped 60 s after"),
        (with(Some(0), |_| {}), Stopped, "stopped 0 s after"),
        (with(Some(-1), |_| {}), Kept, "keeps it running"),
        (with(Some(i32::MIN), |_| {}), Kept, "keeps it running"),
        // A WSL that does not know the key has the default.
        (
            with(Some(60_000), |f| f.knows = Some(false)),
            Stopped,
            "stopped 15 s after",
        ),
        (
            with(Some(-1), |f| f.knows = Some(false)),
            Stopped,
            "needs WSL 2.5.10",
        ),
        (
            with(Some(-1), |f| f.knows = None),
            Unknown,
            "version is unknown",
        ),
        (
            with(Some(60_000), |f| f.knows = None),
            Stopped,
            "60 s after its last terminal closes, services or not, or after 15 s where WSL",
        ),
        // The default is that of all versions.
        (with(None, |f| f.knows = None), Stopped, "services or not"),
        (
            with(Some(-1), |f| file(f).changed = true),
            Unknown,
            "instanceIdleTimeout=-1, and was changed after the virtual machine had started",
        ),
        (
            // It is stopped after the next start of WSL in any case.
            with(None, |f| file(f).changed = true),
            Stopped,
            "what holds until WSL is shut down is unknown",
        ),
        (
            with(None, |f| file(f).machine_ms = Some(-1)),
            Stopped,
            "vmIdleTimeout keeps the virtual machine, not the distribution",
        ),
        (
            with(Some(-1), |f| file(f).machine_ms = Some(60_000)),
            Kept,
            "keeps it running",
        ),
        (
            with(None, |f| f.may_be_started = true),
            Unknown,
            "unless it starts this distribution, this",
        ),
        (
            with(Some(-1), |f| f.may_be_started = true),
            Kept,
            "keeps it running",
        ),
        (
            with(None, |f| f.sessions = Some(2)),
            Stopped,
            "; Windows has 2 sessions in it now",
        ),
        (
            with(None, |f| f.timeouts = Err("no drive".into())),
            Unknown,
            "15 s after its last terminal closes, services or not, unless .wslconfig says otherwise (no drive)",
        ),
    ];
    for (idle, fate, text) in table {
        assert_eq!(idle.fate, fate, "{idle:?}");
        assert!(idle.detail.contains(text), "{idle:?}: {text}");
    }
    let idle = with(None, |f| f.sessions = Some(0));
    assert!(!idle.detail.contains("session"), "{idle:?}");
}

#[test]
fn the_fix_names_the_line_and_the_file() {
    let line = format!("instanceIdleTimeout=-1 into the section [general] of {FILE},");
    let fix = with(None, |_| {}).fix.unwrap();
    assert!(fix.contains(&line), "{fix}");
    assert!(
        fix.contains("`wslmesh wslconfig set general.instanceIdleTimeout -1`"),
        "{fix}"
    );
    let unread = with(None, |f| f.timeouts = Err("no drive".into()));
    assert!(unread.fix.unwrap().contains("%UserProfile%\\.wslconfig"));
    let set = with(Some(-1), |f| file(f).changed = true);
    assert_eq!(set.fix.unwrap(), "Run `wsl.exe --shutdown` on Windows");
    assert_eq!(with(Some(-1), |_| {}).fix, None);
}
