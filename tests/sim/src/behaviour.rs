//! How the program's callbacks of a world behave: quick or slow, answering at once or later, calling back, failing.

use std::time::Duration;

use libraft::machine::MachineKind;

use crate::event::{Time, MS};
use crate::hub::Life;
use crate::random::Random;
use crate::settings::Fault;
use crate::system::sleep;

/// How often something happens: once in so many times, and never for 0.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    pub slow_once_in: u64,
    pub failing_once_in: u64,
    pub pending_once_in: u64,
    pub reentrant_once_in: u64,
}

impl Behaviour {
    pub fn drawn(random: &mut Random, has: &dyn Fn(Fault) -> bool) -> Behaviour {
        let mut often = |fault: Fault, least: u64, most: u64| {
            let once_in = random.between(least, most);
            if has(fault) {
                once_in
            } else {
                0
            }
        };
        Behaviour {
            slow_once_in: often(Fault::SlowCallback, 10, 100),
            failing_once_in: often(Fault::FailingCallback, 100, 1000),
            pending_once_in: often(Fault::PendingCallback, 2, 20),
            reentrant_once_in: often(Fault::Reentrant, 5, 50),
        }
    }

    fn draw(life: &Life, once_in: u64, what: &'static str) -> bool {
        let mut core = life.hub.core();
        let drawn = core.random.once_in(once_in);
        if drawn {
            core.counters.count(what);
        }
        drawn
    }

    /// Blocks the thread for a while, now and then.
    pub fn dawdle(&self, life: &Life) {
        if !life.is_over() && Behaviour::draw(life, self.slow_once_in, "slow callbacks") {
            let length = life.hub.core().random.skewed(1, 2_000);
            sleep(life, Duration::from_millis(length));
        }
    }

    pub fn fails(&self, life: &Life) -> bool {
        life.is_over() || Behaviour::draw(life, self.failing_once_in, "failing callbacks")
    }

    pub fn calls_back(&self, life: &Life) -> bool {
        !life.is_over() && Behaviour::draw(life, self.reentrant_once_in, "re-entrant calls")
    }

    /// After how long a request is answered: `None` for at once.
    pub fn answers_after(&self, life: &Life) -> Option<Time> {
        let pending = Behaviour::draw(life, self.pending_once_in, "pending callbacks");
        pending.then(|| life.hub.core().random.skewed(1, 1_000) * MS / 2)
    }
}

/// What the machines of a group are like, on all nodes.
#[derive(Clone, Debug)]
pub struct MachineShape {
    pub kind: MachineKind,
    pub quick: bool,
    /// Bytes that a saved state has beside the registers.
    pub padding: usize,
}

impl MachineShape {
    pub fn drawn(random: &mut Random) -> MachineShape {
        let kinds = [MachineKind::InMemory, MachineKind::Concurrent, MachineKind::OnDisk];
        let kind = *random.pick(&kinds).unwrap_or(&MachineKind::InMemory);
        MachineShape { kind, quick: random.once_in(2), padding: random.skewed(1, 200_000) as usize }
    }
}
