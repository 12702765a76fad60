//! Processes that check directories, one for each core: so that a check that hangs or takes its
//! process down is seen, and costs no other.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use libraft_tests::process::Process;

use crate::image::Tree;
use crate::node::Settings;
use crate::scratch::Scratch;

/// A check takes a tenth of a second.
const CHECK_TIMEOUT: Duration = Duration::from_secs(120);

/// A directory to be checked.
pub struct Task {
    pub number: u64,
    pub tree: Tree,
    /// The file with the notes, a line each, and how many of them count.
    pub notes: PathBuf,
    pub seen: usize,
    pub settings: Settings,
    /// Says what was done to it.
    pub context: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It opened, held what it should and went on; the last position found, and how many snapshots.
    Good { lsn: u64, snapshots: usize },
    /// An error said what is wrong with it.
    Refused { code: String, message: String },
    /// It held only what was written up to a position, though more was acknowledged.
    Lost { lsn: u64 },
    /// It held something else, or the check panicked, hung or died.
    Wrong(String),
}

pub struct Crew {
    tasks: Option<SyncSender<Task>>,
    verdicts: Receiver<(Task, Verdict)>,
    threads: Vec<JoinHandle<()>>,
    done: Vec<(Task, Verdict)>,
}

impl Crew {
    /// `program` is the path of `storage_node`. Directories are made below `scratch`.
    pub fn start(program: &'static str, scratch: &Scratch) -> Crew {
        let count = std::thread::available_parallelism().map_or(1, |count| count.get());
        let (tasks, waiting) = mpsc::sync_channel::<Task>(count);
        let (sender, verdicts) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let member = |number: usize| {
            let (waiting, sender) = (waiting.clone(), sender.clone());
            let root = scratch.path().join(format!("node-{number}"));
            std::thread::spawn(move || {
                let mut process = None;
                while let Some(task) = next(&waiting) {
                    let verdict = judge(program, &mut process, &root, &task);
                    if sender.send((task, verdict)).is_err() {
                        break;
                    }
                }
            })
        };
        let threads = (0..count).map(member).collect();
        Crew { tasks: Some(tasks), verdicts, threads, done: Vec::new() }
    }

    /// Waits while everybody is at work.
    pub fn give(&mut self, task: Task) {
        let tasks = self.tasks.as_ref().expect("the crew is at work");
        tasks.send(task).expect("the crew is at work");
        self.done.extend(self.verdicts.try_iter().map(without_tree));
    }

    /// All verdicts, once all tasks are done. The trees of good ones are gone.
    pub fn finish(mut self) -> Vec<(Task, Verdict)> {
        self.tasks = None;
        for thread in self.threads.drain(..) {
            thread.join().expect("a member of the crew panicked");
        }
        self.done.extend(self.verdicts.try_iter().map(without_tree));
        self.done
    }
}

fn without_tree((mut task, verdict): (Task, Verdict)) -> (Task, Verdict) {
    if matches!(verdict, Verdict::Good { .. }) {
        task.tree = Tree::default();
    }
    (task, verdict)
}

fn next(waiting: &Mutex<Receiver<Task>>) -> Option<Task> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn judge(program: &str, process: &mut Option<Process>, root: &Path, task: &Task) -> Verdict {
    task.tree.write(root).expect("a state is written");
    let process_now =
        process.get_or_insert_with(|| Process::start(program, &["check".to_string()]));
    let Settings { segment_bytes, segments_max, seed } = task.settings;
    let (root, notes) = (root.display(), task.notes.display());
    let line = format!("{root} {notes} {} {segment_bytes} {segments_max} {seed}", task.seen);
    let answer = match process_now.say(&line) {
        true => process_now.hear(CHECK_TIMEOUT),
        false => None,
    };
    let Some(answer) = answer else {
        let what = if process_now.is_alive() { "hangs" } else { "died" };
        *process = None;
        return Verdict::Wrong(format!("the process that opens it {what}"));
    };
    understand(&answer).unwrap_or(Verdict::Wrong(answer))
}

fn understand(answer: &str) -> Option<Verdict> {
    let (word, rest) = answer.split_once(' ')?;
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    match word {
        "lost" => Some(Verdict::Lost { lsn: first.parse().ok()? }),
        "good" => Some(Verdict::Good { lsn: first.parse().ok()?, snapshots: second.parse().ok()? }),
        "refused" => {
            let (code, message) = (first.to_string(), second.to_string());
            Some(Verdict::Refused { code, message })
        }
        _ => None,
    }
}
