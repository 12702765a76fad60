//! Runs worlds: see `docs/simulator.md`.

use std::process::ExitCode;

fn main() -> ExitCode {
    libraft_sim::command_line::main()
}
