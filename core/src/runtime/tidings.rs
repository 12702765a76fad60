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
    /// Adds to `leaving` what is to leave now because of a message: all but tidings. What was held for the same replica goes
    /// before it, since a leader that hands over its term must have told everything in it; but an append takes its place:
    /// it tells the commit index as well, which never goes back, and Raft bears the loss of any message.
    fn sift(&mut self, node_id: NodeId, envelope: Envelope, leaving: &mut Vec<(NodeId, Envelope)>) {
        let held = self.held.iter().position(|(_, held)| held.to == envelope.to);
        let held = held.map(|position| self.held.remove(position));
        match entries_appended(&envelope) {
            Some(0) => self.held.push((node_id, envelope)),
            Some(_) => leaving.push((node_id, envelope)),
            None => {
                leaving.extend(held);
                leaving.push((node_id, envelope));
            }
        }
    }
}

/// How many entries an append has; `None` for any other message.
fn entries_appended(envelope: &Envelope) -> Option<usize> {
    match &envelope.body {
        PeerMessage::Raft(message) if message.get_msg_type() == MessageType::MsgAppend => {
            Some(message.entries.len())
        }
        _ => None,
    }
}

impl EventLoop {
    /// Hands what a replica says to the network, but for tidings.
    pub(super) fn send_or_hold(&mut self, key: GroupKey, messages: &mut Vec<(NodeId, Envelope)>) {
        let Some(hosted) = self.groups.get_mut(&key) else { return };
        let had_tidings = !hosted.tidings.held.is_empty();
        let mut leaving = Vec::with_capacity(messages.len());
        for (node_id, envelope) in messages.drain(..) {
            hosted.tidings.sift(node_id, envelope, &mut leaving);
        }
        leaving.retain(|(node_id, envelope)| !self.network.send(*node_id, envelope));
        if !had_tidings && !hosted.tidings.held.is_empty() {
            self.with_tidings.push(key);
        }
        self.not_sent(key, leaving);
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

    /// Sifts a message, and returns the kinds of those that leave with it.
    fn sift(tidings: &mut Tidings, envelope: Envelope) -> Vec<MessageType> {
        let mut leaving = Vec::new();
        tidings.sift(envelope.to, envelope, &mut leaving);
        let kind = |(_, envelope): &(NodeId, Envelope)| match &envelope.body {
            PeerMessage::Raft(message) => message.get_msg_type(),
            _ => MessageType::MsgHup,
        };
        leaving.iter().map(kind).collect()
    }

    #[test]
    fn only_appends_without_entries_are_held() {
        let mut tidings = Tidings::default();
        for kind in [MessageType::MsgHeartbeat, MessageType::MsgAppendResponse] {
            assert_eq!(sift(&mut tidings, envelope(kind, 2, 5, 0)), [kind]);
        }
        assert_eq!(sift(&mut tidings, append(2, 5, 1)), [MessageType::MsgAppend]);
        assert!(held(&tidings).is_empty());
        assert!(sift(&mut tidings, append(2, 5, 0)).is_empty());
        assert_eq!(held(&tidings), [(2, 5)]);
    }

    #[test]
    fn entries_take_the_place_of_the_tidings_for_their_receiver_alone() {
        let mut tidings = Tidings::default();
        sift(&mut tidings, append(2, 5, 0));
        sift(&mut tidings, append(3, 5, 0));
        assert_eq!(sift(&mut tidings, append(2, 5, 1)), [MessageType::MsgAppend]);
        assert_eq!(held(&tidings), [(3, 5)]);
    }

    #[test]
    fn the_latest_tidings_are_held() {
        let mut tidings = Tidings::default();
        sift(&mut tidings, append(2, 5, 0));
        sift(&mut tidings, append(2, 6, 0));
        assert_eq!(held(&tidings), [(2, 6)]);
    }

    /// Who hears first that he is to campaign in a new term drops tidings of the old one.
    #[test]
    fn no_other_message_overtakes_tidings() {
        let mut tidings = Tidings::default();
        sift(&mut tidings, append(2, 5, 0));
        sift(&mut tidings, append(3, 5, 0));
        let handover = envelope(MessageType::MsgTimeoutNow, 2, 0, 0);
        let order = [MessageType::MsgAppend, MessageType::MsgTimeoutNow];
        assert_eq!(sift(&mut tidings, handover), order);
        assert_eq!(held(&tidings), [(3, 5)]);
    }
}
