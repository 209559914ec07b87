//! Kernel parameters.

use std::fs;

use super::ApplyError;
use crate::model::{Code, SysctlKey, SysctlValue};

/// Writes a parameter unless it already has the value, and reads it back: the
/// kernel takes some values and makes something else of them. That is undone.
/// Returns whether anything was changed.
///
/// # Errors
/// The kernel's refusal, or another value when it is read back.
pub fn write(key: &SysctlKey, to: &SysctlValue) -> Result<bool, ApplyError> {
    let path = key.path();
    let failed = |error| ApplyError::Sysctl {
        key: key.to_string(),
        value: to.to_string(),
        error,
    };
    let read = || fs::read_to_string(&path).map(|text| SysctlValue::new(&text));
    let before = read().map_err(failed)?;
    if before == *to {
        return Ok(false);
    }
    fs::write(&path, to.as_str()).map_err(failed)?;
    let found = read().map_err(failed)?;
    if found == *to {
        Ok(true)
    } else {
        // What was not asked for must not stay; the kernel took it a moment ago.
        fs::write(&path, before.as_str()).map_err(failed)?;
        Err(ApplyError::ReadBack {
            what: key.to_string(),
            wanted: to.to_string(),
            found: found.to_string(),
            code: Code::SysctlRefused,
        })
    }
}
