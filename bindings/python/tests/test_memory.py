"""Memory that is not given back."""

import gc
import os
from pathlib import Path

import libraft
from conftest import ALONE, PATIENCE_S, OpenNode

PROPOSALS = int(os.environ.get("LIBRAFT_MEMORY_PROPOSALS", "1000000"))
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


def test_memory_does_not_grow_with_proposals_callbacks_and_errors(open_node: OpenNode) -> None:
    """Resident memory after 90% of the proposals is within 5% + 2 MiB of that after 30%."""
    group = open_node().start_group(
        1, Summer(), initial_members=ALONE, snapshot_entries=20_000, retained_entries=1_000
    )
    group.wait_ready(PATIENCE_S).result()
    marks = {PROPOSALS * 3 // 10: 0, PROPOSALS * 9 // 10: 0}
    waiting: list[libraft.Future[list[libraft.Completion | libraft.Error]]] = []
    proposed = 0
    while proposed < PROPOSALS:
        waiting.append(group.propose_batch([b"x" * 16] * BATCH))
        proposed += BATCH
        # One in two hundred is made alone, and one is an error.
        waiting_one = group.propose(b"y")
        for mistake in (b"", None):
            try:
                group.propose(mistake)  # type: ignore[arg-type]
            except libraft.Error:
                pass
        if len(waiting) == IN_FLIGHT:
            assert len(waiting.pop(0).result(PATIENCE_S)) == BATCH
        for mark, found in marks.items():
            if proposed >= mark and not found:
                waiting_one.result(PATIENCE_S)
                marks[mark] = resident_bytes()
    early, late = marks.values()
    assert late <= early * 1.05 + (2 << 20), f"{early} bytes became {late}"
