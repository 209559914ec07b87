//! Standard input and output as files, of which the switch's loop is told what they are
//! ready for.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

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
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((input.into(), output.into()))
}

/// Makes the poll tell when the first can be read and the second be written, which then do
/// not block any more.
///
/// # Errors
///
/// The system's: one of them is a file that it cannot wait for. They block as before.
pub(crate) fn wait_for(
    registry: &Registry,
    (input, input_token): (&File, Token),
    (output, output_token): (&File, Token),
) -> io::Result<()> {
    let (from, to) = (input.as_raw_fd(), output.as_raw_fd());
    registry.register(&mut SourceFd(&from), input_token, Interest::READABLE)?;
    if let Err(error) = registry.register(&mut SourceFd(&to), output_token, Interest::WRITABLE) {
        registry.deregister(&mut SourceFd(&from))?;
        return Err(error);
    }
    for file in [input, output] {
        rustix::io::ioctl_fionbio(file, true)?;
    }
    Ok(())
}
