//! The benchmark of languages: three members of one language at a time propose and apply payloads, of which `apply`
//! reads every byte in that language. See PROTOCOL.md.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use crate::lineup::Driver;
use crate::process::command;
use crate::Outcome;

const MEMBERS: usize = 3;
const BYTES: usize = 128;
const IN_FLIGHT: usize = 8192;
/// How proposals are made, and what that means for a program.
const MODES: &[(&str, &str)] =
    &[("batch-64", "a future per batch of 64"), ("callback", "a future each")];
/// Until a member leads, and until all have applied the same.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Bench {
    /// The first one is what the others are held against.
    pub drivers: Vec<Driver>,
    pub seconds: f64,
    pub folder: PathBuf,
}

struct Row {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_seconds_per_million: f64,
}

impl Bench {
    pub fn run(&self) -> Outcome<()> {
        println!("{BYTES} bytes, {IN_FLIGHT} in flight, durable, three members on this machine; apply reads every byte");
        println!(
            "\n{:14} {:26} {:>12} {:>9} {:>10} {:>10} {:>14}",
            "language", "futures", "proposals/s", "of Rust", "p50 us", "p99 us", "CPU s/million"
        );
        let mut first: Vec<f64> = Vec::new();
        for driver in &self.drivers {
            for (number, (rate, line)) in self.measure(driver)?.into_iter().enumerate() {
                let baseline = *first.get(number).unwrap_or(&rate);
                println!(
                    "{}",
                    line.replace("RATIO", &format!("{:>8.0}%", rate / baseline * 100.0))
                );
                if first.len() <= number {
                    first.push(rate);
                }
            }
        }
        Ok(())
    }

    /// A row for each mode: the rate, and the line that shows it.
    fn measure(&self, driver: &Driver) -> Outcome<Vec<(f64, String)>> {
        let folder = self.folder.join(&driver.name);
        let mut cluster = Cluster::start(driver, &folder)?;
        // Not shown: a fresh journal is still being written in advance, and machines are still being compiled.
        cluster.measure(MODES[0].0, self.seconds)?;
        let mut rows = Vec::new();
        for (mode, meaning) in MODES {
            let row = cluster.measure(mode, self.seconds)?;
            rows.push((
                row.per_second,
                format!(
                    "{:14} {meaning:26} {:>12.0} RATIO {:>10.0} {:>10.0} {:>14.2}",
                    driver.name,
                    row.per_second,
                    row.p50_us,
                    row.p99_us,
                    row.cpu_seconds_per_million
                ),
            ));
        }
        cluster.check_states()?;
        cluster.stop()?;
        std::fs::remove_dir_all(&folder)?;
        Ok(rows)
    }
}

struct Cluster {
    members: Vec<Member>,
}

impl Cluster {
    fn start(driver: &Driver, folder: &Path) -> Outcome<Cluster> {
        let mut members = Vec::new();
        let mut list = String::new();
        for node in 1..=MEMBERS {
            let directory = folder.join(format!("member-{node}"));
            std::fs::create_dir_all(&directory)?;
            let mut member = Member::start(driver, node, &directory)?;
            list.push_str(&format!(" {node}={}", member.hear()?));
            members.push(member);
        }
        for member in &mut members {
            member.say(&format!("start{list}"))?;
        }
        for member in &mut members {
            member.hear()?;
        }
        Ok(Cluster { members })
    }

    fn measure(&mut self, mode: &str, seconds: f64) -> Outcome<Row> {
        let leader = self.leader()?;
        let cpu_before = self.cpu_seconds()?;
        let begun = Instant::now();
        let run = format!("run {BYTES} {IN_FLIGHT} {mode} {seconds}");
        let answer = self.members[leader].ask(&run)?;
        let wall = begun.elapsed().as_secs_f64();
        let cpu = self.cpu_seconds()? - cpu_before;
        let numbers: Vec<f64> = answer.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [proposals, measured, p50_us, p99_us] = numbers[..] else {
            return Err(format!("the leader answered '{answer}'").into());
        };
        let per_second = proposals / measured;
        let cpu_seconds_per_million = cpu / (per_second * wall) * 1e6;
        Ok(Row { per_second, p50_us, p99_us, cpu_seconds_per_million })
    }

    fn leader(&mut self) -> Outcome<usize> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for (position, member) in self.members.iter_mut().enumerate() {
                if member.ask("role")? == "Leader" {
                    return Ok(position);
                }
            }
        }
        Err("no member became leader".into())
    }

    fn cpu_seconds(&mut self) -> Outcome<f64> {
        let mut sum = 0.0;
        for member in &mut self.members {
            sum += member.ask("cpu")?.parse::<f64>()?;
        }
        Ok(sum)
    }

    /// All members must have read the same bytes, and all of them.
    fn check_states(&mut self) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let states = self.members.iter_mut().map(|member| member.ask("state"));
            let states = states.collect::<Outcome<Vec<String>>>()?;
            if states.iter().all(|state| *state == states[0]) {
                return check_checksum(&states[0]);
            }
            if Instant::now() > deadline {
                return Err(format!("the members applied different things: {states:?}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(self) -> Outcome<()> {
        for member in self.members {
            member.finish()?;
        }
        Ok(())
    }
}

/// `COUNT CHECKSUM` of payloads that are all the same.
fn check_checksum(state: &str) -> Outcome<()> {
    let (count, checksum) = state.split_once(' ').ok_or("a state is COUNT CHECKSUM")?;
    let payload = [0x5a; BYTES];
    let mut expected = crc32fast::Hasher::new();
    for _ in 0..count.parse::<u64>()? {
        expected.update(&payload);
    }
    let expected = expected.finalize();
    if checksum.parse::<u32>()? != expected {
        return Err(
            format!("the checksum of {count} payloads is {checksum}, not {expected}").into()
        );
    }
    Ok(())
}

/// A process of the driver.
struct Member {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Member {
    fn start(driver: &Driver, node: usize, directory: &Path) -> Outcome<Member> {
        let mut words = match &driver.bench {
            Some(words) => words.clone(),
            None => [&driver.command[..], &["bench-member".to_string()]].concat(),
        };
        words.extend([node.to_string(), directory.display().to_string()]);
        let mut command = command(&words)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("the member has no output")?);
        Ok(Member { child, input, output })
    }

    fn say(&mut self, line: &str) -> Outcome<()> {
        let input = self.input.as_mut().ok_or("the member was told to end")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    fn hear(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a member ended early; what it said is above".into());
        }
        Ok(line.trim_end().to_string())
    }

    fn ask(&mut self, line: &str) -> Outcome<String> {
        self.say(line)?;
        self.hear()
    }

    /// Lets it end by itself, as the end of its input tells it to.
    fn finish(mut self) -> Outcome<()> {
        self.input = None;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("a member ended with {status}").into());
        }
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
