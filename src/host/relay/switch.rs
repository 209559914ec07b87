//! How the tunnel's other end is started on Windows: the relay's program, as `switch`.

use std::{fs, path::Path, process::Command};

use super::{RelayError, WINDOWS_PROGRAM, denied, unpack};
use crate::interop::{Interop, local_app_data};

/// What the program is asked to be.
const SWITCH: &str = "switch";

/// How the switch is started. `lib` is the folder of our programs. It needs no right of an
/// administrator, so it is the user's own copy; that of an administrator is taken where it is
/// preferred or the other one cannot be. Blocks.
///
/// # Errors
/// Windows cannot be reached, or the program can be put nowhere.
pub fn switch(lib: &Path, installed: bool) -> Result<Command, RelayError> {
    let interop = Interop::find()?;
    let common = interop.program_files().join("wslmesh/wslmesh-relay.exe");
    let common = Some(common).filter(|path| fs::metadata(path).is_ok_and(|meta| meta.is_file()));
    if let Some(program) = common.as_deref().filter(|_| installed) {
        return Ok(with_argument(interop.command(program)?));
    }
    let own = || {
        let folder = local_app_data()?.join("wslmesh");
        unpack::unpack(&lib.join(WINDOWS_PROGRAM), &folder).map_err(|error| denied(&interop, error))
    };
    let program = match (own(), common) {
        (Ok(program), _) | (Err(_), Some(program)) => program,
        (Err(error), None) => return Err(error),
    };
    Ok(with_argument(interop.command(&program)?))
}

fn with_argument(mut command: Command) -> Command {
    command.arg(SWITCH);
    command
}
