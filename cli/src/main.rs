//! `raftctl`: the command line tool of libraft.

use std::process::ExitCode;

mod bench;

const USAGE: &str = "\
usage: raftctl bench [--directory DIR] [--seconds S] [--sizes 16,128,...] [--in-flight 1,64,...]

  bench   measures three replicas on this machine, as processes over TCP, beside a bare
          replicator that does the same writes and syncs without Raft (the floor)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asks_for_help = |argument: &String| ["--help", "-h"].contains(&argument.as_str());
    let result = match arguments.first().map(String::as_str) {
        _ if arguments.iter().any(asks_for_help) => help(),
        Some("bench") => bench::run(&arguments[1..]),
        Some("bench-member") => bench::member::run(&arguments[1..]),
        Some("bench-floor-peer") => bench::floor::run_peer(&arguments[1..]),
        Some("help") => help(),
        _ => Err(format!("what is to be done is missing or unknown\n{USAGE}").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raftctl: {error}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> bench::Outcome<()> {
    print!("{USAGE}");
    Ok(())
}
