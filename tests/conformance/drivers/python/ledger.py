"""The state machine of the suite: see "The machine: a ledger" in PROTOCOL.md."""

import asyncio
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import libraft

MAGIC = b"LEDGER01"
FNV_BASIS = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3
U64 = 0xFFFFFFFFFFFFFFFF

destroyed = 0


class Ledger:
    """The state, and what may happen to it."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.count = 0
        self.applied = 0
        self.hash = FNV_BASIS

    def apply(self, entry: libraft.Entry) -> bytes:
        data = entry.data
        if data[0:1] == b"x":
            raise RuntimeError(data[1:].decode(errors="replace"))
        for byte in struct.pack("<Q", entry.index) + data:
            self.hash = ((self.hash ^ byte) * FNV_PRIME) & U64
        if data[0:1] in (b"s", b"d") and len(data) > 1 and len(data) >= 2 + data[1]:
            key = data[2 : 2 + data[1]]
            if data[0:1] == b"s":
                self.values[key] = data[2 + data[1] :]
            else:
                self.values.pop(key, None)
        self.count += 1
        self.applied = entry.index
        return struct.pack("<Q", self.count)

    def dump(self) -> bytes:
        parts = [MAGIC, struct.pack("<QQQI", self.applied, self.count, self.hash, len(self.values))]
        for key, value in sorted(self.values.items()):
            parts += [struct.pack("<I", len(key)), key, struct.pack("<I", len(value)), value]
        return b"".join(parts)

    @classmethod
    def load(cls, data: bytes) -> "Ledger":
        ledger = cls()
        if data[:8] != MAGIC:
            raise ValueError("this is not a ledger")
        ledger.applied, ledger.count, ledger.hash, keys = struct.unpack_from("<QQQI", data, 8)
        at = 36

        def field() -> bytes:
            nonlocal at
            (length,) = struct.unpack_from("<I", data, at)
            start, at = at + 4, at + 4 + length
            if at > len(data):
                raise ValueError("the ledger is cut off")
            return data[start:at]

        for _ in range(keys):
            key = field()
            ledger.values[key] = field()
        if at != len(data):
            raise ValueError("there is more than a ledger")
        return ledger


class Behaviour:
    """How a machine behaves, as told by the suite; and its state."""

    def __init__(self, fail: str = "none", folder: "Path | None" = None) -> None:
        self.ledger = Ledger()
        self.folder = folder
        self.lock = threading.Lock()
        self.block_s = 0.0
        self.fail = fail
        self.pend = "none"
        self.released = threading.Event()
        self.in_next_apply: Callable[[], None] | None = None

    def release(self) -> None:
        self.pend = "none"
        released, self.released = self.released, threading.Event()
        released.set()

    def fail_if_planned(self, what: str) -> None:
        if self.fail == what:
            raise RuntimeError(f"planned failure of {what}")

    def enter(self, what: str) -> None:
        if self.pend == what:
            self.released.wait()
        self.fail_if_planned(what)

    async def enter_async(self, what: str) -> None:
        await asyncio.sleep(0)
        if self.pend == what:
            await asyncio.to_thread(self.released.wait)
        self.fail_if_planned(what)

    def apply_all(self, entries: list[libraft.Entry]) -> "list[bytes | None]":
        inside, self.in_next_apply = self.in_next_apply, None
        if inside:
            inside()
        with self.lock:
            results: list[bytes | None] = [self.ledger.apply(entry) for entry in entries]
        if self.fail == "results":
            results.pop()
        if self.fail == "result_type":
            results[0] = 5  # type: ignore[call-overload]
        return results

    def saved(self) -> bytes:
        with self.lock:
            return self.ledger.dump()

    def restored(self, data: bytes) -> None:
        ledger = Ledger.load(data)
        with self.lock:
            self.ledger = ledger

    def count_destroyed(self) -> None:
        global destroyed
        destroyed += 1


class Memory(Behaviour, libraft.StateMachine):
    def apply(self, entries: list[libraft.Entry]) -> libraft.machine.Results:
        self.enter("apply")
        time.sleep(self.block_s)
        return self.apply_all(entries)

    def save_snapshot(self, writer: libraft.SnapshotWriter) -> None:
        self.enter("save")
        writer.write(self.saved())

    def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        self.enter("restore")
        self.restored(reader.read())

    def destroy(self) -> None:
        self.count_destroyed()


class Concurrent(Behaviour, libraft.ConcurrentStateMachine[bytes]):
    def apply(self, entries: list[libraft.Entry]) -> libraft.machine.Results:
        self.enter("apply")
        time.sleep(self.block_s)
        return self.apply_all(entries)

    def prepare_snapshot(self) -> bytes:
        self.enter("prepare")
        return self.saved()

    def save_snapshot(self, prepared: bytes, writer: libraft.SnapshotWriter) -> None:
        self.enter("save")
        writer.write(prepared)

    def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        self.enter("restore")
        self.restored(reader.read())

    def destroy(self) -> None:
        self.count_destroyed()


class OnDisk(Behaviour, libraft.OnDiskStateMachine[bytes]):
    def open(self) -> int:
        self.enter("open")
        file = self.place / "state"
        if file.exists():
            self.restored(file.read_bytes())
        return self.ledger.applied

    def sync(self) -> None:
        self.enter("sync")
        self.store()

    def apply(self, entries: list[libraft.Entry]) -> libraft.machine.Results:
        self.enter("apply")
        time.sleep(self.block_s)
        return self.apply_all(entries)

    def prepare_snapshot(self) -> bytes:
        self.enter("prepare")
        return self.saved()

    def save_snapshot(self, prepared: bytes, writer: libraft.SnapshotWriter) -> None:
        self.enter("save")
        writer.write(prepared)

    def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        self.enter("restore")
        self.restored(reader.read())
        self.store()

    def destroy(self) -> None:
        self.count_destroyed()

    @property
    def place(self) -> Path:
        assert self.folder is not None
        return self.folder

    def store(self) -> None:
        """Durable, or as before."""
        new = self.place / "state.new"
        with new.open("wb") as file:
            file.write(self.saved())
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.place / "state")
        folder = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class AsyncMemory(Behaviour, libraft.StateMachine):
    async def apply(self, entries: list[libraft.Entry]) -> libraft.machine.Results:
        await self.enter_async("apply")
        await asyncio.sleep(self.block_s)
        return self.apply_all(entries)

    async def save_snapshot(self, writer: libraft.SnapshotWriter) -> None:
        await self.enter_async("save")
        writer.write(self.saved())

    async def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        await self.enter_async("restore")
        self.restored(reader.read())

    def destroy(self) -> None:
        self.count_destroyed()


class AsyncConcurrent(Concurrent):
    async def apply(  # type: ignore[override]
        self, entries: list[libraft.Entry]
    ) -> libraft.machine.Results:
        await self.enter_async("apply")
        await asyncio.sleep(self.block_s)
        return self.apply_all(entries)

    async def prepare_snapshot(self) -> bytes:  # type: ignore[override]
        await self.enter_async("prepare")
        return self.saved()

    async def save_snapshot(  # type: ignore[override]
        self, prepared: bytes, writer: libraft.SnapshotWriter
    ) -> None:
        await self.enter_async("save")
        writer.write(prepared)

    async def restore_snapshot(  # type: ignore[override]
        self, reader: libraft.SnapshotReader
    ) -> None:
        await self.enter_async("restore")
        self.restored(reader.read())


class AsyncOnDisk(OnDisk):
    async def open(self) -> int:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().open()

    async def sync(self) -> None:  # type: ignore[override]
        await self.enter_async("sync")
        await asyncio.to_thread(self.store)

    async def apply(  # type: ignore[override]
        self, entries: list[libraft.Entry]
    ) -> libraft.machine.Results:
        await self.enter_async("apply")
        await asyncio.sleep(self.block_s)
        return self.apply_all(entries)

    async def save_snapshot(  # type: ignore[override]
        self, prepared: bytes, writer: libraft.SnapshotWriter
    ) -> None:
        await self.enter_async("save")
        writer.write(prepared)

    async def restore_snapshot(  # type: ignore[override]
        self, reader: libraft.SnapshotReader
    ) -> None:
        await self.enter_async("restore")
        self.restored(reader.read())
        await asyncio.to_thread(self.store)


Machine = Memory | Concurrent | OnDisk | AsyncMemory

KINDS: dict[tuple[str, str], type[Machine]] = {
    ("memory", "sync"): Memory,
    ("memory", "async"): AsyncMemory,
    ("concurrent", "sync"): Concurrent,
    ("concurrent", "async"): AsyncConcurrent,
    ("disk", "sync"): OnDisk,
    ("disk", "async"): AsyncOnDisk,
}
