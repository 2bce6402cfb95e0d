//! The program `inject`.

use std::process::ExitCode;

/// The allocator of the program. A CPU backend allocates each intermediate tensor. Where the memory goes back to the system
/// between two operations, each one begins with page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    inject_cli::main()
}
