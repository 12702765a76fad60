//! The demo: a replicated key-value store in C keeps every file of a checkout while its leader is
//! killed, comes back, and a newcomer joins. What the nodes hold at the end is compared with the
//! files, hash by hash.
//!
//!     demo --kv <program> --source <checkout> --work <folder>

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

/// The members that form the cluster, and the one that joins.
const FOUNDERS: &[u64] = &[1, 2, 3];
const NEWCOMER: u64 = 4;
const ALL: &[u64] = &[1, 2, 3, 4];
const CLIENTS_PER_NODE: usize = 2;
const ORDER_PATIENCE: Duration = Duration::from_secs(20);
const ORDER_INTERVAL: Duration = Duration::from_millis(20);
/// A fresh group's log begins at index 2; anything above was compacted.
const FIRST_INDEX_OF_A_FRESH_LOG: u64 = 2;

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
    figures: Figures,
}

fn main() -> ExitCode {
    // The program that started this one may be killed; nothing must stay behind then.
    // SAFETY: a system call without pointers.
    let parent = unsafe { libc::getppid() } as u32;
    if cluster::die_with_parent(parent).is_err() {
        return ExitCode::FAILURE;
    }
    let [program, source, work] = match arguments() {
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
    match run(&program, &source, folder.path()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            folder.keep();
            eprintln!("\ndemo FAILED: {failure}");
            eprintln!("The nodes' data and logs are kept in {}", folder.path().display());
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<[PathBuf; 3], Failure> {
    let mut values = [None, None, None];
    let mut arguments = std::env::args_os().skip(1);
    while let Some(name) = arguments.next() {
        let place = match name.to_str() {
            Some("--kv") => 0,
            Some("--source") => 1,
            Some("--work") => 2,
            _ => return Err(Failure(format!("unknown argument {}", name.to_string_lossy()))),
        };
        values[place] = arguments.next().map(PathBuf::from);
    }
    match values {
        [Some(program), Some(source), Some(work)] => Ok([program, source, work]),
        _ => Err(Failure("usage: demo --kv PROGRAM --source CHECKOUT --work FOLDER".to_owned())),
    }
}

fn run(program: &Path, source: &Path, folder: &Path) -> Result<(), Failure> {
    let source = source
        .canonicalize()
        .map_err(|error| Failure(format!("cannot find {}: {error}", source.display())))?;
    let files = checkout::read(&source)?;
    let bytes: usize = files.iter().map(|file| file.content.len()).sum();
    println!("The input: {} files of this checkout, {}", files.len(), size(bytes as u64));
    let mut demo = Demo {
        started: Instant::now(),
        source,
        expected: checkout::hashes(&files),
        files,
        cluster: Cluster::new(folder, program, ALL.len() as u64)?,
        figures: Figures::default(),
    };
    demo.play()
}

impl Demo {
    fn play(&mut self) -> Result<(), Failure> {
        for id in FOUNDERS {
            self.cluster.start(*id, FOUNDERS)?;
        }
        let (leader, status) = self.cluster.wait_for_leader(FOUNDERS)?;
        self.say(&format!("three nodes run; node {leader} leads in term {}", status.text("term")));

        let killed = self.replicate_while_the_leader_is_killed()?;
        let last_index = self.figures.puts.iter().map(|put| put.index).max().unwrap_or(0);

        self.cluster.start(killed, FOUNDERS)?;
        self.wait_until_applied(killed, last_index)?;
        self.say(&format!("node {killed} was restarted and has caught up"));

        self.add_the_newcomer(last_index)?;
        self.check_reads()?;
        self.check_dumps(last_index)?;
        self.say("each node's own state is the checkout, hash by hash");

        self.cluster.stop_all()?;
        self.say("all four nodes stopped cleanly");
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
            FOUNDERS.iter().map(|id| self.cluster.node(*id).client).collect();
        let files = std::mem::take(&mut self.files);
        let total = files.len();
        // A third waits for the kill, so that clients surely go on after it, however quick the
        // first part was.
        let load = Load::new(&files, total / 3);
        let result = std::thread::scope(|scope| {
            for client in 0..FOUNDERS.len() * CLIENTS_PER_NODE {
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

        let (leader, status) = self.cluster.wait_for_leader(FOUNDERS)?;
        let old_term = status.number("term")?;
        let killed_at = Instant::now();
        self.cluster.kill(leader)?;
        load.release();
        self.say(&format!("node {leader}, the leader in term {old_term}, was killed (SIGKILL)"));

        let others: Vec<u64> = FOUNDERS.iter().copied().filter(|id| *id != leader).collect();
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
        let (leader, status) = self.cluster.wait_for(compacted, FOUNDERS, |status| {
            status.text("role") == "leader"
                && status.number("first").is_ok_and(|first| first > FIRST_INDEX_OF_A_FRESH_LOG)
                && status.number("snapshot_bytes").is_ok_and(|bytes| bytes > 0)
        })?;
        let first_index = status.number("first")?;
        self.figures.snapshot_bytes = status.number("snapshot_bytes")?;
        self.say(&format!("the log of node {leader}, the leader, starts at index {first_index}"));

        self.cluster.start(NEWCOMER, &[])?;
        self.cluster.wait_for("the newcomer to answer", &[NEWCOMER], |_| true)?;
        let added_at = Instant::now();
        let address = self.cluster.node(NEWCOMER).raft;
        self.order_at_leader(&format!("add {NEWCOMER} {address}"))?;
        let what = "the newcomer to install a snapshot and catch up";
        let (_, status) = self.cluster.wait_for(what, &[NEWCOMER], |status| {
            status.number("applied").is_ok_and(|applied| applied >= last_index)
                && status.number("installed").is_ok_and(|installed| installed > 0)
        })?;
        self.figures.catching_up = added_at.elapsed();
        let installed = status.number("installed")?;
        self.say(&format!("node {NEWCOMER} joined; it installed a snapshot of index {installed}"));

        let leader = self.order_at_leader(&format!("promote {NEWCOMER}"))?;
        let members = self.client(leader)?.members()?;
        let voters = members.iter().filter(|(_, role)| role == "voter").count();
        if voters != ALL.len() {
            return Err(Failure(format!("the group should have four voters: {members:?}")));
        }
        self.say(&format!("node {NEWCOMER} was promoted: four voters"));
        Ok(())
    }

    /// Gives an order to whoever leads, again if it is refused: the leadership may just have moved,
    /// or the leader not know yet how far the newcomer is. Returns who took it.
    fn order_at_leader(&mut self, order: &str) -> Result<u64, Failure> {
        let began = Instant::now();
        loop {
            let (leader, _) = self.cluster.wait_for_leader(FOUNDERS)?;
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
        let mut clients = ALL.iter().map(|id| self.client(*id)).collect::<Result<Vec<_>, _>>()?;
        for (place, file) in self.files.iter().enumerate() {
            let through = place % clients.len();
            let found = clients[through].get(&file.path)?;
            if found.as_deref() != Some(file.content.as_slice()) {
                let id = ALL[through];
                return Err(Failure(format!("node {id} reads another content of {}", file.path)));
            }
        }
        self.say(&format!("{} linearizable reads through all four nodes", self.files.len()));
        Ok(())
    }

    fn check_dumps(&mut self, last_index: u64) -> Result<(), Failure> {
        for id in ALL {
            let dump = self.client(*id)?.dump(last_index)?;
            if dump.applied_index < last_index {
                return Err(Failure(format!("node {id} dumped its state before {last_index}")));
            }
            checkout::compare(*id, &self.expected, &dump)?;
        }
        Ok(())
    }

    fn restart_all_confined(&mut self) -> Result<Option<&'static str>, Failure> {
        let probe = self.source.join(&self.files[0].path);
        let confined = self.cluster.confine(&self.source, &probe);
        for id in ALL {
            self.cluster.start(*id, if *id == NEWCOMER { &[] } else { FOUNDERS })?;
        }
        let (leader, status) = self.cluster.wait_for_leader(ALL)?;
        let how = match confined {
            Some(name) => format!("the source tree out of their reach ({name})"),
            None => "no path to the source tree (this machine has no way to forbid it)".to_owned(),
        };
        self.say(&format!("all four restarted with {how}"));
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
        println!("  files on four nodes         {}", self.expected.len());
        println!("  proposals/s (with a leader) {rate:.0}");
        println!("  p50 of a put                {}", percentile(50));
        println!("  p99 (outage included)       {}", percentile(99));
        println!("  time without leader         {}", milliseconds(figures.without_leader));
        println!("  snapshot                    {}", size(figures.snapshot_bytes));
        println!("  newcomer caught up in       {}", milliseconds(figures.catching_up));
        println!("  source tree forbidden by    {}", confined.unwrap_or("nothing on this machine"));
        println!("\nEvery file is on every node, before and after the restart.");
    }
}

fn say_at(started: Instant, sentence: &str) {
    println!("{:7.2} s  {sentence}", started.elapsed().as_secs_f64());
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
