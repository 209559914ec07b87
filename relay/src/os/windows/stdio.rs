//! Standard input and output as files.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::windows::io::AsHandle;

use mio::{Registry, Token};

/// Standard input and output, without buffers.
///
/// # Errors
///
/// The system's: one of them is closed.
#[expect(
    clippy::disallowed_methods,
    reason = "the switch's link is its standard output"
)]
pub(crate) fn standard_files() -> io::Result<(File, File)> {
    let input = io::stdin().as_handle().try_clone_to_owned()?;
    let output = io::stdout().as_handle().try_clone_to_owned()?;
    Ok((input.into(), output.into()))
}

/// Windows has no way to wait for these and for sockets.
///
/// # Errors
///
/// Always.
pub(crate) fn wait_for(
    _registry: &Registry,
    _input: (&File, Token),
    _output: (&File, Token),
) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
