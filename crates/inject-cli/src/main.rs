//! The program `inject`.

use std::process::ExitCode;

fn main() -> ExitCode {
    inject_cli::main()
}
