//! The end of a node, in order: calls complete, machines go, threads join, the log is sealed, the directory is free.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use super::event_loop::EventLoop;
use super::inbox::{closed, Command, Taken};
use crate::directory::Directory;
use crate::error::Result;
use crate::replica::Event;

/// Counts what must happen before something may go on.
#[derive(Default)]
pub(super) struct Latch {
    missing: Mutex<usize>,
    changed: Condvar,
}

impl Latch {
    fn add(self: &Arc<Latch>) -> Box<dyn FnOnce() + Send> {
        *self.lock() += 1;
        let latch = self.clone();
        Box::new(move || {
            *latch.lock() -= 1;
            latch.changed.notify_all();
        })
    }

    pub(super) fn is_open(&self) -> bool {
        *self.lock() == 0
    }

    fn wait(&self) {
        let mut missing = self.lock();
        while *missing > 0 {
            missing = self.changed.wait(missing).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, usize> {
        self.missing.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The threads of a node that end before its log is closed.
pub(crate) struct Threads {
    pub(crate) apply: Vec<JoinHandle<()>>,
    pub(crate) completion: JoinHandle<()>,
}

impl Threads {
    /// Blocks until they have ended, which they must have been told to.
    pub(crate) fn join(self) {
        join(self.apply);
        join([self.completion]);
    }
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        // Panics of the program's code are caught and logged where they happen.
        let _ = thread.join();
    }
}

impl EventLoop {
    /// Closes the node, on the worker thread. Waits for callbacks of the program that are running. If the loop did not
    /// end well, nothing more is written: whether the records of the last turn are complete is not known.
    pub(super) fn close(
        mut self,
        worked: Result<()>,
        directory: Directory,
        threads: Threads,
    ) -> Result<()> {
        if let Err(error) = worked {
            tracing::error!(%error, "the node closes itself");
            self.failure = Some(error);
            self.publish_node();
        }
        let machines = self.begin_end();
        machines.wait();
        let node = &self.node;
        for errands in node.all_errands() {
            errands.stop();
        }
        self.node.system.join();
        self.node.pool.stop();
        join(threads.apply);
        // Only now nobody hands over completions any more.
        self.node.deliveries.stop();
        join([threads.completion]);
        self.end_log().and(directory.release())
    }

    /// Completes every call, takes leave of every machine, and cuts the connections. Returns what opens when the last
    /// machine is dropped.
    pub(super) fn begin_end(&mut self) -> Arc<Latch> {
        self.stop_groups();
        let machines = Arc::new(Latch::default());
        for (_, hosted) in std::mem::take(&mut self.groups) {
            self.close_seat(&hosted, machines.add());
        }
        self.node.lines.cut();
        machines
    }

    /// Every call that is pending completes; nothing new is accepted.
    fn stop_groups(&mut self) {
        self.node.inbox.close();
        let mut last = Taken::default();
        self.node.inbox.take(&mut last);
        for command in last.commands.drain(..) {
            self.last_command(command);
        }
        for (key, timeout_ticks, proposals) in last.proposals.drain(..) {
            self.step(key, Event::Propose { proposals, timeout_ticks });
        }
        let keys: Vec<_> = self.groups.keys().copied().collect();
        for key in keys {
            self.step(key, Event::Stop { error: closed() });
            self.settle();
            self.withdraw(key, closed());
        }
        self.deliver();
    }

    /// Takes in a command that arrived too late.
    fn last_command(&mut self, command: Command) {
        match command {
            Command::StartGroup { group, seat } => {
                group.put_out_of_service(closed());
                self.start_group(group, seat);
            }
            // All groups end now.
            Command::StopGroup { .. } => {}
            command => self.command(command),
        }
    }

    pub(super) fn end_log(mut self) -> Result<()> {
        if let Some(finished) = self.node.finished_chore() {
            self.log.finish_chore(finished?)?;
        }
        if let Some(failure) = self.failure.take() {
            // What the log still holds in memory cannot be made durable any more. Its files are closed by the drop.
            return Err(failure);
        }
        if let Some(barrier) = self.log.begin_barrier() {
            let finished = barrier.run();
            self.log.finish_barrier(finished)?;
        }
        self.log.close()
    }
}
