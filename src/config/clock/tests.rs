use super::*;
use crate::config::{Settings, Source, settings};

#[test]
fn clock_is_set_only_where_that_is_written() {
    assert_eq!(settings("").clock, Clock::default());
    let never = settings("[clock]\nstep-above = \"never\"").clock;
    assert_eq!(never, Clock::default());
    for (text, seconds) in [("5s", 5), ("5000ms", 5), ("60s", 60), ("86400s", 86_400)] {
        let shown = settings(&format!(
            "[clock]\nstep-above = \"{text}\"\nstep-back = true"
        ));
        let above = StepAbove(Some(Duration::from_secs(seconds)));
        let clock = Clock {
            step_above: above,
            step_back: true,
        };
        assert_eq!(shown.clock, clock);
        // What is shown is read back.
        assert_eq!(settings(&shown.to_string()).clock, clock);
    }
}

#[test]
fn errors_have_place_and_fix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    for (line, error) in [
        (
            "step-above = \"4s\"",
            "w.toml:2:14: clock.step-above: \"4s\" is no distance from which on the clock is set: write \"never\", or \"5s\" to \"86400s\" such as \"60s\"",
        ),
        ("step-above = \"86401s\"", "\"86401s\" is no distance"),
        ("step-above = \"99999999999999999999s\"", "is no distance"),
        ("step-above = \"-60s\"", "\"-60s\" is no distance"),
        ("step-above = \"5 s\"", "\"5 s\" is no distance"),
        ("step-above = \"\"", "\"\" is no distance"),
        (
            "step-above = 60",
            "w.toml:2:14: clock.step-above: invalid type: integer `60`",
        ),
        (
            "step-back = \"yes\"",
            "w.toml:2:13: clock.step-back: invalid type: string \"yes\"",
        ),
        (
            "step = \"60s\"",
            "w.toml:2:1: unknown key `step` in [clock]",
        ),
    ] {
        std::fs::write(&path, format!("[clock]\n{line}\n")).unwrap();
        let refused = Settings::load(&Source::File(path.clone())).unwrap_err();
        assert!(refused.to_string().contains(error), "{line}: {refused}");
    }
}
