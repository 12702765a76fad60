"""What nodes and groups say of themselves."""

import enum
from dataclasses import dataclass
from typing import Any

from libraft.errors import Error, Leader


class Role(str, enum.Enum):
    """What a node is in a group."""

    FORMING = "forming"
    """An initial member that has not met all others, or one that waits to be added."""
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre_candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"
    LEARNER = "learner"
    STOPPED = "stopped"
    """Stopped by a failure, or removed from the group."""

    __str__ = str.__str__


@dataclass(frozen=True)
class NodeStatus:
    """What a node says of itself."""

    cluster: str
    node_id: int
    incarnation: str
    """The UUID of this data directory."""
    boot_counter: int
    """How often the data directory was opened."""
    address: str
    """The address that peers should connect to, with the actual port."""
    groups: int
    connected_peers: int
    refused_frames: int
    """Since the node was opened, as is refused_connections."""
    refused_connections: int
    journal_bytes: int
    checkpoint_bytes: int
    segments: int
    """Segments of the journal in use."""
    full: bool
    """Whether new entries are refused for want of space."""
    failure: Error | None
    """What put the whole node out of service, if anything did."""


@dataclass(frozen=True)
class GroupStatus:
    """What a group says of its replica on this node."""

    group_id: int
    raft_id: int
    """What the group knows this replica by; a wiped node comes back with another one."""
    role: Role
    term: int
    leader: Leader | None
    first_index: int
    last_index: int
    commit_index: int
    applied_index: int
    """What the state machine has applied."""
    snapshot_index: int
    pending_proposals: int
    pending_bytes: int
    failure: Error | None
    """What put the group out of service on this node, if anything did."""


def group_from_core(*, role: str, leader: "tuple[int, str] | None", **fields: Any) -> GroupStatus:
    """A status of the native half."""
    known = None if leader is None else Leader(*leader)
    return GroupStatus(role=Role(role), leader=known, **fields)
