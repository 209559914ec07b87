use super::*;

#[test]
fn four_states_are_good() {
    let table = [
        (State::Installed, Ending::Done),
        (State::Removed, Ending::Done),
        (State::Looked, Ending::Done),
        (State::Checked, Ending::Done),
        (State::NothingToDo, Ending::Nothing),
        (State::Declined, Ending::Unchanged),
        (State::Refused, Ending::Unchanged),
        (State::Forbidden, Ending::Unchanged),
        (State::Constrained, Ending::Unchanged),
        (State::NoDesktop, Ending::Unchanged),
        (State::Unfinished, Ending::Failed),
        (State::Busy, Ending::Unchanged),
        (State::VerificationFailed, Ending::Unchanged),
        (State::OtherUserVersion, Ending::Unchanged),
        (State::InvalidRequest, Ending::Unchanged),
        (State::Failed, Ending::Failed),
    ];
    for (state, expected) in table {
        let (ending, text) = words(state);
        assert_eq!(ending, expected, "{state:?}");
        let unchanged = text.contains("nothing was changed") || text.contains("not installed");
        assert_eq!(unchanged, expected == Ending::Unchanged, "{state:?}");
    }
}
