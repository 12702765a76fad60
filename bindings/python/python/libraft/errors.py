"""What can go wrong. Every error is an `Error`, and has a class of its own for its code."""

import builtins
import enum
import traceback
from typing import NamedTuple


class Code(enum.IntEnum):
    """The cause of an error. The numbers are the same in every language, for ever."""

    INVALID_ARGUMENT = 101
    INVALID_HANDLE = 102
    INVALID_SIZE = 103
    INVALID_UTF8 = 104
    EMPTY_PROPOSAL = 105
    TOO_LARGE = 106
    WOULD_DEADLOCK = 107
    FORKED = 108
    INSECURE_ADDRESS = 109
    UNSUPPORTED = 110
    NOT_LEADER = 201
    NO_LEADER = 202
    BUSY = 203
    TIMEOUT = 204
    OVERWRITTEN = 205
    OUTCOME_LOST = 206
    FORMING = 207
    GROUP_NOT_FOUND = 301
    GROUP_EXISTS = 302
    MEMBERSHIP_INVALID = 303
    MEMBERSHIP_BUSY = 304
    UNKNOWN_MEMBER = 305
    INITIAL_MEMBERS_CONFLICT = 306
    REMOVED = 307
    IO = 401
    NO_SPACE = 402
    CORRUPTED = 403
    DIRECTORY_IN_USE = 404
    WRONG_IDENTITY = 405
    NEWER_FORMAT = 406
    PERMISSION_DENIED = 407
    STORAGE_FAILED = 408
    APPLY_FAILED = 501
    OPEN_FAILED = 502
    MACHINE_AHEAD = 503
    SAVE_FAILED = 504
    RESTORE_FAILED = 505
    SYNC_FAILED = 506
    ADDRESS_IN_USE = 601
    ADDRESS_INVALID = 602
    UNREACHABLE = 603
    HANDSHAKE_REFUSED = 604
    CLOSED = 701
    STOPPED = 702
    PANICKED = 901
    INTERNAL = 902


class Outcome(str, enum.Enum):
    """What became of a call that failed."""

    REJECTED = "rejected"
    """It had no effect, and will have none."""
    UNKNOWN = "unknown"
    """It may yet take effect."""

    __str__ = str.__str__


class Leader(NamedTuple):
    """Who leads a group."""

    node_id: int
    address: str


