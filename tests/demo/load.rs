//! Clients that put every file through any node, and never give up while one answers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::checkout::SourceFile;
use crate::client::{Client, RequestError};
use crate::Failure;

/// How long one file may take, the time without a leader included.
const PUT_PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts that were refused, for want of a leader, say.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// What the clients have done so far.
#[derive(Default)]
struct Progress {
    waiting: VecDeque<usize>,
    /// To be put after `release` only.
    held_back: VecDeque<usize>,
    puts: Vec<Put>,
    failure: Option<String>,
}

/// One acknowledged put.
#[derive(Clone, Copy)]
pub struct Put {
    pub began: Instant,
    pub took: Duration,
    /// The index of the entry that holds it.
    pub index: u64,
}

/// A set of files to put, shared by the clients and by whoever watches them.
pub struct Load<'a> {
    files: &'a [SourceFile],
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl<'a> Load<'a> {
    /// The clients wait with the last `held_back` files until `release` is called.
    pub fn new(files: &'a [SourceFile], held_back: usize) -> Load<'a> {
        let free = files.len().saturating_sub(held_back);
        let progress = Progress {
            waiting: (0..free).collect(),
            held_back: (free..files.len()).collect(),
            ..Progress::default()
        };
        Load { files, progress: Mutex::new(progress), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One client, until no file is left. It speaks to `nodes[preferred]` while that answers, and
    /// to the others else.
    pub fn run_client(&self, nodes: &[SocketAddr], preferred: usize) {
        let mut connection = Connection { nodes, current: preferred, client: None };
        loop {
            let Some(file) = self.next_file() else { return };
            let result = connection.put(&self.files[file]);
            let mut progress = self.lock();
            match result {
                Ok(put) => progress.puts.push(put),
                Err(failure) => {
                    progress.failure.get_or_insert(failure);
                    progress.waiting.clear();
                    progress.held_back.clear();
                }
            }
            drop(progress);
            self.changed.notify_all();
        }
    }

    fn next_file(&self) -> Option<usize> {
        let mut progress = self.lock();
        loop {
            if let Some(file) = progress.waiting.pop_front() {
                return Some(file);
            }
            if progress.held_back.is_empty() {
                return None;
            }
            progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub fn release(&self) {
        let mut progress = self.lock();
        let held_back = std::mem::take(&mut progress.held_back);
        progress.waiting.extend(held_back);
        drop(progress);
        self.changed.notify_all();
    }

    /// No file that was not begun is put any more.
    pub fn give_up(&self) {
        let mut progress = self.lock();
        progress.waiting.clear();
        progress.held_back.clear();
        drop(progress);
        self.changed.notify_all();
    }

    /// Waits until `count` files are acknowledged, and returns what is; `report` is told every step
    /// on the way.
    pub fn wait_for(
        &self,
        count: usize,
        mut report: impl FnMut(usize),
    ) -> Result<Vec<Put>, Failure> {
        let mut progress = self.lock();
        loop {
            if let Some(failure) = &progress.failure {
                return Err(Failure(failure.clone()));
            }
            report(progress.puts.len());
            if progress.puts.len() >= count {
                return Ok(progress.puts.clone());
            }
            progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Connection<'a> {
    nodes: &'a [SocketAddr],
    current: usize,
    client: Option<Client>,
}

impl Connection<'_> {
    /// Puts a file, again and again if need be. A put whose outcome is unknown may be repeated
    /// here, because the same content under the same key twice is the same as once.
    fn put(&mut self, file: &SourceFile) -> Result<Put, String> {
        let began = Instant::now();
        loop {
            let error = match self.attempt(file) {
                Ok(index) => return Ok(Put { began, took: began.elapsed(), index }),
                Err(error) => error,
            };
            let hopeless = matches!(error, RequestError::Refused { repeatable: false, .. });
            if hopeless || began.elapsed() > PUT_PATIENCE {
                return Err(format!("{} was not accepted: {error}", file.path));
            }
            self.client = None;
            self.current = (self.current + 1) % self.nodes.len();
            std::thread::sleep(RETRY_INTERVAL);
        }
    }

    fn attempt(&mut self, file: &SourceFile) -> Result<u64, RequestError> {
        let client = match &mut self.client {
            Some(client) => client,
            None => self.client.insert(Client::connect(self.nodes[self.current])?),
        };
        client.put(&file.path, &file.content)
    }
}
