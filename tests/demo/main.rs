//! The demo: a replicated key-value store in C keeps every file of a checkout while its leader is
//! killed, comes back, and a newcomer joins. What the nodes hold at the end is compared with the
//! files, hash by hash.
//!
//!     demo --kv <program> --source <checkout> --work <folder>
//!
//! With several `--kv`, each a command with its arguments, the nodes run one each: the last one is the newcomer.

mod checkout;
mod client;
mod cluster;
mod confine;
mod folder;
mod load;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use checkout::{Hash, SourceFile};
use client::{Client, RequestError};
use cluster::Cluster;
use folder::WorkFolder;
use load::{Load, Put};

/// Nodes that run the program if there is only one: three form the cluster, and one joins.
const NODES: usize = 4;
const CLIENTS_PER_NODE: usize = 2;
const ORDER_PATIENCE: Duration = Duration::from_secs(20);
const ORDER_INTERVAL: Duration = Duration::from_millis(20);
/// A fresh group's log begins at index 2; anything above was compacted.
const FIRST_INDEX_OF_A_FRESH_LOG: u64 = 2;

const USAGE: &str =
    "usage: demo --kv PROGRAM --source CHECKOUT --work FOLDER, or four or more --kv; `make demo` runs it";

/// What went wrong, in a sentence.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Failure {
        Failure(error.to_string())
    }
}

/// What the table at the end shows.
#[derive(Default)]
struct Figures {
    puts: Vec<Put>,
    loading: Duration,
    without_leader: Duration,
    snapshot_bytes: u64,
    catching_up: Duration,
}

struct Demo {
    started: Instant,
    source: PathBuf,
    files: Vec<SourceFile>,
    expected: BTreeMap<String, Hash>,
    cluster: Cluster,
    /// The members that form the cluster, and the one that joins.
    founders: Vec<u64>,
    newcomer: u64,
    figures: Figures,
}

fn main() -> ExitCode {
    // The program that started this one may be killed; nothing must stay behind then.
    // SAFETY: a system call without pointers.
    let parent = unsafe { libc::getppid() } as u32;
    if cluster::die_with_parent(parent).is_err() {
        return ExitCode::FAILURE;
    }
    let (programs, source, work) = match arguments() {
        Ok(arguments) => arguments,
        Err(failure) => {
            eprintln!("demo: {failure}");
            return ExitCode::from(2);
        }
    };
    let mut folder = match WorkFolder::create(&work) {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("demo: cannot create a folder in {}: {error}", work.display());
            return ExitCode::FAILURE;
        }
    };
    match run(&programs, &source, folder.path()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            folder.keep();
            eprintln!("\ndemo FAILED: {failure}");
            eprintln!("The nodes' data and logs are kept in {}", folder.path().display());
            ExitCode::FAILURE
        }
    }
}

/// The programs, the checkout and the folder for data.
fn arguments() -> Result<(Vec<String>, PathBuf, PathBuf), Failure> {
    let mut programs = Vec::new();
    let mut paths = [None, None];
    let mut arguments = std::env::args_os().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next();
        match name.to_str() {
            Some("--kv") => programs.extend(value.and_then(|value| value.into_string().ok())),
            Some("--source") => paths[0] = value.map(PathBuf::from),
            Some("--work") => paths[1] = value.map(PathBuf::from),
            _ => {
                return Err(Failure(format!(
                    "unknown argument {}\n{USAGE}",
                    name.to_string_lossy()
                )))
            }
        }
    }
    match paths {
        [Some(source), Some(work)] if programs.len() == 1 || programs.len() >= NODES => {
            Ok((programs, source, work))
        }
        _ => Err(Failure(USAGE.to_owned())),
    }
}

fn run(programs: &[String], source: &Path, folder: &Path) -> Result<(), Failure> {
    let source = source
        .canonicalize()
        .map_err(|error| Failure(format!("cannot find {}: {error}", source.display())))?;
    let files = checkout::read(&source)?;
    let bytes: usize = files.iter().map(|file| file.content.len()).sum();
    println!("The input: {} files of this checkout, {}", files.len(), size(bytes as u64));
    let cluster = match programs {
        [program] => Cluster::of_one_program(folder, Path::new(program), NODES)?,
        programs => Cluster::of_programs(folder, programs)?,
    };
    let newcomer = cluster.nodes.len() as u64;
    let mut demo = Demo {
        started: Instant::now(),
        source,
        expected: checkout::hashes(&files),
        files,
        cluster,
        founders: (1..newcomer).collect(),
        newcomer,
        figures: Figures::default(),
    };
    demo.play()
}

