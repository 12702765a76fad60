//! Before a membership change: the nodes to be added are asked who they are.
//!
//! A member is known by its node id and its incarnation, and only the node itself can tell the latter. So a change that
//! adds nodes first dials each of them, on a thread that may wait; the others go to the replica at once.

use std::sync::Arc;
use std::time::Duration;

use super::call::Call;
use super::group_handle::GroupHandle;
use super::inbox::Command;
use super::node_handle::NodeHandle;
use crate::error::Result;
use crate::group::{Change, Completer};
use crate::ids::{NodeId, Uuid};
use crate::replica::{Event, MemberChange};
use crate::transport::dial_blocking;
use crate::wire::Intent;

/// How long a node to be added may take to answer.
const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn change_membership(
    node: &Arc<NodeHandle>,
    group: &Arc<GroupHandle>,
    changes: Vec<Change>,
    timeout_ticks: u64,
    completer: Completer,
) -> Result<()> {
    let completion = Call::One { completer, bytes: 0 };
    let adds =
        |change: &Change| matches!(change, Change::AddLearner { .. } | Change::AddVoter { .. });
    if !changes.iter().any(adds) {
        return resolve_and_send(node, group, changes, timeout_ticks, completion);
    }
    let (courier_node, group) = (node.clone(), group.clone());
    node.couriers.run(move || {
        // Whatever fails is told to the call's completion.
        let _ = resolve_and_send(&courier_node, &group, changes, timeout_ticks, completion);
    });
    Ok(())
}

fn resolve_and_send(
    node: &NodeHandle,
    group: &GroupHandle,
    changes: Vec<Change>,
    timeout_ticks: u64,
    completion: Call,
) -> Result<()> {
    let resolved: Result<Vec<MemberChange>> =
        changes.into_iter().map(|change| resolve(node, change)).collect();
    let command = match resolved {
        Ok(change) => {
            let event = Event::ChangeMembership { change, completion, timeout_ticks };
            Command::Event { key: group.key, event }
        }
        Err(error) => Command::Refuse { key: group.key, call: completion, error },
    };
    node.command(command)
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
    let (_connection, peer) = dial_blocking(
        &node.introduction(),
        address,
        Intent::Identity,
        node_id,
        INTRODUCTION_TIMEOUT,
    )?;
    Ok(peer.incarnation)
}
