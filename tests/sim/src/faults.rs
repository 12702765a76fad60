//! Troubles: what happens to nodes, links, disks and clocks, and when it is over.

use crate::event::{Event, Relief, Time, MS, SECOND};
use crate::network::{Link, Weather};
use crate::settings::Fault;
use crate::world::{World, BARRIER_MAX};

/// Troubles that begin at some moment. The others are there all the time.
const MOMENTS: [Fault; 17] = [
    Fault::Partition,
    Fault::SlowLink,
    Fault::Disconnect,
    Fault::PowerCut,
    Fault::Kill,
    Fault::Restart,
    Fault::SlowDisk,
    Fault::FullDisk,
    Fault::WriteError,
    Fault::SyncError,
    Fault::BitFlip,
    Fault::Wipe,
    Fault::OldImage,
    Fault::ClockSkew,
    Fault::ClockJump,
    Fault::Pause,
    Fault::StopGroup,
];

impl World {
    /// What the network does to messages all the time.
    pub fn set_weather(&mut self) {
        let often = [10, 30, 100, 300];
        let mut drawn = || self.random.pick(&often).copied().unwrap_or(100);
        let (lost, doubled, reordered) = (drawn(), drawn(), drawn());
        let delay_max = self.random.between(1, 30) * MS;
        let when = |fault, once_in| if self.faults.contains(&fault) { once_in } else { 0 };
        let weather = Weather {
            lost_once_in: when(Fault::Loss, lost),
            doubled_once_in: when(Fault::Duplication, doubled),
            reordered_once_in: when(Fault::Reordering, reordered),
            delay_max,
        };
        self.hub.core().net.weather = weather;
    }

    /// The next trouble begins.
    pub fn trouble(&mut self) {
        if self.healing {
            return;
        }
        let calm = self.random.between(10 * MS, self.calm_max);
        self.hub.core().after(calm, Event::Trouble);
        let node = self.random.below(self.nodes.len() as u64) as usize;
        // Drawn among all, so that leaving one out changes little else.
        let Some(fault) = self.random.pick(&MOMENTS).copied() else { return };
        if !self.has(fault) {
            return;
        }
        let lasts = self.random.skewed(50, 8_000) * MS;
        self.begin_trouble(fault, node, lasts);
    }

    fn begin_trouble(&mut self, fault: Fault, node: usize, lasts: Time) {
        self.hub.note(|| format!("trouble: {fault} at node {} for {} ms", node + 1, lasts / 1000));
        let frozen = self.now() < self.frozen_until;
        match fault {
            Fault::Partition => self.partition(lasts),
            Fault::SlowLink => self.slow_link(node, lasts),
            Fault::Disconnect => self.disconnect(node),
            Fault::PowerCut | Fault::Kill | Fault::Restart | Fault::Wipe if frozen => {}
            Fault::PowerCut => self.down(node, true, lasts),
            Fault::Kill => self.down(node, false, lasts),
            Fault::Restart => drop(self.close(node, lasts / 10)),
            Fault::SlowDisk => {
                self.hub.count("slow disks");
                self.nodes[node].barrier_max = self.random.between(30, 4_000) * MS;
                self.relief(lasts, Relief::Disk { node });
            }
            Fault::FullDisk => self.fill_disk(node, lasts),
            Fault::WriteError => {
                self.hub.count("write errors ordered");
                self.nodes[node].disk.fail_writes(true);
                self.nodes[node].disk_fails = true;
                self.relief(lasts, Relief::Disk { node });
            }
            Fault::SyncError => {
                self.hub.count("sync errors ordered");
                self.nodes[node].disk.fail_syncs(true);
                self.nodes[node].disk_fails = true;
                self.relief(lasts, Relief::Disk { node });
            }
            Fault::BitFlip => self.nodes[node].flip |= self.close(node, SECOND),
            Fault::Wipe if self.can_lose(node) => {
                self.crash(node, false, lasts);
                self.wipe(node);
            }
            Fault::OldImage => self.set_back(node),
            Fault::ClockSkew => self.skew(node, lasts),
            Fault::ClockJump => self.jump(node),
            Fault::Pause => {
                self.hub.count("pauses");
                let until = self.now() + lasts;
                self.nodes[node].paused_until = until;
            }
            Fault::StopGroup => self.stop_some_group(node, lasts),
            _ => {}
        }
    }

