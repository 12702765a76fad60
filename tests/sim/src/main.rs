//! Runs worlds: see `docs/simulator.md`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    libraft_sim::command_line::main(&arguments)
}
