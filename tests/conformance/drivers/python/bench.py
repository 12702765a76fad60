"""A member of the benchmark's cluster, told by lines on its input what to do: see PROTOCOL.md."""

import asyncio
import resource
import struct
import sys
import time
import zlib

import libraft

READY_TIMEOUT_S = 60.0


class Summer(libraft.StateMachine):
    """Counts entries, and reads every byte of them."""

    def __init__(self) -> None:
        self.count = 0
        self.checksum = 0

    def apply(self, entries: list[libraft.Entry]) -> list[bytes]:
        count, checksum = self.count, self.checksum
        crc32, pack = zlib.crc32, struct.Struct("<II").pack
        results = []
        for entry in entries:
            count += 1
            checksum = crc32(entry.data, checksum)
            results.append(pack(count & 0xFFFFFFFF, checksum))
        self.count, self.checksum = count, checksum
        return results

    def save_snapshot(self, writer: libraft.SnapshotWriter) -> None:
        writer.write(struct.pack("<QI", self.count, self.checksum))

    def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        self.count, self.checksum = struct.unpack("<QI", reader.read(12))


class Load:
    """Keeps proposals in flight, and measures what completes after the warm-up."""

    def __init__(self, group: libraft.Group, words: list[str]) -> None:
        size, in_flight, mode, seconds = words
        self.group = group
        self.batch = 1 if mode == "callback" else int(mode.removeprefix("batch-"))
        self.single = mode == "callback"
        self.workers = max(1, int(in_flight) // self.batch)
        self.payload = b"\x5a" * int(size)
        self.seconds = float(seconds)
        self.latencies: list[float] = []

    async def run(self) -> str:
        start = time.perf_counter()
        self.warm = start + self.seconds / 4
        self.end = self.warm + self.seconds
        await asyncio.gather(*(self.worker() for _ in range(self.workers)))
        self.latencies.sort()
        total = len(self.latencies)
        p50, p99 = (self.latencies[int(total * part)] * 1e6 for part in (0.5, 0.99))
        return f"{total * self.batch} {self.seconds} {p50:.1f} {p99:.1f}"

    async def worker(self) -> None:
        """Makes a call as soon as its last one has completed."""
        propose, propose_batch = self.group.propose, self.group.propose_batch
        payload, batch = self.payload, [self.payload] * self.batch
        clock = time.perf_counter
        begun = clock()
        while begun < self.end:
            if self.single:
                await propose(payload)
            else:
                for result in await propose_batch(batch):
                    if isinstance(result, libraft.Error):
                        raise result
            now = clock()
            if self.warm <= now < self.end:
                self.latencies.append(now - begun)
            begun = now


def run(node_id: int, directory: str) -> None:
    machine = Summer()
    with libraft.Node.open(cluster="bench", node_id=node_id, directory=directory) as node:
        print(node.status().address, flush=True)
        group: libraft.Group | None = None
        for line in sys.stdin:
            command, *words = line.split()
            if command == "start":
                pairs = (word.split("=", 1) for word in words)
                members = {int(member): address for member, address in pairs}
                group = node.start_group(1, machine, initial_members=members)
                group.wait_ready(READY_TIMEOUT_S).result()
                answer = "started"
            elif command == "role" and group is not None:
                answer = group.status().role.capitalize()
            elif command == "run" and group is not None:
                answer = asyncio.run(Load(group, words).run())
            elif command == "state":
                answer = f"{machine.count} {machine.checksum}"
            elif command == "cpu":
                used = resource.getrusage(resource.RUSAGE_SELF)
                answer = str(used.ru_utime + used.ru_stime)
            else:
                sys.exit(f"'{line.strip()}' is not understood")
            print(answer, flush=True)