    fn relief(&self, after: Time, relief: Relief) {
        self.hub.core().after(after, Event::Relief(relief));
    }

    /// A trouble is over.
    pub fn relieve(&mut self, relief: Relief) {
        match relief {
            Relief::Links => self.hub.core().net.heal(),
            Relief::Disk { node } => self.heal_disk(node),
            Relief::Clock { node } => {
                let mut core = self.hub.core();
                let now = core.now;
                core.nodes[node].set_rate(now, 1_000_000);
            }
            Relief::OldImage { node } => self.empty_set_back(node),
            // None of those ends who witness that a node's image is old.
            Relief::Kill { .. } if self.now() < self.frozen_until => {
                self.relief(self.frozen_until - self.now(), relief);
            }
            Relief::Kill { node, life } => {
                if self.nodes[node].in_life(life).is_some() {
                    self.down(node, false, SECOND);
                }
            }
        }
    }

    pub fn heal_disk(&mut self, node: usize) {
        let known = &mut self.nodes[node];
        known.barrier_max = BARRIER_MAX;
        known.disk_fails = false;
        known.disk.fail_writes(false);
        known.disk.fail_syncs(false);
        known.disk.set_capacity(None);
    }

    /// Ends the process of a node that is out of service, after a while.
    pub fn schedule_kill(&mut self, node: usize, after: Time) {
        let Some(running) = &mut self.nodes[node].running else { return };
        if !std::mem::replace(&mut running.killed, true) {
            let life = running.life.id;
            self.relief(after, Relief::Kill { node, life });
        }
    }

    pub fn down(&mut self, node: usize, power: bool, lasts: Time) {
        if self.nodes[node].running.is_none() {
            return;
        }
        self.hub.count(if power { "power cuts" } else { "kills" });
        self.crash(node, power, lasts);
    }

    /// Closes a node in peace. Whether it could be begun.
    pub fn close(&mut self, node: usize, reopen_after: Time) -> bool {
        let known = &mut self.nodes[node];
        if !known.serves() {
            return false;
        }
        let Some(running) = &mut known.running else { return false };
        running.reopen_after = reopen_after;
        // What is called when it is closed is of no interest: the world sees the end itself.
        running.stepped.node().close_async(Box::new(|_| {}));
        true
    }

    fn partition(&mut self, lasts: Time) {
        self.hub.count("partitions");
        let count = self.nodes.len();
        let side: Vec<bool> = (0..count).map(|_| self.random.once_in(2)).collect();
        // Both ways, or one of them.
        let ways = self.random.below(4);
        let mut core = self.hub.core();
        for from in 0..count {
            for to in (0..count).filter(|to| side[from] != side[*to]) {
                if ways > 0 || side[from] {
                    core.net.link(from, to).blocked = true;
                }
                let within = 100 * MS + core.random.below(3 * SECOND);
                for connection in core.connections_between(from, to) {
                    core.close(connection, within);
                }
            }
        }
        drop(core);
        self.relief(lasts, Relief::Links);
    }

    fn slow_link(&mut self, node: usize, lasts: Time) {
        self.hub.count("slow links");
        let other = self.random.below(self.nodes.len() as u64) as usize;
        let link = Link {
            blocked: false,
            byte_ns: self.random.skewed(1, 100_000),
            delay: self.random.skewed(1, 500) * MS,
        };
        *self.hub.core().net.link(node, other) = link;
        self.relief(lasts, Relief::Links);
    }

    fn disconnect(&mut self, node: usize) {
        self.hub.count("disconnects");
        let other = self.random.below(self.nodes.len() as u64) as usize;
        let mut core = self.hub.core();
        for connection in core.connections_between(node, other) {
            core.close(connection, 100 * MS);
        }
    }

