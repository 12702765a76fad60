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
from libraft.errors import (
    AddressInUseError,
    AddressInvalidError,
    ApplyFailedError,
    ArgumentTypeError,
    BusyError,
    ClosedError,
    Code,
    CorruptedError,
    DirectoryInUseError,
    EmptyProposalError,
    Error,
    ForkedError,
    FormingError,
    GroupExistsError,
    GroupNotFoundError,
    HandshakeRefusedError,
    InitialMembersConflictError,
    InsecureAddressError,
    InternalError,
    InvalidArgumentError,
    InvalidHandleError,
    InvalidSizeError,
    InvalidUtf8Error,
    IoError,
    Leader,
    MachineAheadError,
    MembershipBusyError,
    MembershipInvalidError,
    NewerFormatError,
    NoLeaderError,
    NoSpaceError,
    NotLeaderError,
    OpenFailedError,
    Outcome,
    OutcomeLostError,
    OverwrittenError,
    PanickedError,
    PermissionDeniedError,
    RemovedError,
    RestoreFailedError,
    SaveFailedError,
    StoppedError,
    StorageFailedError,
    SyncFailedError,
    TimeoutError,
    TooLargeError,
    UnknownMemberError,
    UnreachableError,
    UnsupportedError,
    WouldDeadlockError,
    WrongIdentityError,
)
from libraft.events import Event, EventKind, Events
from libraft.machine import ConcurrentStateMachine, OnDiskStateMachine, StateMachine
from libraft.membership import Change, Member, MemberRole
from libraft.snapshot import SnapshotReader, SnapshotWriter
from libraft.status import GroupStatus, NodeStatus, Role

__version__ = version()
__all__ = [
    "AddressInUseError",
    "AddressInvalidError",
    "ApplyFailedError",
    "ArgumentTypeError",
    "BusyError",
    "Change",
    "ClosedError",
    "Code",
    "Completion",
    "ConcurrentStateMachine",
    "CorruptedError",
    "DirectoryInUseError",
    "EmptyProposalError",
    "Entry",
    "Error",
    "Event",
    "EventKind",
    "Events",
    "ForkedError",
    "FormingError",
    "Future",
    "Group",
    "GroupExistsError",
    "GroupNotFoundError",
    "GroupStatus",
    "HandshakeRefusedError",
    "InitialMembersConflictError",
    "InsecureAddressError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidHandleError",
    "InvalidSizeError",
    "InvalidUtf8Error",
    "IoError",
    "Leader",
    "MachineAheadError",
    "Member",
    "MemberRole",
    "MembershipBusyError",
    "MembershipInvalidError",
    "NewerFormatError",
    "NoLeaderError",
    "NoSpaceError",
    "Node",
    "NodeStatus",
    "NotLeaderError",
    "OnDiskStateMachine",
    "OpenFailedError",
    "Outcome",
    "OutcomeLostError",
    "OverwrittenError",
    "PanickedError",
    "PermissionDeniedError",
    "RemovedError",
    "RestoreFailedError",
    "Role",
    "SaveFailedError",
    "SnapshotReader",
    "SnapshotWriter",
    "StateMachine",
    "StoppedError",
    "StorageFailedError",
    "SyncFailedError",
    "TimeoutError",
    "TooLargeError",
    "UnknownMemberError",
    "UnreachableError",
    "UnsupportedError",
    "WouldDeadlockError",
    "WrongIdentityError",
    "version",
]

# No thread of the library may call the program when the interpreter is gone.
_atexit.register(close_all_at_exit)
