//! The relay's own program: `wslmesh-relay`, on Windows `wslmesh-relay.exe`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wslmesh_relay::run()
}
