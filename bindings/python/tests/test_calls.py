"""Proposals, reads, and the futures that they return."""

import asyncio
import os
import signal
import struct
import threading
import time

import libraft
import pytest
from conftest import PATIENCE_S, Counter


def test_a_proposal_completes_with_index_term_and_what_apply_returned(group: libraft.Group) -> None:
    first = group.propose(b"one").result()
    second = group.propose(bytearray(b"two")).result()
    third = group.propose(memoryview(b"three")[1:]).result()
    assert [struct.unpack("<Q", done.result)[0] for done in (first, second, third)] == [1, 2, 3]
    assert [second.index, third.index] == [first.index + 1, first.index + 2]
    assert first.term == group.status().term
    assert (
        repr(first)
        == f"Completion(index={first.index}, term={first.term}, result={first.result!r})"
    )


def test_a_batch_completes_once_with_a_result_for_each_entry_in_order(group: libraft.Group) -> None:
    results = group.propose_batch([b"a", bytearray(b"b"), b"c"]).result()
    assert [
        struct.unpack("<Q", r.result)[0] for r in results if not isinstance(r, libraft.Error)
    ] == [
        1,
        2,
        3,
    ]
    results = group.propose_batch(entry for entry in (b"d", b"e")).result()
    assert len(results) == 2


def test_entries_of_a_batch_that_fail_are_errors_in_its_list(group: libraft.Group) -> None:
    results = group.propose_batch([b"good", b"raise"]).result()
    assert all(isinstance(result, libraft.ApplyFailedError) for result in results)


def test_futures_can_be_awaited_more_than_once_and_by_many(group: libraft.Group) -> None:
    async def program() -> None:
        futures = [group.propose(b"%d" % number) for number in range(500)]
        done = await asyncio.gather(*futures)
        assert [struct.unpack("<Q", one.result)[0] for one in done] == list(range(1, 501))
        assert (await futures[0]).index == done[0].index
        both = await asyncio.gather(*(wait(futures[1]) for _ in range(2)))
        assert both[0].index == both[1].index

    async def wait(future: "libraft.Future[libraft.Completion]") -> libraft.Completion:
        return await future

    asyncio.run(program())
    # Each event loop has a way of its own to be woken.
    asyncio.run(program_of_one(group))


async def program_of_one(group: libraft.Group) -> None:
    assert (await group.propose(b"again")).result == struct.pack("<Q", 501)


def test_completions_reach_an_event_loop_in_batches(
    group: libraft.Group, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def program() -> int:
        loop = asyncio.get_running_loop()
        wakes = 0
        add_reader = loop.add_reader

        def count_wakes(descriptor: int, callback: "object") -> None:
            def woken() -> None:
                nonlocal wakes
                wakes += 1
                callback()  # type: ignore[operator]

            add_reader(descriptor, woken)

        monkeypatch.setattr(loop, "add_reader", count_wakes)
        held = threading.Event()
        counter.before_apply = lambda: held.wait(PATIENCE_S)
        futures = [group.propose(b"x") for _ in range(1000)]
        waiting = [asyncio.ensure_future(future) for future in futures]
        await asyncio.sleep(0)
        # While the loop does not look, all 1,000 complete.
        held.set()
        deadline = time.monotonic() + PATIENCE_S
        while not all(future.done() for future in futures):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        await asyncio.gather(*waiting)
        return wakes

    # The last one is done a moment before its event loop is told, which may be a second time.
    assert 1 <= asyncio.run(program()) <= 2


def test_an_awaiting_task_can_be_cancelled_and_others_still_get_theirs(
    group: libraft.Group, counter: Counter
) -> None:
    async def program() -> None:
        held = threading.Event()
        counter.before_apply = lambda: held.wait(PATIENCE_S)
        first = asyncio.ensure_future(group.propose(b"first"))
        second = asyncio.ensure_future(group.propose(b"second"))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        held.set()
        assert (await second).result == struct.pack("<Q", 2)

    asyncio.run(program())


def test_result_takes_a_timeout_and_the_call_goes_on(
    group: libraft.Group, counter: Counter
) -> None:
    held = threading.Event()
    counter.before_apply = lambda: held.wait(PATIENCE_S)
    future = group.propose(b"x")
    with pytest.raises(TimeoutError):
        future.result(0.01)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0)
    assert not future.done()
    assert "pending" in repr(future)
    held.set()
    assert future.result(PATIENCE_S).result == struct.pack("<Q", 1)
    assert future.exception() is None
    assert future.done()
    with pytest.raises(libraft.InvalidArgumentError):
        future.result(float("nan"))
    with pytest.raises(libraft.ArgumentTypeError):
        future.result("soon")  # type: ignore[arg-type]


def test_a_signal_ends_a_wait(group: libraft.Group, counter: Counter) -> None:
    held = threading.Event()
    counter.before_apply = lambda: held.wait(PATIENCE_S)
    future = group.propose(b"x")
    begun = time.monotonic()
    # Where time is short the signal comes before the wait: inside of the block all the same.
    with pytest.raises(KeyboardInterrupt):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        future.result(PATIENCE_S)
    assert time.monotonic() - begun < PATIENCE_S
    held.set()
    future.result(PATIENCE_S)


def test_a_read_index_is_not_before_what_was_acknowledged(
    group: libraft.Group, counter: Counter
) -> None:
    done = group.propose(b"x").result()
    assert group.read_index().result() >= done.index
    assert counter.count == 1


def test_other_threads_go_on_while_one_waits(group: libraft.Group, counter: Counter) -> None:
    held = threading.Event()
    counter.before_apply = lambda: held.wait(PATIENCE_S)
    futures = [group.propose(b"x") for _ in range(8)]
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda future=future: results.append(future.result().result))
        for future in futures
    ]
    for thread in threads:
        thread.start()
    held.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(results) == [struct.pack("<Q", count) for count in range(1, 9)]


def test_too_much_pending_is_refused_at_once_and_accepted_later(
    open_node: "object", counter: Counter
) -> None:
    node = open_node()  # type: ignore[operator]
    group = node.start_group(1, counter, initial_members={1: "127.0.0.1:0"}, pending_count_max=2)
    group.wait_ready(PATIENCE_S).result()
    held = threading.Event()
    counter.before_apply = lambda: held.wait(PATIENCE_S)
    futures = [group.propose(b"x") for _ in range(2)]
    with pytest.raises(libraft.BusyError) as caught:
        group.propose(b"y")
    assert caught.value.retriable
    assert caught.value.outcome == libraft.Outcome.REJECTED
    held.set()
    for future in futures:
        future.result()
    group.propose(b"y").result()


def test_a_blocking_wait_inside_a_callback_is_refused(
    group: libraft.Group, counter: Counter
) -> None:
    inside: list[BaseException] = []

    def wait_inside() -> None:
        counter.before_apply = lambda: None
        try:
            group.read_index().result()
        except libraft.Error as error:
            inside.append(error)

    counter.before_apply = wait_inside
    group.propose(b"x").result()
    assert isinstance(inside[0], libraft.WouldDeadlockError)


def test_errors_are_raised_anew_for_each_who_asks(group: libraft.Group) -> None:
    future = group.propose(b"raise")
    with pytest.raises(libraft.ApplyFailedError) as first:
        future.result()
    with pytest.raises(libraft.ApplyFailedError) as second:
        future.result()
    assert first.value is not second.value
    assert isinstance(future.exception(), libraft.ApplyFailedError)
