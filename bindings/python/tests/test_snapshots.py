"""Snapshots as files."""

import io
import pickle
import threading
from typing import Any

import libraft
import pytest
from conftest import ALONE, PATIENCE_S, OpenNode

LARGE = b"0123456789abcdef" * (5 << 16)  # 5 MiB: several chunks


class Blob(libraft.StateMachine):
    """A state that is written and read as the test says."""

    def __init__(self) -> None:
        self.save: Any = lambda writer: writer.write(b"state")
        self.restore: Any = lambda reader: reader.read()
        self.file: Any = None

    def apply(self, entries: list[libraft.Entry]) -> None:
        pass

    def save_snapshot(self, writer: libraft.SnapshotWriter) -> None:
        self.file = writer
        self.save(writer)

    def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        self.file = reader
        self.restore(reader)


def saved_and_restored(open_node: OpenNode, save: Any, restore: Any) -> "tuple[Blob, Blob]":
    first, second = Blob(), Blob()
    first.save, second.restore = save, restore
    with open_node() as node:
        group = node.start_group(1, first, initial_members=ALONE)
        group.wait_ready(PATIENCE_S).result()
        group.propose(b"x").result()
        group.take_snapshot().result()
    with open_node() as node:
        node.start_group(1, second).wait_ready(PATIENCE_S).result()
    return first, second


def test_reads_are_whole_across_chunks(open_node: OpenNode) -> None:
    pieces: list[bytes] = []

    def save(writer: libraft.SnapshotWriter) -> None:
        view = memoryview(LARGE)
        for at in range(0, len(LARGE), 99_991):
            assert writer.write(view[at : at + 99_991]) == len(view[at : at + 99_991])

    def restore(reader: libraft.SnapshotReader) -> None:
        while piece := reader.read(700_001):
            pieces.append(piece)

    saved_and_restored(open_node, save, restore)
    assert b"".join(pieces) == LARGE
    assert {len(piece) for piece in pieces[:-1]} == {700_001}


def test_the_usual_modules_take_them_as_files(open_node: OpenNode) -> None:
    state = {"numbers": list(range(50_000)), "text": "é" * 10_000, "bytes": LARGE}
    found: list[object] = []

    def save(writer: libraft.SnapshotWriter) -> None:
        pickle.dump(state, writer)
        with io.BufferedWriter(writer, 1 << 16) as buffered:
            for number in range(10_000):
                buffered.write(b"%d\n" % number)

    def restore(reader: libraft.SnapshotReader) -> None:
        buffered = io.BufferedReader(reader, 1 << 16)
        found.append(pickle.load(buffered))
        found.append([int(line) for line in buffered])

    saved_and_restored(open_node, save, restore)
    assert found == [state, list(range(10_000))]


def test_text_and_readinto(open_node: OpenNode) -> None:
    found: list[object] = []

    def save(writer: libraft.SnapshotWriter) -> None:
        # Not flushed by the program: that happens when the wrapper goes, before the callback has
        # answered.
        io.TextIOWrapper(io.BufferedWriter(writer), encoding="utf-8").write("grüße\n")

    def restore(reader: libraft.SnapshotReader) -> None:
        buffer = bytearray(4)
        found.append(reader.readinto(buffer))
        found.append(bytes(buffer) + reader.read())
        found.append(reader.read(10))
        assert reader.readable()
        assert not reader.writable()

    saved_and_restored(open_node, save, restore)
    assert found == [4, "grüße\n".encode(), b""]


def test_an_empty_snapshot_is_one(open_node: OpenNode) -> None:
    found: list[bytes] = []
    saved_and_restored(open_node, lambda writer: None, lambda reader: found.append(reader.read()))
    assert found == [b""]


def test_another_thread_may_write_and_nobody_after_the_answer(open_node: OpenNode) -> None:
    def save(writer: libraft.SnapshotWriter) -> None:
        thread = threading.Thread(target=writer.write, args=(b"from another thread",))
        thread.start()
        thread.join(PATIENCE_S)

    found: list[bytes] = []
    first, second = saved_and_restored(open_node, save, lambda reader: found.append(reader.read()))
    assert found == [b"from another thread"]
    with pytest.raises(ValueError, match="the callback that it was handed to has answered"):
        first.file.write(b"too late")
    with pytest.raises(ValueError, match="the callback that it was handed to has answered"):
        second.file.read(1)


def test_a_writer_takes_bytes_only(open_node: OpenNode) -> None:
    blob = Blob()
    blob.save = lambda writer: writer.write("text")
    group = open_node().start_group(1, blob, initial_members=ALONE)
    group.wait_ready(PATIENCE_S).result()
    with pytest.raises(libraft.SaveFailedError, match="encode the text first"):
        group.take_snapshot().result()
