//! Parses the command line, hands over, and turns the result into an exit code.

fn main() -> std::process::ExitCode {
    wslmesh::cli::main()
}
