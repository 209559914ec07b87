//! Kernel parameters.

use std::fs;

use super::{ApplyError, is_final};
use crate::model::{Code, SysctlKey, SysctlValue};

/// Writes a parameter unless it already has the value, and reads it back: the
/// kernel takes some values and makes something else of them. That is undone.
/// Returns whether anything was changed.
///
/// # Errors
/// The kernel's refusal, or another value when it is read back.
pub fn write(key: &SysctlKey, to: &SysctlValue) -> Result<bool, ApplyError> {
    let path = key.path();
    let refused = |why, retry| ApplyError::Failed {
        what: key.to_string(),
        why,
        retry,
        code: Code::SysctlRefused,
    };
    let wanted = to.as_str();
    let failed = |error| {
        refused(
            format!("cannot write {wanted:?}: {error}"),
            !is_final(&error),
        )
    };
    let read = || fs::read_to_string(&path).map(|text| SysctlValue::new(&text));
    let before = read().map_err(failed)?;
    if before == *to {
        return Ok(false);
    }
    fs::write(&path, wanted).map_err(failed)?;
    let found = read().map_err(failed)?;
    if found == *to {
        Ok(true)
    } else {
        // What was not asked for must not stay; the kernel took it a moment ago.
        fs::write(&path, before.as_str()).map_err(failed)?;
        let found = found.as_str();
        let why = format!("wrote {wanted:?} and read back {found:?}");
        Err(refused(why, false))
    }
}
