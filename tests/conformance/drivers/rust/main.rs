//! The driver of Rust: see tests/conformance/PROTOCOL.md.

mod exit;
mod host;
mod line;
mod machine;
mod status;

use std::io::BufRead;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;

use libraft_conformance::words::hex;

fn main() -> Result<ExitCode, libraft::Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(serve()),
        ["exit", case, directory] => exit::run(case, directory),
        _ => {
            eprintln!("usage: driver-rust [exit CASE DIRECTORY]");
            Ok(ExitCode::from(2))
        }
    }
}

/// Serves the lines of the input until it ends; then the process ends at once.
fn serve() -> ExitCode {
    let runtime = std::env::current_exe().unwrap_or_default();
    let runtime = hex(runtime.as_os_str().as_bytes());
    line::say(&format!("! driver language=rust runtime={runtime} protocol=1"));
    let host = Arc::new(host::Host::default());
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line::Request::parse(&line) {
            Ok(request) => host.serve(request),
            Err(message) => {
                let id = line.split(' ').next().unwrap_or_default();
                line::answer(id, Err(message.into()));
            }
        }
    }
    std::process::exit(0)
}
