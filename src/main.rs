//! Parses the command line, hands over, and turns the result into an exit code.

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed. WireGuard's answers hold private keys, which pass through
/// buffers of this program and of its libraries.
#[global_allocator]
static HEAP: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> std::process::ExitCode {
    wslmesh::cli::main()
}
