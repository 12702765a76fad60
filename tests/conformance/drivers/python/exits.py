"""The exit matrix: one case, from an open node to the end of the process. See PROTOCOL.md."""

import asyncio
import os
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import libraft
from ledger import AsyncMemory, Machine, Memory

IN_FLIGHT = 64
PATIENCE_S = 60


def say(line: str) -> None:
    print(line, flush=True)


class Run:
    """An open node, and the counting proposals that it is given."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.count = 0
        self.machine: Machine = Memory()

    def open(self, machine: "Machine | None" = None) -> "Run":
        if machine is not None:
            self.machine = machine
        self.node = libraft.Node.open(
            cluster="exit",
            node_id=1,
            directory=self.directory,
            listen_address="127.0.0.1:0",
            tick_ms=20,
        )
        members = {1: "127.0.0.1:0"}
        self.group = self.node.start_group(1, self.machine, initial_members=members)
        return self

    def ready(self) -> "Run":
        self.group.wait_ready(PATIENCE_S).result()
        return self

    def next(self) -> bytes:
        self.count += 1
        return b"s\x01k%d" % self.count

    def propose(self, times: int) -> None:
        for _ in range(times):
            acknowledged(self.group.propose(self.next()).result(PATIENCE_S))

    def keep_in_flight(self, times: "int | None") -> None:
        """Keeps proposals in flight, until so many were acknowledged; None is for ever."""
        waiting = [self.group.propose(self.next()) for _ in range(IN_FLIGHT)]
        done = 0
        while times is None or done < times:
            acknowledged(waiting.pop(0).result(PATIENCE_S))
            waiting.append(self.group.propose(self.next()))
            done += 1

    def close(self) -> None:
        try:
            self.node.close()
            say("closed OK")
        except libraft.Error as error:
            say(f"closed {error.code.name}")


def acknowledged(done: libraft.Completion) -> None:
    (count,) = struct.unpack("<Q", done.result)
    say(f"acknowledged {count}")


@contextmanager
def failing() -> Iterator[None]:
    """What is inside fails; says how."""
    try:
        yield
        say("failed OK -")
    except libraft.Error as error:
        say(f"failed {error.code.name} {error.message.encode().hex()}")


def started(directory: str) -> Run:
    run = Run(directory).open().ready()
    run.propose(100)
    return run


# What a case that does not close leaves open stays referenced.
left: list[Run] = []


def close(directory: str) -> None:
    run = started(directory)
    say("ending")
    run.node.close()


def forgot(directory: str) -> None:
    left.append(started(directory))
    say("ending")


def exception(directory: str) -> None:
    left.append(started(directory))
    say("ending")
    raise RuntimeError("nobody catches this")


def apply_error(directory: str) -> None:
    run = started(directory)
    say("ending")
    with failing():
        run.group.propose(b"xplanned failure of apply").result(PATIENCE_S)
    run.close()


def save_error(directory: str) -> None:
    run = started(directory)
    say("ending")
    run.machine.fail = "save"
    with failing():
        run.group.take_snapshot().result(PATIENCE_S)
    run.close()


def restore_error(directory: str) -> None:
    run = started(directory)
    run.group.take_snapshot().result(PATIENCE_S)
    run.propose(10)
    run.node.close()
    say("ending")
    run.open(Memory("restore"))
    with failing():
        run.ready()
    run.close()


def close_in_callback(directory: str) -> None:
    run = started(directory)

    def inside() -> None:
        with failing_briefly():
            run.node.close()

    say("ending")
    run.machine.in_next_apply = inside
    future = run.group.propose(run.next())
    # The node closes under it: whether it is still acknowledged is a matter of time.
    if future.exception(PATIENCE_S) is None:
        acknowledged(future.result())
    run.close()


@contextmanager
def failing_briefly() -> Iterator[None]:
    try:
        yield
        say("failed OK -")
    except libraft.Error as error:
        say(f"failed {error.code.name} -")


def exit_under_load(directory: str) -> None:
    run = started(directory)
    left.append(run)
    run.keep_in_flight(300)
    say("ending")
    sys.exit(3)


def shutdown_in_callback(directory: str) -> None:
    run = started(directory)
    left.append(run)
    entered = threading.Event()

    def inside() -> None:
        say("ending")
        entered.set()
        time.sleep(1)

    run.machine.in_next_apply = inside
    run.group.propose(run.next())
    entered.wait()


def shutdown_pending(directory: str) -> None:
    async def program() -> None:
        run = Run(directory).open(AsyncMemory())
        left.append(run)
        await run.group.wait_ready(PATIENCE_S)
        for _ in range(100):
            acknowledged(await run.group.propose(run.next()))
        inside = asyncio.Event()

        async def never(entries: list[libraft.Entry]) -> None:
            inside.set()
            await asyncio.Event().wait()

        run.machine.apply = never  # type: ignore[method-assign]
        run.group.propose(run.next())
        await inside.wait()
        say("ending")

    asyncio.run(program())


def shutdown_completions(directory: str) -> None:
    run = started(directory)
    left.append(run)
    say("ending")
    for _ in range(1000):
        run.group.propose(run.next())


def kill(directory: str) -> None:
    run = started(directory)
    say("ending")
    run.keep_in_flight(None)


def fork(directory: str) -> None:
    run = started(directory)
    say("ending")
    child = os.fork()
    if child == 0:
        codes = []
        for call in (
            lambda: run.group.propose(b"from the child"),
            lambda: run.node.close(),
            lambda: libraft.Node.open(
                cluster="exit", node_id=2, directory=str(Path(directory) / "child")
            ),
        ):
            try:
                call()
                codes.append("OK")
            except libraft.Error as error:
                codes.append(error.code.name)
        say(f"child {' '.join(codes)}")
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    run.propose(1)
    run.node.close()


CASES = {
    case.__name__: case
    for case in (
        close,
        forgot,
        exception,
        apply_error,
        save_error,
        restore_error,
        close_in_callback,
        exit_under_load,
        shutdown_in_callback,
        shutdown_pending,
        shutdown_completions,
        kill,
        fork,
    )
}


def run(case: str, directory: str) -> None:
    CASES[case](directory)
