use super::*;

#[test]
fn only_a_call_that_ran_may_have_worked() {
    let call = |error| SyncError::Interop(InteropError::Call(error));
    let table = [
        (
            call(ChildError::Timeout(Duration::from_secs(15))),
            Code::InteropTimeout,
            true,
        ),
        (call(ChildError::TooMuch), Code::InteropOutput, true),
        (
            call(ChildError::Start(io::ErrorKind::NotFound.into())),
            Code::InteropFailed,
            false,
        ),
        (
            SyncError::Interop(InteropError::NoSocket),
            Code::InteropMissing,
            false,
        ),
    ];
    for (error, expected, worked) in table {
        assert_eq!(
            (code(&error), may_have_worked(&error)),
            (expected, worked),
            "{error}"
        );
    }
}
