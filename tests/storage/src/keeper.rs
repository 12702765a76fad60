//! The thread that does the housekeeping of a load.

use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};

use libraft::log::{Chore, FinishedChore};

use crate::load::Result;

/// Takes one chore at a time.
pub struct Keeper {
    chores: Sender<Chore>,
    finished: Receiver<FinishedChore>,
    pub is_busy: bool,
}

impl Keeper {
    pub fn start() -> Keeper {
        let (chores, due) = mpsc::channel::<Chore>();
        let (done, finished) = mpsc::channel();
        std::thread::spawn(move || {
            for chore in due {
                if done.send(chore.run()).is_err() {
                    break;
                }
            }
        });
        Keeper { chores, finished, is_busy: false }
    }

    pub fn give(&mut self, chore: Chore) -> Result<()> {
        self.is_busy = true;
        self.chores.send(chore).map_err(|_| "the keeper died".into())
    }

    pub fn done(&mut self) -> Result<Option<FinishedChore>> {
        match self.finished.try_recv() {
            Ok(finished) => {
                self.is_busy = false;
                Ok(Some(finished))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err("the keeper died".into()),
        }
    }

    pub fn wait(&mut self) -> Result<FinishedChore> {
        self.is_busy = false;
        self.finished.recv().map_err(|_| "the keeper died".into())
    }
}
