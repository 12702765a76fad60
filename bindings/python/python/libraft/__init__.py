"""libraft: a program becomes a member of a Raft cluster.

Open a Node, start a Group on it with a StateMachine of yours, propose. What takes time returns a
Future: await it, or call its `result()`.

    with libraft.Node.open(cluster="hello", node_id=1, directory="data") as node:
        group = node.start_group(1, machine, initial_members={1: "127.0.0.1:0"})
        group.wait_ready().result()
        print(group.propose(b"hello").result())
"""

import atexit as _atexit

# First of all, for it refuses interpreters that cannot work.
from libraft import _support as _support  # isort: skip
from libraft._libraft import Completion, Entry, Future, Group, Node, close_all_at_exit, version
from libraft.errors import *  # noqa: F403
from libraft.errors import Code, Error, Leader, Outcome
from libraft.errors import __all__ as _errors
from libraft.events import Event, EventKind, Events
from libraft.machine import ConcurrentStateMachine, OnDiskStateMachine, StateMachine
from libraft.membership import Change, Member, MemberRole
from libraft.snapshot import SnapshotReader, SnapshotWriter
from libraft.status import GroupStatus, NodeStatus, Role

__version__ = version()
__all__ = [
    "Change",
    "Code",
    "Completion",
    "ConcurrentStateMachine",
    "Entry",
    "Error",
    "Event",
    "EventKind",
    "Events",
    "Future",
    "Group",
    "GroupStatus",
    "Leader",
    "Member",
    "MemberRole",
    "Node",
    "NodeStatus",
    "OnDiskStateMachine",
    "Outcome",
    "Role",
    "SnapshotReader",
    "SnapshotWriter",
    "StateMachine",
    "version",
]
__all__ += _errors

# No thread of the library may call the program when the interpreter is gone.
_atexit.register(close_all_at_exit)
