//! The three member processes of the benchmark.

use std::path::Path;
use std::time::{Duration, Instant};

use super::child::Process;
use super::driver::Load;
use super::Outcome;

const MEMBERS: usize = 3;
/// How long an election may take, or a member that lags after a row.
const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

pub struct Cluster {
    members: Vec<Process>,
}

pub struct Row {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// User and system time of all three members, in seconds per million proposals.
    pub cpu_seconds_per_million: f64,
}

impl Cluster {
    pub fn start(directory: &Path) -> Outcome<Cluster> {
        let mut members = Vec::new();
        let mut list = String::new();
        for node_id in 1..=MEMBERS {
            let path = directory.join(format!("member-{node_id}"));
            let path = path.to_str().ok_or("the directory's name is not UTF-8")?;
            let mut member = Process::start(&["bench-member", &node_id.to_string(), path])?;
            list.push_str(&format!(" {node_id}={}", member.hear()?));
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

    pub fn measure(&mut self, load: &Load) -> Outcome<Row> {
        let leader = self.leader()?;
        let cpu_before = self.cpu_seconds()?;
        let Load { bytes, in_flight, mode, seconds } = load;
        let begun = Instant::now();
        let answer =
            self.members[leader].ask(&format!("run {bytes} {in_flight} {mode} {seconds}"))?;
        let wall = begun.elapsed().as_secs_f64();
        self.wait_for_all(leader)?;
        let cpu = self.cpu_seconds()? - cpu_before;
        let numbers: Vec<f64> = answer.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [proposals, measured, p50_us, p99_us] = numbers[..] else {
            return Err(format!("the leader answered '{answer}'").into());
        };
        let per_second = proposals / measured;
        Ok(Row {
            per_second,
            p50_us,
            p99_us,
            cpu_seconds_per_million: cpu / (per_second * wall) * 1e6,
        })
    }

    pub fn stop(self) -> Outcome<()> {
        for member in self.members {
            member.finish()?;
        }
        Ok(())
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

    /// Waits until every member has applied what its leader has: a row says nothing if one of them did not take part.
    fn wait_for_all(&mut self, leader: usize) -> Outcome<()> {
        let wanted: u64 = self.members[leader].ask("applied")?.parse()?;
        let deadline = Instant::now() + PATIENCE;
        for (position, member) in self.members.iter_mut().enumerate() {
            while member.ask("applied")?.parse::<u64>()? < wanted {
                if Instant::now() > deadline {
                    let node_id = position + 1;
                    let message = format!("member {node_id} has not applied entry {wanted}");
                    return Err(format!("{message} {PATIENCE:?} after the load").into());
                }
                std::thread::sleep(BETWEEN_LOOKS);
            }
        }
        Ok(())
    }

    fn cpu_seconds(&mut self) -> Outcome<f64> {
        let mut sum = 0.0;
        for member in &mut self.members {
            sum += member.ask("cpu")?.parse::<f64>()?;
        }
        Ok(sum)
    }
}