impl Demo {
    fn play(&mut self) -> Result<(), Failure> {
        if self.cluster.is_mixed() {
            for node in &self.cluster.nodes {
                println!("Node {} is {}", node.id, node.program.join(" "));
            }
        }
        for &id in &self.founders {
            self.cluster.start(id, &self.founders)?;
        }
        let (leader, status) = self.cluster.wait_for_leader(&self.founders)?;
        let count = in_words(self.founders.len());
        let term = status.text("term");
        self.say(&format!("{count} nodes run; node {leader} leads in term {term}"));

        let killed = self.replicate_while_the_leader_is_killed()?;
        let last_index = self.figures.puts.iter().map(|put| put.index).max().unwrap_or(0);

        self.cluster.start(killed, &self.founders)?;
        self.wait_until_applied(killed, last_index)?;
        self.say(&format!("node {killed} was restarted and has caught up"));

        self.add_the_newcomer(last_index)?;
        self.check_reads()?;
        self.check_dumps(last_index)?;
        self.say("each node's own state is the checkout, hash by hash");

        self.cluster.stop_all()?;
        self.say(&format!("all {} nodes stopped cleanly", self.count_in_words()));
        let confined = self.restart_all_confined()?;
        self.check_dumps(last_index)?;
        self.say("each node's own state is still the checkout, hash by hash");
        self.cluster.stop_all()?;
        self.print_table(confined);
        Ok(())
    }

    /// Returns the node that was killed.
    fn replicate_while_the_leader_is_killed(&mut self) -> Result<u64, Failure> {
        let addresses: Vec<SocketAddr> =
            self.founders.iter().map(|id| self.cluster.node(*id).client).collect();
        let files = std::mem::take(&mut self.files);
        let total = files.len();
        // A third waits for the kill, so that clients surely go on after it, however quick the
        // first part was.
        let load = Load::new(&files, total / 3);
        let result = std::thread::scope(|scope| {
            for client in 0..self.founders.len() * CLIENTS_PER_NODE {
                let (load, addresses) = (&load, &addresses);
                scope.spawn(move || load.run_client(addresses, client % addresses.len()));
            }
            let result = self.watch_the_load(&load, total);
            load.give_up();
            result
        });
        self.files = files;
        result
    }

    fn watch_the_load(&mut self, load: &Load<'_>, total: usize) -> Result<u64, Failure> {
        let began = Instant::now();
        let mut reported = 0;
        let mut report = |started: Instant, done: usize| {
            if done * 4 / total > reported {
                reported = done * 4 / total;
                say_at(started, &format!("{done} of {total} files replicated"));
            }
        };
        let started = self.started;
        load.wait_for(total / 2, |done| report(started, done))?;

        let (leader, status) = self.cluster.wait_for_leader(&self.founders)?;
        let old_term = status.number("term")?;
        let killed_at = Instant::now();
        self.cluster.kill(leader)?;
        load.release();
        self.say(&format!("node {leader}, the leader in term {old_term}, was killed (SIGKILL)"));

        let others: Vec<u64> = self.founders.iter().copied().filter(|id| *id != leader).collect();
        let (successor, status) =
            self.cluster.wait_for("a leader in a higher term", &others, |status| {
                status.text("role") == "leader"
                    && status.number("term").is_ok_and(|term| term > old_term)
            })?;
        self.say(&format!("node {successor} leads in term {}", status.text("term")));

        let puts = load.wait_for(total, |done| report(started, done))?;
        let after = puts.iter().filter(|put| put.began > killed_at);
        let Some(first) = after.map(|put| put.began + put.took).min() else {
            return Err(Failure("no file was put after the leader was killed".to_owned()));
        };
        self.figures.without_leader = first - killed_at;
        self.figures.loading = began.elapsed();
        self.figures.puts = puts;
        Ok(leader)
    }

    fn add_the_newcomer(&mut self, last_index: u64) -> Result<(), Failure> {
        let compacted = "a leader whose log was cut behind a snapshot";
        let (leader, status) = self.cluster.wait_for(compacted, &self.founders, |status| {
            status.text("role") == "leader"
                && status.number("first").is_ok_and(|first| first > FIRST_INDEX_OF_A_FRESH_LOG)
                && status.number("snapshot_bytes").is_ok_and(|bytes| bytes > 0)
        })?;
        let first_index = status.number("first")?;
        self.figures.snapshot_bytes = status.number("snapshot_bytes")?;
        self.say(&format!("the log of node {leader}, the leader, starts at index {first_index}"));

        let newcomer = self.newcomer;
        self.cluster.start(newcomer, &[])?;
        self.cluster.wait_for("the newcomer to answer", &[newcomer], |_| true)?;
        let added_at = Instant::now();
        let address = self.cluster.node(newcomer).raft;
        self.order_at_leader(&format!("add {newcomer} {address}"))?;
        let what = "the newcomer to install a snapshot and catch up";
        let (_, status) = self.cluster.wait_for(what, &[newcomer], |status| {
            status.number("applied").is_ok_and(|applied| applied >= last_index)
                && status.number("installed").is_ok_and(|installed| installed > 0)
        })?;
        self.figures.catching_up = added_at.elapsed();
        let installed = status.number("installed")?;
        self.say(&format!("node {newcomer} joined; it installed a snapshot of index {installed}"));

        let leader = self.order_at_leader(&format!("promote {newcomer}"))?;
        let members = self.client(leader)?.members()?;
        let voters = members.iter().filter(|(_, role)| role == "voter").count();
        let count = self.count_in_words();
        if voters != self.cluster.nodes.len() {
            return Err(Failure(format!("the group should have {count} voters: {members:?}")));
        }
        self.say(&format!("node {newcomer} was promoted: {count} voters"));
        Ok(())
    }

