//! Tidings: messages that only tell a follower how far the log is committed.
//!
//! raft-rs makes one for each follower as soon as it knows. But what is committed completes calls, and whoever made those
//! often makes the next at once: its entries tell the same followers the same. So tidings wait for the end of the turn.
//! With one call in flight that spares half of all messages, and of their answers.

use raft::eraftpb::MessageType;

use super::event_loop::EventLoop;
use super::inbox::GroupKey;
use crate::ids::NodeId;
use crate::replica::{Envelope, Event, PeerMessage};

/// What waits in one group: at most one message for each follower.
#[derive(Default)]
pub(super) struct Tidings {
    held: Vec<(NodeId, Envelope)>,
}

impl Tidings {
    /// Keeps a message without entries, and gives back any other. An append makes what is kept for the same replica
    /// useless: each tells the commit index, which never goes back, and Raft bears the loss of any message.
    fn sift(&mut self, node_id: NodeId, envelope: Envelope) -> Option<Envelope> {
        let PeerMessage::Raft(message) = &envelope.body else { return Some(envelope) };
        if message.get_msg_type() != MessageType::MsgAppend {
            return Some(envelope);
        }
        self.held.retain(|(_, held)| held.to != envelope.to);
        if !message.entries.is_empty() {
            return Some(envelope);
        }
        self.held.push((node_id, envelope));
        None
    }
}

impl EventLoop {
    /// Hands what a replica says to the network, but for tidings.
    pub(super) fn send_or_hold(&mut self, key: GroupKey, messages: &mut Vec<(NodeId, Envelope)>) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        let had_tidings = !hosted.tidings.held.is_empty();
        let mut dropped = Vec::new();
        for (node_id, envelope) in messages.drain(..) {
            let Some(envelope) = hosted.tidings.sift(node_id, envelope) else { continue };
            if !self.network.send(node_id, &envelope) {
                dropped.push((node_id, envelope));
            }
        }
        if !had_tidings && !hosted.tidings.held.is_empty() {
            self.with_tidings.push(key);
        }
        self.not_sent(key, dropped);
    }

    /// Hands over the tidings that nothing has superseded.
    pub(super) fn send_tidings(&mut self) {
        for key in std::mem::take(&mut self.with_tidings) {
            let Some(hosted) = self.groups.get_mut(&key) else { continue };
            let mut held = std::mem::take(&mut hosted.tidings.held);
            held.retain(|(node_id, envelope)| !self.network.send(*node_id, envelope));
            self.not_sent(key, held);
        }
    }

    /// Tells a replica what the network did not take: raft-rs must not believe that it is on its way.
    fn not_sent(&mut self, key: GroupKey, dropped: Vec<(NodeId, Envelope)>) {
        let mut unreachable = Vec::new();
        for (node_id, envelope) in dropped {
            if !unreachable.contains(&node_id) {
                unreachable.push(node_id);
            }
            if let PeerMessage::Propose { .. } = &envelope.body {
                self.step(key, Event::NotSent { envelope });
            }
        }
        for node_id in unreachable {
            self.step(key, Event::Unreachable { node_id });
        }
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::{Entry, Message};

    use super::*;
    use crate::ids::{RaftId, Uuid};

    fn envelope(kind: MessageType, to: RaftId, commit: u64, entries: usize) -> Envelope {
        let mut message = Message { to, commit, ..Message::default() };
        message.set_msg_type(kind);
        message.set_entries(vec![Entry::default(); entries].into());
        Envelope {
            group_id: 1,
            formation: Uuid::NIL,
            from: 1,
            to,
            to_incarnation: Uuid::NIL,
            body: PeerMessage::Raft(message),
        }
    }

    fn append(to: RaftId, commit: u64, entries: usize) -> Envelope {
        envelope(MessageType::MsgAppend, to, commit, entries)
    }

    /// To whom tidings are held, and of which commit index.
    fn held(tidings: &Tidings) -> Vec<(NodeId, u64)> {
        let commit = |envelope: &Envelope| match &envelope.body {
            PeerMessage::Raft(message) => message.commit,
            _ => 0,
        };
        tidings.held.iter().map(|(node_id, envelope)| (*node_id, commit(envelope))).collect()
    }

    #[test]
    fn only_appends_without_entries_are_held() {
        let mut tidings = Tidings::default();
        assert!(tidings.sift(2, append(2, 5, 1)).is_some());
        assert!(tidings.sift(2, envelope(MessageType::MsgHeartbeat, 2, 5, 0)).is_some());
        assert!(tidings.sift(2, envelope(MessageType::MsgAppendResponse, 2, 5, 0)).is_some());
        assert!(held(&tidings).is_empty());
        assert!(tidings.sift(2, append(2, 5, 0)).is_none());
        assert_eq!(held(&tidings), [(2, 5)]);
    }

    #[test]
    fn entries_supersede_the_tidings_of_their_receiver_alone() {
        let mut tidings = Tidings::default();
        tidings.sift(2, append(2, 5, 0));
        tidings.sift(3, append(3, 5, 0));
        assert!(tidings.sift(2, append(2, 5, 1)).is_some());
        assert_eq!(held(&tidings), [(3, 5)]);
    }

    #[test]
    fn the_latest_tidings_are_held() {
        let mut tidings = Tidings::default();
        tidings.sift(2, append(2, 5, 0));
        tidings.sift(2, append(2, 6, 0));
        assert_eq!(held(&tidings), [(2, 6)]);
    }
}
