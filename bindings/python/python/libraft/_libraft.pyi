"""The native half of libraft. Use what `libraft` re-exports from here."""

import os
from collections.abc import Awaitable, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar, final

from _typeshed import ReadableBuffer

from libraft.errors import Error
from libraft.events import Event, Events
from libraft.machine import ConcurrentStateMachine, StateMachine
from libraft.membership import Change, Member
from libraft.status import GroupStatus, NodeStatus

_T = TypeVar("_T")

__all__ = [
    "version",
    "close_all_at_exit",
    "Node",
    "Group",
    "Future",
    "Entry",
    "Completion",
    "EventQueue",
    "NativeWriter",
    "NativeReader",
]

def version() -> str: ...
def close_all_at_exit() -> None: ...

@final
class Future(Awaitable[_T], Generic[_T]):
    def done(self) -> bool: ...
    def result(self, timeout: float | None = None) -> _T: ...
    def exception(self, timeout: float | None = None) -> Error | None: ...
    def __await__(self) -> Generator[Any, None, _T]: ...
    @classmethod
    def __class_getitem__(cls, key: Any) -> Any: ...

@final
class Entry:
    @property
    def index(self) -> int: ...
    @property
    def term(self) -> int: ...
    @property
    def data(self) -> bytes: ...

@final
class Completion:
    @property
    def index(self) -> int: ...
    @property
    def term(self) -> int: ...
    @property
    def result(self) -> bytes: ...

@final
class Node:
    @classmethod
    def open(
        cls,
        *,
        cluster: str,
        node_id: int,
        directory: str | os.PathLike[str],
        snapshot_directory: str | os.PathLike[str] | None = None,
        listen_address: str = "127.0.0.1:0",
        advertised_address: str = "",
        insecure_transport: bool = False,
        tick_ms: int = 100,
        election_ticks: int = 10,
        heartbeat_ticks: int = 1,
        apply_threads: int = 2,
        segment_bytes: int = 67108864,
        segments_max: int = 8,
        free_bytes_min: int = 67108864,
    ) -> Node: ...
    def start_group(
        self,
        group_id: int,
        machine: StateMachine | ConcurrentStateMachine[Any],
        *,
        initial_members: Mapping[int, str] = {},
        proposal_bytes_max: int = 8388608,
        pending_bytes_max: int = 268435456,
        pending_count_max: int = 1048576,
        unapplied_bytes_max: int = 268435456,
        inflight_bytes_max: int = 16777216,
        entry_cache_bytes: int = 33554432,
        snapshot_entries: int = 100000,
        snapshot_log_bytes: int = 134217728,
        retained_entries: int = 10000,
        proposal_timeout_ms: int = 10000,
        snapshot_transfer_timeout_ms: int = 600000,
        snapshot_restore_timeout_ms: int = 600000,
        priority: int = 0,
    ) -> Group: ...
    def status(self) -> NodeStatus: ...
    def close(self) -> None: ...
    def aclose(self) -> Future[None]: ...
    def __enter__(self) -> Node: ...
    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def __aenter__(self) -> Awaitable[Node]: ...
    def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Future[None]: ...

@final
class Group:
    @property
    def group_id(self) -> int: ...
    def wait_ready(self, timeout: float = 30.0) -> Future[None]: ...
    def propose(self, data: ReadableBuffer) -> Future[Completion]: ...
    def propose_batch(
        self, entries: Iterable[ReadableBuffer]
    ) -> Future[list[Completion | Error]]: ...
    def read_index(self) -> Future[int]: ...
    def change_membership(self, changes: Iterable[Change]) -> Future[int]: ...
    def transfer_leadership(self, to: int) -> Future[None]: ...
    def take_snapshot(self) -> Future[int]: ...
    def status(self) -> GroupStatus: ...
    def members(self) -> list[Member]: ...
    def events(self) -> Events: ...
    def stop(self) -> Future[None]: ...

@final
class EventQueue:
    def take(self) -> Event | None: ...
    def ended(self) -> bool: ...
    def changed(self) -> Future[None]: ...

@final
class NativeWriter:
    def write(self, data: ReadableBuffer) -> int: ...

@final
class NativeReader:
    def read(self, size: int) -> bytes: ...
