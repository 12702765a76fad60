"""What the tests have in common."""

import contextlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libraft
import pytest

PATIENCE_S = 60.0
ALONE = {1: "127.0.0.1:0"}
OpenNode = Callable[..., libraft.Node]


class Counter(libraft.StateMachine):
    """Counts entries; raises what a proposal asks it to."""

    def __init__(self) -> None:
        self.count = 0
        self.destroyed = 0
        self.before_apply: Callable[[], object] = lambda: None

    def apply(self, entries: list[libraft.Entry]) -> "list[bytes]":
        results = []
        for entry in entries:
            if entry.data == b"raise":
                raise ValueError("as it was asked to")
            self.before_apply()
            self.count += 1
            results.append(struct.pack("<Q", self.count))
        return results

    def save_snapshot(self, writer: libraft.SnapshotWriter) -> None:
        writer.write(struct.pack("<Q", self.count))

    def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        (self.count,) = struct.unpack("<Q", reader.read(8))

    def destroy(self) -> None:
        self.destroyed += 1


@pytest.fixture
def open_node(tmp_path: Path) -> Iterator[OpenNode]:
    """Opens nodes below the test's folder, and closes what is left of them."""
    opened = []

    def open_node(node_id: int = 1, **options: Any) -> libraft.Node:
        options.setdefault("cluster", "tests")
        options.setdefault("directory", tmp_path / f"node-{node_id}")
        options.setdefault("tick_ms", 20)
        options.setdefault("segment_bytes", 1 << 20)
        node = libraft.Node.open(node_id=node_id, **options)
        opened.append(node)
        return node

    yield open_node
    for node in opened:
        # A second time, if a test has left a failed group to be told of.
        with contextlib.suppress(libraft.Error):
            node.close()
        node.close()


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def group(open_node: OpenNode, counter: Counter) -> libraft.Group:
    """A group with one member, whose machine is `counter`."""
    group = open_node().start_group(1, counter, initial_members=ALONE)
    group.wait_ready(PATIENCE_S).result()
    return group


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The last line, as every runner of this repository has it."""
    stats = terminalreporter.stats
    failed = len(stats.get("failed", [])) + len(stats.get("error", []))
    terminalreporter.write_line(f"{len(stats.get('passed', []))} passed, {failed} failed")
