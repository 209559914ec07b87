//! What this process and its children may execute.
//!
//! Windows' user may put a Linux program in place of any file on a drive, and it would run
//! as root. Windows' programs are never executed here but handed to WSL's init, which has
//! Windows start them; the kernel holds this process to that (landlock(7)), on a drive
//! that is mounted later, too, to which the unit's NoExecPaths= does not apply.

use std::path::Path;

use landlock::{
    AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    path_beneath_rules,
};

use super::child::INIT;

/// WSL's init and what is the system's: programs, the dynamic loader and libraries.
const NATIVE: [&str; 7] = [
    INIT,
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/nix/store",
];

/// Forbids this thread, and all that it starts from now on, to execute anything but the
/// system's programs and those in `lib`, the folder of ours. Gives back whether the kernel
/// can: Landlock is in WSL's since 5.15.57, and `lsm=` on its command line may leave it out.
///
/// # Errors
/// The kernel refuses the rules.
pub fn confine(lib: &Path) -> Result<bool, RulesetError> {
    let native = NATIVE.iter().map(Path::new).chain([lib]);
    let rules = Ruleset::default()
        .handle_access(AccessFs::Execute)?
        .create()?
        .add_rules(path_beneath_rules(native, AccessFs::Execute))?;
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests;