    fn fill_disk(&mut self, node: usize, lasts: Time) {
        self.hub.count("full disks");
        let disk = &self.nodes[node].disk;
        let room = self.random.skewed(1, 200_000);
        disk.set_capacity(Some(disk.used_bytes() + room));
        self.relief(lasts, Relief::Disk { node });
    }

    fn skew(&mut self, node: usize, lasts: Time) {
        self.hub.count("skewed clocks");
        let rate = self.random.between(700_000, 1_400_000);
        let mut core = self.hub.core();
        let now = core.now;
        core.nodes[node].set_rate(now, rate);
        drop(core);
        self.relief(lasts, Relief::Clock { node });
    }

    fn jump(&mut self, node: usize) {
        self.hub.count("jumps of clocks");
        let by = self.random.skewed(1, 60_000) * MS;
        let mut core = self.hub.core();
        let now = core.now;
        core.nodes[node].jump(now, by);
        core.turn_at(node, now);
    }

    fn stop_some_group(&mut self, node: usize, lasts: Time) {
        let Some(running) = &self.nodes[node].running else { return };
        let groups: Vec<u64> = running.groups.keys().copied().collect();
        let Some(group_id) = self.random.pick(&groups).copied() else { return };
        if running.groups.get(&group_id).is_some_and(|hosted| !hosted.stopping) {
            self.stop_group(node, group_id, lasts / 4);
        }
    }

    /// Flips a bit of some file of a node that was closed in peace.
    pub fn flip_bit(&mut self, node: usize) {
        if !std::mem::take(&mut self.nodes[node].flip) || !self.can_lose(node) {
            return;
        }
        let disk = &self.nodes[node].disk;
        let in_log = |(path, length): &(std::path::PathBuf, u64)| {
            *length > 0 && !path.starts_with("snapshots")
        };
        let files: Vec<_> = disk.files().into_iter().filter(in_log).collect();
        let Some((path, length)) = self.random.pick(&files).cloned() else { return };
        // The beginnings of files have more to say than their ends, which may be unused.
        let offset = self.random.skewed(0, length - 1);
        let bit = self.random.below(8) as u32;
        self.hub.note(|| {
            format!("node {}: {} has a bit flipped at {offset}", node + 1, path.display())
        });
        if disk.damage(&path, offset, bit).is_ok() {
            self.hub.count("flipped bits");
            self.nodes[node].damaged = true;
        }
    }

    /// Puts an older image of a node's directory back. Raft does not promise to survive it; its peers must refuse the
    /// node, as long as one of their lives lasts. So none of them ends before the directory is emptied.
    fn set_back(&mut self, node: usize) {
        let Some(life) = self.nodes[node].life().cloned() else { return };
        if !self.can_lose(node) || !self.is_witnessed(&life) {
            return;
        }
        let Some((disk, stores)) = self.nodes[node].image.take() else { return };
        self.hub.count("older images put back");
        self.crash(node, false, SECOND);
        self.lose(node);
        let known = &mut self.nodes[node];
        (known.disk, known.stores, known.set_back) = (disk, stores, true);
        self.frozen_until = self.now() + 6 * SECOND;
        self.relief(5 * SECOND, Relief::OldImage { node });
    }

    /// Whether every other node has heard in its present life how often this one was opened.
    fn is_witnessed(&self, life: &crate::hub::Life) -> bool {
        let core = self.hub.core();
        let heard = |other: usize| {
            let to = (other, core.nodes[other].life);
            let mut connections = core.net.connections.values();
            to.1 != 0
                && connections.any(|known| {
                    known.from == (life.node, life.id) && known.to == to && known.carries_messages()
                })
        };
        (0..self.nodes.len()).filter(|other| *other != life.node).all(heard)
    }

    fn empty_set_back(&mut self, node: usize) {
        if !self.nodes[node].set_back {
            return;
        }
        self.crash(node, false, SECOND);
        self.wipe(node);
        self.frozen_until = 0;
    }
}