    /// Gives an order to whoever leads, again if it is refused: the leadership may just have moved,
    /// or the leader not know yet how far the newcomer is. Returns who took it.
    fn order_at_leader(&mut self, order: &str) -> Result<u64, Failure> {
        let began = Instant::now();
        loop {
            let (leader, _) = self.cluster.wait_for_leader(&self.founders)?;
            match self.client(leader)?.order(order) {
                Err(RequestError::Refused { .. }) if began.elapsed() < ORDER_PATIENCE => {
                    std::thread::sleep(ORDER_INTERVAL);
                }
                result => {
                    result?;
                    return Ok(leader);
                }
            }
        }
    }

    /// Linearizable reads of every file, each through another node.
    fn check_reads(&mut self) -> Result<(), Failure> {
        let mut clients =
            self.all().into_iter().map(|id| self.client(id)).collect::<Result<Vec<_>, _>>()?;
        for (place, file) in self.files.iter().enumerate() {
            let through = place % clients.len();
            let found = clients[through].get(&file.path)?;
            if found.as_deref() != Some(file.content.as_slice()) {
                let id = through + 1;
                return Err(Failure(format!("node {id} reads another content of {}", file.path)));
            }
        }
        let (reads, count) = (self.files.len(), self.count_in_words());
        self.say(&format!("{reads} linearizable reads through all {count} nodes"));
        Ok(())
    }

    fn check_dumps(&mut self, last_index: u64) -> Result<(), Failure> {
        for id in self.all() {
            let dump = self.client(id)?.dump(last_index)?;
            if dump.applied_index < last_index {
                return Err(Failure(format!("node {id} dumped its state before {last_index}")));
            }
            checkout::compare(id, &self.expected, &dump)?;
        }
        Ok(())
    }

    fn restart_all_confined(&mut self) -> Result<Option<&'static str>, Failure> {
        let probe = self.source.join(&self.files[0].path);
        let confined = self.cluster.confine(&self.source, &probe);
        for &id in &self.founders {
            self.cluster.start(id, &self.founders)?;
        }
        self.cluster.start(self.newcomer, &[])?;
        let (leader, status) = self.cluster.wait_for_leader(&self.all())?;
        let how = match confined {
            Some(name) => format!("the source tree out of their reach ({name})"),
            None if self.cluster.is_mixed() => "what they had kept themselves".to_owned(),
            None => "no path to the source tree (this machine has no way to forbid it)".to_owned(),
        };
        self.say(&format!("all {} restarted with {how}", self.count_in_words()));
        self.say(&format!("node {leader} leads in term {}", status.text("term")));
        Ok(confined)
    }

    fn wait_until_applied(&mut self, id: u64, index: u64) -> Result<(), Failure> {
        let what = format!("node {id} to apply index {index}");
        self.cluster.wait_for(&what, &[id], |status| {
            status.number("applied").is_ok_and(|applied| applied >= index)
        })?;
        Ok(())
    }

    fn client(&self, id: u64) -> Result<Client, Failure> {
        Ok(Client::connect(self.cluster.node(id).client)?)
    }

    fn all(&self) -> Vec<u64> {
        self.cluster.nodes.iter().map(|node| node.id).collect()
    }

    fn count_in_words(&self) -> &'static str {
        in_words(self.cluster.nodes.len())
    }

    fn say(&self, sentence: &str) {
        say_at(self.started, sentence);
    }

    fn print_table(&self, confined: Option<&str>) {
        let figures = &self.figures;
        let mut latencies: Vec<Duration> = figures.puts.iter().map(|put| put.took).collect();
        latencies.sort();
        let percentile =
            |hundredths: usize| milliseconds(latencies[(latencies.len() - 1) * hundredths / 100]);
        let with_leader = figures.loading.saturating_sub(figures.without_leader).as_secs_f64();
        let rate = figures.puts.len() as f64 / with_leader.max(1e-6);
        println!();
        let files = format!("files on {} nodes", self.count_in_words());
        println!("  {files:28}{}", self.expected.len());
        println!("  proposals/s (with a leader) {rate:.0}");
        println!("  p50 of a put                {}", percentile(50));
        println!("  p99 (outage included)       {}", percentile(99));
        println!("  time without leader         {}", milliseconds(figures.without_leader));
        println!("  snapshot                    {}", size(figures.snapshot_bytes));
        println!("  newcomer caught up in       {}", milliseconds(figures.catching_up));
        if !self.cluster.is_mixed() {
            let how = confined.unwrap_or("nothing on this machine");
            println!("  source tree forbidden by    {how}");
        }
        println!("\nEvery file is on every node, before and after the restart.");
    }
}

fn say_at(started: Instant, sentence: &str) {
    println!("{:7.2} s  {sentence}", started.elapsed().as_secs_f64());
}

fn in_words(count: usize) -> &'static str {
    match count {
        3 => "three",
        4 => "four",
        5 => "five",
        6 => "six",
        7 => "seven",
        8 => "eight",
        _ => "many",
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} bytes"),
        10_000..=9_999_999 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
