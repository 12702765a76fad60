"""State machines of the three kinds, their callbacks, and what becomes of what they raise."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import libraft
import pytest
from conftest import ALONE, PATIENCE_S, Counter, OpenNode


class Shared(libraft.ConcurrentStateMachine["list[bytes]"]):
    """Keeps entries; saves them beside apply."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.released: list[list[bytes]] = []
        self.may_save = threading.Event()
        self.saving = threading.Event()

    def apply(self, entries: list[libraft.Entry]) -> None:
        self.entries += [entry.data for entry in entries]

    def prepare_snapshot(self) -> "list[bytes]":
        return list(self.entries)

    def save_snapshot(self, prepared: "list[bytes]", writer: libraft.SnapshotWriter) -> None:
        self.saving.set()
        assert self.may_save.wait(PATIENCE_S)
        writer.write(b"\n".join(prepared))

    def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        self.entries = reader.read().split(b"\n")

    def release_snapshot(self, prepared: "list[bytes]") -> None:
        self.released.append(prepared)


class Filed(libraft.OnDiskStateMachine[bytes]):
    """Keeps a count, and the index of the last entry, in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.count = 0
        self.index = 0
        self.synced = 0

    def open(self) -> int:
        if self.file.exists():
            self.read(self.file.read_bytes())
        return self.index

    def read(self, data: bytes) -> None:
        self.count, self.index = map(int, data.split())

    def view(self) -> bytes:
        return b"%d %d" % (self.count, self.index)

    def apply(self, entries: list[libraft.Entry]) -> None:
        self.count += len(entries)
        self.index = entries[-1].index

    def sync(self) -> None:
        self.file.write_bytes(self.view())
        self.synced += 1

    def prepare_snapshot(self) -> bytes:
        return self.view()

    def save_snapshot(self, prepared: bytes, writer: libraft.SnapshotWriter) -> None:
        writer.write(prepared)

    def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        self.read(reader.read())
        self.sync()


class Coroutines(libraft.StateMachine):
    """All callbacks are coroutines that do suspend."""

    def __init__(self) -> None:
        self.count = 0
        self.loops: set[asyncio.AbstractEventLoop] = set()

    async def apply(self, entries: list[libraft.Entry]) -> "list[bytes]":
        await asyncio.sleep(0)
        self.loops.add(asyncio.get_running_loop())
        if any(entry.data == b"raise" for entry in entries):
            raise ValueError("as it was asked to")
        self.count += len(entries)
        return [entry.data for entry in entries]

    async def save_snapshot(self, writer: libraft.SnapshotWriter) -> None:
        await asyncio.sleep(0)
        writer.write(b"%d" % self.count)

    async def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        await asyncio.sleep(0)
        self.count = int(reader.read())


def start(node: libraft.Node, machine: Any, **options: Any) -> libraft.Group:
    group = node.start_group(1, machine, initial_members=ALONE, **options)
    group.wait_ready(PATIENCE_S).result()
    return group


def test_a_state_in_memory_comes_back_from_snapshot_and_log(open_node: OpenNode) -> None:
    first = Counter()
    with open_node() as node:
        group = start(node, first)
        group.propose_batch([b"x"] * 5).result()
        index = group.take_snapshot().result()
        assert group.status().snapshot_index == index
        group.propose(b"y").result()
    again = Counter()
    with open_node() as node:
        node.start_group(1, again).wait_ready(PATIENCE_S).result()
        assert again.count == 6
    assert [first.destroyed, again.destroyed] == [1, 1]


def test_a_concurrent_machine_applies_while_it_is_saved(open_node: OpenNode) -> None:
    machine = Shared()
    with open_node() as node:
        group = start(node, machine)
        group.propose(b"before").result()
        taken = group.take_snapshot()
        assert machine.saving.wait(PATIENCE_S)
        group.propose(b"beside").result(PATIENCE_S)
        assert not taken.done()
        machine.may_save.set()
        taken.result(PATIENCE_S)
    assert machine.released == [[b"before"]]
    again = Shared()
    with open_node() as node:
        node.start_group(1, again).wait_ready(PATIENCE_S).result()
        assert again.entries == [b"before", b"beside"]


def test_an_on_disk_machine_says_how_far_it_is_and_is_not_shown_the_rest_again(
    open_node: OpenNode, tmp_path: Path
) -> None:
    first = Filed(tmp_path / "state")
    with open_node() as node:
        group = start(node, first)
        group.propose_batch([b"x"] * 7).result()
        group.take_snapshot().result()
        assert first.synced >= 1
        group.propose(b"y").result()
    again = Filed(tmp_path / "state")
    with open_node() as node:
        node.start_group(1, again).wait_ready(PATIENCE_S).result()
        assert again.count == 8


def test_an_on_disk_machine_beyond_the_log_is_refused(open_node: OpenNode, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"1000 1000")
    group = open_node().start_group(1, Filed(tmp_path / "state"), initial_members=ALONE)
    with pytest.raises(libraft.MachineAheadError):
        group.wait_ready(PATIENCE_S).result()


def test_coroutines_run_on_the_event_loop_that_started_the_group(open_node: OpenNode) -> None:
    async def program() -> None:
        machine = Coroutines()
        async with open_node() as node:
            group = node.start_group(1, machine, initial_members=ALONE)
            await group.wait_ready(PATIENCE_S)
            assert (await group.propose(b"one")).result == b"one"
            await group.take_snapshot()
            assert machine.loops == {asyncio.get_running_loop()}
        again = Coroutines()
        node = open_node()
        group = node.start_group(1, again)
        await group.wait_ready(PATIENCE_S)
        assert again.count == 1
        with pytest.raises(libraft.ApplyFailedError, match="as it was asked to"):
            await group.propose(b"raise")

    asyncio.run(program())


def test_coroutines_without_an_event_loop_are_refused(open_node: OpenNode) -> None:
    with pytest.raises(libraft.InvalidArgumentError, match="call start_group from a coroutine"):
        open_node().start_group(1, Coroutines(), initial_members=ALONE)


def test_blocking_the_loop_that_callbacks_run_on_is_refused(open_node: OpenNode) -> None:
    async def program() -> None:
        node = open_node()
        group = node.start_group(1, Coroutines(), initial_members=ALONE)
        with pytest.raises(libraft.WouldDeadlockError):
            group.wait_ready(PATIENCE_S).result()
        await group.wait_ready(PATIENCE_S)
        with pytest.raises(libraft.WouldDeadlockError):
            node.close()
        await node.aclose()

    asyncio.run(program())


def test_a_coroutine_that_outlives_its_group_keeps_its_machine(open_node: OpenNode) -> None:
    async def program() -> None:
        entered, held = asyncio.Event(), asyncio.Event()
        destroyed: list[str] = []

        class Slow(Coroutines):
            async def apply(self, entries: list[libraft.Entry]) -> "list[bytes]":
                entered.set()
                await held.wait()
                destroyed.append("returned")
                return await super().apply(entries)

            def destroy(self) -> None:
                destroyed.append("destroyed")

        node = open_node()
        group = node.start_group(1, Slow(), initial_members=ALONE)
        await group.wait_ready(PATIENCE_S)
        pending = group.propose(b"x")
        await asyncio.wait_for(entered.wait(), PATIENCE_S)
        await node.aclose()
        with pytest.raises(libraft.ClosedError):
            await pending
        held.set()
        while len(destroyed) < 2:
            await asyncio.sleep(0)
            gc.collect()
        assert destroyed == ["returned", "destroyed"]

    asyncio.run(asyncio.wait_for(program(), PATIENCE_S))


def test_a_loop_that_ends_fails_what_it_was_to_await(open_node: OpenNode) -> None:
    futures: list[libraft.Future[libraft.Completion]] = []
    groups: list[libraft.Group] = []
    entered: asyncio.Event

    class Never(Coroutines):
        async def apply(self, entries: list[libraft.Entry]) -> "list[bytes]":
            entered.set()
            await asyncio.Event().wait()
            return []

    async def program() -> None:
        nonlocal entered
        entered = asyncio.Event()
        group = open_node().start_group(1, Never(), initial_members=ALONE)
        await group.wait_ready(PATIENCE_S)
        futures.append(group.propose(b"x"))
        groups.append(group)
        await asyncio.wait_for(entered.wait(), PATIENCE_S)

    asyncio.run(program())
    with pytest.raises(libraft.ApplyFailedError, match="CancelledError"):
        futures[0].result(PATIENCE_S)
    with pytest.raises(libraft.ApplyFailedError):
        groups[0].propose(b"y")


def test_what_apply_raises_is_what_everybody_sees_with_its_stack_trace(
    group: libraft.Group, counter: Counter
) -> None:
    with pytest.raises(libraft.ApplyFailedError) as caught:
        group.propose(b"raise").result()
    message = caught.value.message
    assert "ValueError: as it was asked to" in message.splitlines()[0]
    assert "Traceback (most recent call last):" in message
    assert 'raise ValueError("as it was asked to")' in message
    failure = group.status().failure
    assert isinstance(failure, libraft.ApplyFailedError)
    assert failure.message == message
    for later in (
        lambda: group.propose(b"x"),
        lambda: group.read_index(),
        lambda: group.wait_ready(),
    ):
        with pytest.raises(libraft.ApplyFailedError) as again:
            later().result(PATIENCE_S)
        assert again.value.message == message
    assert group.status().role == libraft.Role.STOPPED


def results_of(returned: Any) -> Callable[[list[libraft.Entry]], Any]:
    return lambda entries: returned


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        ([], "apply returned 0 results for 1 entries"),
        ([b"a", b"b"], "apply returned 2 results for 1 entries"),
        ([5], "a result of apply must be bytes-like, not int"),
        (["text"], "encode the text first"),
        (5, "apply must return a list of results, not int"),
    ],
)
def test_results_that_make_no_sense_fail_the_group(
    group: libraft.Group, counter: Counter, returned: Any, complaint: str
) -> None:
    counter.apply = results_of(returned)  # type: ignore[assignment, method-assign]
    with pytest.raises(libraft.ApplyFailedError, match=complaint):
        group.propose(b"x").result()


@pytest.mark.parametrize(
    ("returned", "expected"),
    [(None, b""), ([None], b""), ((b"tuple",), b"tuple"), ([bytearray(b"array")], b"array")],
)
def test_results_may_be_missing_or_bytes_like(
    group: libraft.Group, counter: Counter, returned: Any, expected: bytes
) -> None:
    counter.apply = results_of(returned)  # type: ignore[assignment, method-assign]
    assert group.propose(b"x").result().result == expected


def test_an_awaitable_from_a_plain_callback_needs_a_loop_as_well(
    group: libraft.Group, counter: Counter
) -> None:
    async def later() -> None:
        pass

    def apply(entries: list[libraft.Entry]) -> "Awaitable[None]":
        return later()

    counter.apply = apply  # type: ignore[assignment, method-assign]
    with pytest.raises(libraft.ApplyFailedError, match="there is no event loop to await it on"):
        group.propose(b"x").result()


def test_a_failed_save_fails_the_snapshot_only(group: libraft.Group, counter: Counter) -> None:
    def save(writer: libraft.SnapshotWriter) -> None:
        writer.write(b"half of it")
        raise OSError("the save does not go well")

    counter.save_snapshot = save  # type: ignore[method-assign]
    with pytest.raises(libraft.SaveFailedError, match="the save does not go well"):
        group.take_snapshot().result()
    group.propose(b"x").result()
    del counter.save_snapshot
    group.take_snapshot().result()


def test_a_failed_restore_stops_the_group(open_node: OpenNode) -> None:
    with open_node() as node:
        group = start(node, Counter())
        group.propose(b"x").result()
        group.take_snapshot().result()

    class Forgetful(Counter):
        def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
            raise RuntimeError("it is gone")

    group = open_node().start_group(1, Forgetful())
    with pytest.raises(libraft.RestoreFailedError, match="it is gone"):
        group.wait_ready(PATIENCE_S).result()


@pytest.mark.parametrize("how", [KeyboardInterrupt, SystemExit, StopIteration])
def test_exceptions_of_every_kind_end_in_the_error(
    group: libraft.Group, counter: Counter, how: type[BaseException]
) -> None:
    def leave() -> None:
        raise how("out of here")

    counter.before_apply = leave
    with pytest.raises(libraft.ApplyFailedError, match=how.__name__):
        group.propose(b"x").result()


def test_a_machine_is_destroyed_once_and_let_go_of(open_node: OpenNode) -> None:
    machine = Counter()
    node = open_node()
    group = start(node, machine)
    group.stop().result()
    assert machine.destroyed == 1
    node.close()
    assert machine.destroyed == 1
    known = weakref.ref(machine)
    del machine, group, node
    gc.collect()
    # What is left is the fixture's reference to the node, which has no machine any more.
    assert known() is None


def test_a_machine_is_destroyed_when_its_group_cannot_start(
    open_node: OpenNode, group: libraft.Group
) -> None:
    machine = Counter()
    node = open_node(2)
    node.close()
    with pytest.raises(libraft.ClosedError):
        node.start_group(1, machine, initial_members={2: "127.0.0.1:0"})
    assert machine.destroyed == 1


@pytest.mark.parametrize("machine", [None, 5, object(), Counter])
def test_what_is_no_state_machine_is_refused(open_node: OpenNode, machine: Any) -> None:
    with pytest.raises(libraft.ArgumentTypeError, match="must be an object of a subclass"):
        open_node().start_group(1, machine, initial_members=ALONE)
