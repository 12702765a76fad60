//! Before a membership change: the nodes to be added are asked who they are.
//!
//! A member is known by its node id and its incarnation, and only the node itself can tell the latter. So a change that
//! adds nodes first dials each of them, on a thread that may wait; the others go to the replica at once.

use std::time::Duration;

use super::node_handle::NodeHandle;
use super::system::Dial;
use crate::error::Result;
use crate::group::Change;
use crate::ids::{NodeId, Uuid};
use crate::replica::MemberChange;
use crate::wire::Intent;

/// How long a node to be added may take to answer.
const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a node has to be asked who it is before this can be proposed.
pub(super) fn adds_nodes(change: &Change) -> bool {
    matches!(change, Change::AddLearner { .. } | Change::AddVoter { .. })
}

/// Blocks for each node to be added, up to five seconds.
pub(super) fn resolve_all(node: &NodeHandle, changes: Vec<Change>) -> Result<Vec<MemberChange>> {
    changes.into_iter().map(|change| resolve(node, change)).collect()
}

fn resolve(node: &NodeHandle, change: Change) -> Result<MemberChange> {
    Ok(match change {
        Change::AddLearner { node_id, address } => {
            let incarnation = ask_incarnation(node, node_id, &address)?;
            MemberChange::AddLearner { node_id, incarnation, address }
        }
        Change::AddVoter { node_id, address } => {
            let incarnation = ask_incarnation(node, node_id, &address)?;
            MemberChange::AddVoter { node_id, incarnation, address }
        }
        Change::Promote { node_id } => MemberChange::Promote { node_id },
        Change::Demote { node_id } => MemberChange::Demote { node_id },
        Change::Remove { node_id } => MemberChange::Remove { node_id },
        Change::SetAddress { node_id, address } => MemberChange::SetAddress { node_id, address },
    })
}

fn ask_incarnation(node: &NodeHandle, node_id: NodeId, address: &str) -> Result<Uuid> {
    let (intent, timeout) = (Intent::Identity, INTRODUCTION_TIMEOUT);
    let (_connection, peer, _line) = node.dial(&Dial { address, intent, node_id, timeout })?;
    Ok(peer.incarnation)
}
