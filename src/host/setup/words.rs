//! How each end of a call is shown to a person, with the fix.

use super::contract::{Answer, State};

/// Whether a call did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything is as asked.
    Done,
    /// There was nothing to do.
    Nothing,
    /// Nothing was changed.
    Unchanged,
    /// Something may have been changed.
    Failed,
}

/// What an answer means, in a sentence or more.
#[must_use]
pub fn ending(answer: &Answer) -> (Ending, String) {
    let (ending, text) = words(answer.state);
    let detail = answer.detail.as_deref().unwrap_or_default();
    let text = if detail.is_empty() {
        text.to_owned()
    } else {
        format!("{text}\nWindows says: {detail}")
    };
    (ending, text)
}

fn words(state: State) -> (Ending, &'static str) {
    match state {
        State::Installed => (Ending::Done, "installed on Windows"),
        State::Removed => (Ending::Done, "removed from Windows"),
        State::Looked | State::Checked => (Ending::Done, "Windows was examined"),
        State::NothingToDo => (Ending::Nothing, "nothing to do on Windows"),
        State::Declined => (
            Ending::Unchanged,
            "Windows' prompt was declined, or not answered within two minutes: nothing was changed. Run this again and choose Yes at the Windows desktop; a standard account needs an administrator's password there.",
        ),
        State::Refused => (
            Ending::Unchanged,
            "the elevated window was closed or answered with something else than yes: nothing was changed. Run this again and type yes there if you agree.",
        ),
        State::Unfinished => (
            Ending::Failed,
            "the elevated window is still open or at work. Look again with `wslmesh host check` in a minute; if something is missing then, run this again.",
        ),
        State::Busy => (
            Ending::Unchanged,
            "another install or uninstall of this Windows user is waiting for an answer: nothing was changed. Answer it at the Windows desktop, or close its window, then run this again.",
        ),
        State::Forbidden => (
            Ending::Unchanged,
            "a policy of this Windows machine forbids it: nothing was changed. Group policy, AppLocker and Smart App Control can; the machine's administrator can allow it. Without it TCP forwards work where WSL was started by an elevated program (any distribution).",
        ),
        State::Constrained => (
            Ending::Unchanged,
            "PowerShell is restricted on this Windows machine (constrained language mode, or signed scripts only): nothing was changed. The machine's administrator can allow it for this user.",
        ),
        State::NoDesktop => (
            Ending::Unchanged,
            "no user is logged on at the Windows desktop, where the prompt would appear: nothing was changed. Log on there and run this again.",
        ),
        State::VerificationFailed => (
            Ending::Unchanged,
            "a file was changed on its way to Windows, so it was not installed. Run this again; if it happens again, look for a program on Windows that changes files below %LOCALAPPDATA%\\wslmesh.",
        ),
        State::OtherUserVersion => (
            Ending::Unchanged,
            "another Windows user of this machine has installed another version of wslmesh, and the files are shared: nothing was changed. Bring both distributions to one version of the package, then run this again.",
        ),
        State::InvalidRequest => (
            Ending::Unchanged,
            "the script on Windows refused the request: nothing was changed. This is an error in wslmesh; please report it with `wslmesh host check --report FILE`.",
        ),
        State::Failed => (
            Ending::Failed,
            "something went wrong on Windows. `wslmesh host check` shows what is installed; correct it and run this again.",
        ),
    }
}

#[cfg(test)]
mod tests;
