"""Snapshots as files: what `save_snapshot` writes to and `restore_snapshot` reads from."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from libraft._libraft import NativeReader, NativeWriter


class SnapshotWriter(io.RawIOBase):
    """A file to write a snapshot to, from any thread, until the callback has answered.

    Many small writes are quicker through an `io.BufferedWriter`, text goes through an
    `io.TextIOWrapper`, and `pickle.dump` and the like take it as it is.
    """

    def __init__(self, native: "NativeWriter") -> None:
        super().__init__()
        self._native = native

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        """Writes all of `data`, and returns its length in bytes."""
        return self._native.write(data)


class SnapshotReader(io.RawIOBase):
    """A file to read a snapshot from, from any thread, until the callback has answered.

    `read(n)` returns n bytes, unless the snapshot ends before. Many small reads are quicker through
    an `io.BufferedReader`.
    """

    def __init__(self, native: "NativeReader") -> None:
        super().__init__()
        self._native = native

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        with memoryview(buffer) as view, view.cast("B") as target:
            data = self._native.read(len(target))
            target[: len(data)] = data
            return len(data)

    def read(self, size: int = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        return self._native.read(size)
