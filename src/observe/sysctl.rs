//! Kernel parameters.

use std::{fs, io};

use rustix::fs::{Access, access};

use crate::model::{SysctlKey, SysctlReading, SysctlValue};

/// Reads a parameter and whether it may be written.
#[must_use]
pub fn read(key: &SysctlKey) -> SysctlReading {
    let path = key.path();
    match fs::read_to_string(&path) {
        Ok(text) => SysctlReading::Value {
            value: SysctlValue::new(&text),
            writable: access(&path, Access::WRITE_OK).is_ok(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => SysctlReading::Missing,
        Err(error) => SysctlReading::Unreadable(error.to_string()),
    }
}
