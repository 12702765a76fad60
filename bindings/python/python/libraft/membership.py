"""Who belongs to a group, and the steps by which that changes."""

import enum
from dataclasses import dataclass


class MemberRole(str, enum.Enum):
    """What a member is."""

    VOTER = "voter"
    LEARNER = "learner"
    """Gets all entries, and does not vote."""
    OUTGOING = "outgoing"
    """Votes until the change in progress is complete."""

    __str__ = str.__str__


@dataclass(frozen=True)
class Member:
    """A member of a group."""

    raft_id: int
    node_id: int
    incarnation: str
    """The UUID of its data directory."""
    address: str
    role: MemberRole


@dataclass(frozen=True)
class Change:
    """A step of a membership change: see `Group.change_membership`. Made by the methods below."""

    kind: str
    node_id: int
    address: str = ""

    @classmethod
    def add_learner(cls, node_id: int, address: str) -> "Change":
        """Adds a node that gets all entries, and does not vote."""
        return cls("add_learner", node_id, address)

    @classmethod
    def add_voter(cls, node_id: int, address: str) -> "Change":
        """Adds a node that votes."""
        return cls("add_voter", node_id, address)

    @classmethod
    def promote(cls, node_id: int) -> "Change":
        """Makes a learner a voter."""
        return cls("promote", node_id)

    @classmethod
    def demote(cls, node_id: int) -> "Change":
        """Makes a voter a learner."""
        return cls("demote", node_id)

    @classmethod
    def remove(cls, node_id: int) -> "Change":
        """Removes a member."""
        return cls("remove", node_id)

    @classmethod
    def set_address(cls, node_id: int, address: str) -> "Change":
        """Tells the members another address of one of them."""
        return cls("set_address", node_id, address)


def member_from_core(
    raft_id: int, node_id: int, incarnation: str, address: str, role: str
) -> Member:
    """A member of the native half."""
    return Member(raft_id, node_id, incarnation, address, MemberRole(role))
