//! WSL's networking mode: whether it is known, and the one that `.wslconfig` asks for.

use crate::model::{Code, Mode, ModeState, Observation, Plan};

pub(super) fn plan(seen: &Observation, plan: &mut Plan) {
    match (&seen.mode, seen.host.requested_mode) {
        (ModeState::Unknown(why), _) => plan.find(Code::ModeUnknown, "", why.as_str()),
        (ModeState::Known(mode), Some(requested)) if ![requested, Mode::NotWsl].contains(mode) => {
            let text = format!("{requested} is requested, {mode} is in force");
            plan.find(Code::ModeFallback, "", text);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::settings,
        plan::tests::machine::{self, Machine},
    };

    #[test]
    fn another_mode_than_the_requested_one_is_said() {
        use Mode::{Bridged, Consomme, Mirrored, Nat, NotWsl};
        let said = |mode, requested| {
            let machine = Machine::nat().mode(mode);
            let seen = machine
                .with(|seen| seen.host.requested_mode = requested)
                .seen();
            let plan = machine::planned(&settings(""), &seen, |_, seen, plan| {
                super::plan(seen, plan)
            });
            let said = plan.findings.into_iter();
            Vec::from_iter(said.map(|finding| finding.to_string()))
        };
        for (mode, requested, text) in [
            (Nat, Mirrored, "mirrored is requested, nat is in force"),
            (Consomme, Nat, "nat is requested, consomme is in force"),
        ] {
            let said = said(mode, Some(requested));
            assert!(said.len() == 1 && said[0].contains(text), "{said:?}");
        }
        for (mode, requested) in [(Nat, None), (Bridged, Some(Bridged)), (NotWsl, Some(Nat))] {
            assert!(said(mode, requested).is_empty(), "{mode} {requested:?}");
        }
    }
}
