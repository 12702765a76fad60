"""State machines: what a program supplies.

Derive a class from the kind you need, and hand an object of it to `Node.start_group`. Callbacks run
on threads of the library, one at a time; those that are coroutines run on the event loop that
`start_group` was called on. An exception in a callback stops the group on this node, since to go on
would make it differ from the others: it is what every call then raises.
"""

import abc
import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from libraft._libraft import Entry
from libraft.snapshot import SnapshotReader, SnapshotWriter

Prepared = TypeVar("Prepared")
Results = Iterable[bytes | None] | None


class _AnyStateMachine(abc.ABC):
    """What all kinds have."""

    @abc.abstractmethod
    def apply(self, entries: "list[Entry]") -> Results | Awaitable[Results]:
        """Applies entries, in order, and returns a list with a result, bytes or None, for each.

        It may return None instead if there are no results. Must do the same on every node: time,
        randomness and the like come in through the entry.
        """

    @abc.abstractmethod
    def restore_snapshot(self, reader: SnapshotReader) -> None | Awaitable[None]:
        """Replaces the whole state by a saved one.

        After a crash it may be called again with the same one.
        """

    def destroy(self) -> None:
        """Called once, when the library will not use this object any more."""


class StateMachine(_AnyStateMachine):
    """A state in memory, which is rebuilt from a snapshot and the log at every start."""

    @abc.abstractmethod
    def save_snapshot(self, writer: SnapshotWriter) -> None | Awaitable[None]:
        """Writes the state. Nothing is applied meanwhile."""


class ConcurrentStateMachine(_AnyStateMachine, Generic[Prepared]):
    """A state in memory, which is saved while entries go on being applied."""

    @abc.abstractmethod
    def prepare_snapshot(self) -> Prepared | Awaitable[Prepared]:
        """Returns a view of the state that stays as it is: a copy, say.

        Must be quick, for nothing is applied meanwhile.
        """

    @abc.abstractmethod
    def save_snapshot(self, prepared: Prepared, writer: SnapshotWriter) -> None | Awaitable[None]:
        """Writes a view that `prepare_snapshot` returned, on a thread of its own beside `apply`."""

    def release_snapshot(self, prepared: Prepared) -> None:
        """Called once for each view that `prepare_snapshot` returned, when it is done with."""


class OnDiskStateMachine(ConcurrentStateMachine[Prepared]):
    """A state on disk, which the program itself keeps. It is sent to peers that need it.

    `restore_snapshot` must have made the new state durable when it returns.
    """

    @abc.abstractmethod
    def open(self) -> int | Awaitable[int]:
        """Opens the state, and returns the index of the last entry that is in it, or 0.

        It has to be stored together with the state, since entries from there on are applied again.
        """

    @abc.abstractmethod
    def sync(self) -> None | Awaitable[None]:
        """Makes everything durable that was applied."""


# For the native half, which asks in this order.
KINDS = (OnDiskStateMachine, ConcurrentStateMachine, StateMachine)

_running: "set[asyncio.Future[object]]" = set()


def start_task(
    awaitable: Awaitable[object], answer: "Callable[[asyncio.Future[object]], object]"
) -> None:
    """Has a callback awaited, on the running event loop, which holds its tasks only weakly."""
    task = asyncio.ensure_future(awaitable)
    _running.add(task)
    task.add_done_callback(_running.discard)
    task.add_done_callback(answer)