class Error(Exception):
    """An error of the library.

    Its class says the cause, as `code` does: NotLeaderError is Code.NOT_LEADER. `outcome` says
    whether the call may yet take effect, `retriable` whether making the same call again can succeed
    and cannot apply anything twice, and `leader` who leads the group, if the error is about that
    and it is known.
    """

    code: Code = Code.INTERNAL
    """The cause."""

    def __init__(
        self,
        message: str,
        *,
        outcome: Outcome = Outcome.REJECTED,
        retriable: bool = False,
        leader: Leader | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        """What happened, to what, and what to do about it. For people."""
        self.outcome = outcome
        self.retriable = retriable
        self.leader = leader

    def __str__(self) -> str:
        if self.leader is None:
            return self.message
        return f"{self.message} (leader: node {self.leader.node_id} at {self.leader.address})"


class InvalidArgumentError(Error, ValueError):
    """An argument is missing, out of range, or contradicts another."""

    code = Code.INVALID_ARGUMENT


class ArgumentTypeError(InvalidArgumentError, TypeError):
    """An argument is of the wrong type."""


class InvalidHandleError(Error):
    """Does not occur in Python."""

    code = Code.INVALID_HANDLE


class InvalidSizeError(Error):
    """Does not occur in Python."""

    code = Code.INVALID_SIZE


class InvalidUtf8Error(Error, ValueError):
    """A text cannot be written in UTF-8."""

    code = Code.INVALID_UTF8


class EmptyProposalError(Error, ValueError):
    """A proposal has no bytes, or a batch no entries."""

    code = Code.EMPTY_PROPOSAL


class TooLargeError(Error, ValueError):
    """A proposal exceeds `proposal_bytes_max`."""

    code = Code.TOO_LARGE


class WouldDeadlockError(Error):
    """A call that blocks was made where it would wait for itself: in a callback, say."""

    code = Code.WOULD_DEADLOCK


class ForkedError(Error):
    """The process was forked from one that used the library."""

    code = Code.FORKED


class InsecureAddressError(Error):
    """Listening beyond loopback was not asked for by `insecure_transport`."""

    code = Code.INSECURE_ADDRESS


class UnsupportedError(Error):
    """The operation does not apply here."""

    code = Code.UNSUPPORTED


class NotLeaderError(Error):
    """This node does not lead the group; `leader` says who does, if it is known."""

    code = Code.NOT_LEADER


class NoLeaderError(Error):
    """The group has no leader at present."""

    code = Code.NO_LEADER


class BusyError(Error):
    """Too much is pending: wait for completions."""

    code = Code.BUSY


class TimeoutError(Error, builtins.TimeoutError):
    """The call's time ran out."""

    code = Code.TIMEOUT


class OverwrittenError(Error):
    """Another entry was committed in the proposal's place."""

    code = Code.OVERWRITTEN


class OutcomeLostError(Error):
    """The node lost track of the proposal."""

    code = Code.OUTCOME_LOST


class FormingError(Error):
    """The group is still forming: not all initial members have met each other."""

    code = Code.FORMING


class GroupNotFoundError(Error):
    """There is no such group on this node."""

    code = Code.GROUP_NOT_FOUND


class GroupExistsError(Error):
    """The group is running on this node already."""

    code = Code.GROUP_EXISTS


class MembershipInvalidError(Error):
    """The membership change is impossible."""

    code = Code.MEMBERSHIP_INVALID


class MembershipBusyError(Error):
    """Another membership change is in progress."""

    code = Code.MEMBERSHIP_BUSY


class UnknownMemberError(Error):
    """The call names a node that is not a member."""

    code = Code.UNKNOWN_MEMBER


class InitialMembersConflictError(Error):
    """The initial members contradict what the data directory holds."""

    code = Code.INITIAL_MEMBERS_CONFLICT


class RemovedError(Error):
    """This node was removed from the group."""

    code = Code.REMOVED


class IoError(Error):
    """A file could not be read or written."""

    code = Code.IO


class NoSpaceError(Error):
    """The disk is full; service resumes by itself when space returns."""

    code = Code.NO_SPACE


class CorruptedError(Error):
    """A file is damaged; the message names the file and the offset."""

    code = Code.CORRUPTED


class DirectoryInUseError(Error):
    """The data directory is open already, in this process or another."""

    code = Code.DIRECTORY_IN_USE


class WrongIdentityError(Error):
    """The data directory belongs to another cluster or node."""

    code = Code.WRONG_IDENTITY


class NewerFormatError(Error):
    """The data directory was written by a newer version of libraft."""

    code = Code.NEWER_FORMAT


class PermissionDeniedError(Error):
    """The data directory cannot be read or written by this user."""

    code = Code.PERMISSION_DENIED


class StorageFailedError(Error):
    """A sync failed, and the node is out of service: close it and look at the disk."""

    code = Code.STORAGE_FAILED


class ApplyFailedError(Error):
    """`apply` raised, and the group is stopped on this node. The message has the stack trace."""

    code = Code.APPLY_FAILED


class OpenFailedError(Error):
    """`open` raised, and the group is stopped on this node. The message has the stack trace."""

    code = Code.OPEN_FAILED


class MachineAheadError(Error):
    """The state machine has applied more than the log holds."""

    code = Code.MACHINE_AHEAD


class SaveFailedError(Error):
    """`prepare_snapshot` or `save_snapshot` raised. The message has the stack trace."""

    code = Code.SAVE_FAILED


class RestoreFailedError(Error):
    """`restore_snapshot` raised, and the group is stopped on this node, as the message says."""

    code = Code.RESTORE_FAILED


class SyncFailedError(Error):
    """`sync` raised, and the group is stopped on this node. The message has the stack trace."""

    code = Code.SYNC_FAILED


class AddressInUseError(Error):
    """The listening address is in use."""

    code = Code.ADDRESS_IN_USE


class AddressInvalidError(Error, ValueError):
    """An address cannot be parsed or resolved."""

    code = Code.ADDRESS_INVALID


class UnreachableError(Error):
    """A peer could not be reached."""

    code = Code.UNREACHABLE


class HandshakeRefusedError(Error):
    """A peer refused this node, or was refused."""

    code = Code.HANDSHAKE_REFUSED


class ClosedError(Error):
    """The node is closed."""

    code = Code.CLOSED


class StoppedError(Error):
    """The group is stopped."""

    code = Code.STOPPED


class PanickedError(Error):
    """A defect of the library; the group is out of service on this node."""

    code = Code.PANICKED


class InternalError(Error):
    """A defect of the library."""

    code = Code.INTERNAL


_CLASSES = {child.code: child for child in Error.__subclasses__()}


def from_core(
    number: int,
    unknown: bool,
    retriable: bool,
    message: str,
    leader: "tuple[int, str] | None",
) -> Error:
    """The exception for an error of the native half."""
    return _CLASSES[Code(number)](
        message,
        outcome=Outcome.UNKNOWN if unknown else Outcome.REJECTED,
        retriable=retriable,
        leader=None if leader is None else Leader(*leader),
    )


def describe(error: BaseException) -> str:
    """What a callback raised, for the message of the error that the program sees."""
    what = "".join(traceback.format_exception_only(type(error), error)).strip()
    where = "".join(traceback.format_exception(type(error), error, error.__traceback__)).strip()
    return f"{what}\n{where}"
