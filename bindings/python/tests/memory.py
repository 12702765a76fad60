"""A program that makes many proposals; prints its memory after 30% and after 90% of them.

Arguments: an empty directory, and how many proposals. `test_memory.py` runs it in a process of its
own, where nobody else keeps anything: a test runner keeps what is logged.
"""

import gc
import os
import sys
from pathlib import Path

import libraft

PATIENCE_S = 60.0
BATCH = 200
IN_FLIGHT = 10


class Summer(libraft.StateMachine):
    def __init__(self) -> None:
        self.total = 0

    def apply(self, entries: list[libraft.Entry]) -> "list[bytes]":
        results = []
        for entry in entries:
            self.total += len(entry.data)
            results.append(b"%08x" % (self.total & 0xFFFFFFFF))
        return results

    def save_snapshot(self, writer: libraft.SnapshotWriter) -> None:
        writer.write(b"%d" % self.total)

    def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        self.total = int(reader.read())


def resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def propose(group: libraft.Group, proposals: int) -> list[int]:
    marks = [proposals * 3 // 10, proposals * 9 // 10]
    found: list[int] = []
    waiting: list[libraft.Future[list[libraft.Completion | libraft.Error]]] = []
    for proposed in range(BATCH, proposals + BATCH, BATCH):
        waiting.append(group.propose_batch([b"x" * 16] * BATCH))
        # One in two hundred is made alone, and one is an error.
        waiting_one = group.propose(b"y")
        for mistake in (b"", None):
            try:
                group.propose(mistake)  # type: ignore[arg-type]
            except libraft.Error:
                pass
        if len(waiting) == IN_FLIGHT and len(waiting.pop(0).result(PATIENCE_S)) != BATCH:
            raise AssertionError("a batch has another number of results")
        if len(found) < len(marks) and proposed >= marks[len(found)]:
            waiting_one.result(PATIENCE_S)
            found.append(resident_bytes())
    return found


def main(directory: str, proposals: str) -> None:
    with libraft.Node.open(
        node_id=1, cluster="memory", directory=directory, tick_ms=20, segment_bytes=1 << 20
    ) as node:
        group = node.start_group(
            1,
            Summer(),
            initial_members={1: "127.0.0.1:0"},
            snapshot_entries=20_000,
            retained_entries=1_000,
        )
        group.wait_ready(PATIENCE_S).result()
        print(*propose(group, int(proposals)))


if __name__ == "__main__":
    main(*sys.argv[1:])
