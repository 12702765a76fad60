//! What the event loop has done elsewhere, and what it tells the node's handles.

use std::collections::HashSet;
use std::time::Duration;

use super::errands::guarded;
use super::event_loop::EventLoop;
use crate::ids::NodeId;
use crate::log::Admission;
use crate::replica::{Event, PeerIdentity};

/// How long a node without work waits before the journal is sealed.
const IDLE: Duration = Duration::from_secs(1);

impl EventLoop {
    /// Starts housekeeping of the log that is due, on a thread that may wait, and takes in what was done.
    pub(super) fn keep_house(&mut self) {
        if let Some(finished) = self.node.finished_chore() {
            self.chore_running = false;
            self.chore_due = true;
            if let Err(error) = finished.and_then(|finished| self.log.finish_chore(finished)) {
                self.storage_failed(error);
            }
        }
        if self.chore_running || self.failure.is_some() || !self.chore_due {
            return;
        }
        self.chore_due = false;
        let idle = self.now().saturating_duration_since(self.last_busy) >= IDLE;
        let Some(chore) = self.log.begin_chore(idle) else { return };
        self.chore_running = true;
        let node = self.node.clone();
        self.node.housekeepers.run(move || {
            node.chore_finished(guarded("housekeeping of the log", || Ok(chore.run())));
        });
    }

    /// Tells every replica when the log no longer admits entries, or does again.
    pub(super) fn update_space(&mut self) {
        let admission = self.log.admission(0);
        if admission == self.admission {
            return;
        }
        match admission {
            Admission::Admitted => tracing::info!("the log takes proposals again"),
            Admission::Behind => {
                tracing::warn!("the log is behind: proposals are refused until it has caught up")
            }
            Admission::Full => {
                tracing::error!("the disk is full: proposals are refused until there is space")
            }
        }
        self.admission = admission;
        for key in self.keys_of_running_groups() {
            self.step(key, Event::Space { admission });
        }
    }

    /// Tells the transport whom to be connected to: the peers of all groups together.
    pub(super) fn update_peers(&mut self) {
        let listed = || self.groups.values().flat_map(|hosted| &hosted.peers);
        let mut seen = HashSet::new();
        let mut peers: Vec<(PeerIdentity, String)> =
            listed().filter(|listing| seen.insert(*listing)).cloned().collect();
        // While a group forms it does not know its peers' incarnations; another group may.
        let known = peers.iter().filter(|(peer, _)| !peer.incarnation.is_nil());
        let known: HashSet<NodeId> = known.map(|(peer, _)| peer.node_id).collect();
        peers.retain(|(peer, _)| !peer.incarnation.is_nil() || !known.contains(&peer.node_id));
        self.network.set_peers(&peers);
    }

    /// Tells the node's handles how things stand.
    pub(super) fn publish_node(&mut self) {
        self.network.set_position(self.log.status().durable_lsn);
        let (network, log) = (self.network.status(), self.log.status());
        let (groups, failure) = (self.groups.len() as u64, self.failure.clone());
        self.node.publish(|status| {
            status.groups = groups;
            status.connected_peers = network.connected_peers;
            status.refused_frames = network.refused_frames;
            status.refused_connections = network.refused_connections;
            status.log = log;
            status.failure = failure;
        });
    }
}
