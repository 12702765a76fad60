"""What happens to a group, without asking."""

import enum
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from libraft.status import Role

if TYPE_CHECKING:
    from libraft._libraft import EventQueue


class EventKind(str, enum.Enum):
    """What happened."""

    ROLE = "role"
    """This node's role changed: see `role` and `term`."""
    LEADER = "leader"
    """Another leader is known, or none: see `node_id` and `term`."""
    MEMBERSHIP = "membership"
    """Another membership is in force since `index`."""
    SNAPSHOT_TAKEN = "snapshot_taken"
    """A snapshot of this node's state was taken: see `index` and `bytes`."""
    SNAPSHOT_INSTALLED = "snapshot_installed"
    """A snapshot from the leader was installed: see `index`."""
    SNAPSHOT_SENDING = "snapshot_sending"
    """A snapshot is being sent to a peer: see `node_id`, `index`, and `bytes`, so far."""
    SNAPSHOT_RECEIVING = "snapshot_receiving"
    """A snapshot arrives from a peer: see `node_id`, `index`, and `bytes`, so far."""
    FAILED = "failed"
    """The group is out of service on this node: see the `failure` of its status."""

    __str__ = str.__str__


@dataclass(frozen=True)
class Event:
    """Something that happened. What a kind of event does not use is 0, or None."""

    kind: EventKind
    role: Role | None = None
    term: int = 0
    index: int = 0
    node_id: int = 0
    bytes: int = 0


class Events:
    """The events of a group since `Group.events` was called, for `for` and `async for`.

    They end when the group stops. Up to 1,024 wait for a program that does not read them; it misses
    what comes then.
    """

    def __init__(self, queue: "EventQueue") -> None:
        self._queue = queue

    def next(self, timeout: float | None = None) -> Event | None:
        """Blocks until there is an event, and returns it; None if they have ended.

        Raises TimeoutError after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            # In this order: what came before the end is not lost.
            ended = self._queue.ended()
            event = self._queue.take()
            if event is not None or ended:
                return event
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            self._queue.changed().result(left)

    def __iter__(self) -> "Events":
        return self

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> Event:
        while True:
            ended = self._queue.ended()
            event = self._queue.take()
            if event is not None:
                return event
            if ended:
                raise StopAsyncIteration
            await self._queue.changed()


def from_core(kind: str, role: str | None, term: int, index: int, node_id: int, size: int) -> Event:
    """An event of the native half."""
    return Event(EventKind(kind), None if role is None else Role(role), term, index, node_id, size)
