"""Events, for `for` and `async for`."""

import asyncio
import threading

import libraft
import pytest
from conftest import ALONE, PATIENCE_S, Counter, OpenNode
from libraft import EventKind


def test_events_come_in_order_and_end_with_the_group(open_node: OpenNode) -> None:
    group = open_node().start_group(1, Counter(), initial_members=ALONE)
    events = group.events()
    group.wait_ready(PATIENCE_S).result()
    index = group.propose(b"x").result().index
    group.take_snapshot().result()
    group.stop().result()
    happened = list(events)
    roles = [event.role for event in happened if event.kind == EventKind.ROLE]
    assert libraft.Role.LEADER in roles
    (leader,) = [e for e in happened if e.kind == EventKind.LEADER and e.node_id == 1]
    assert leader.term >= 1
    (taken,) = [event for event in happened if event.kind == EventKind.SNAPSHOT_TAKEN]
    assert (taken.index, taken.bytes) == (index, 8)
    assert events.next() is None
    with pytest.raises(StopIteration):
        next(events)


def test_a_failure_is_an_event(group: libraft.Group) -> None:
    events = group.events()
    group.propose(b"raise").exception()
    while (event := events.next(PATIENCE_S)) is not None and event.kind != EventKind.FAILED:
        pass
    assert event is not None
    assert isinstance(group.status().failure, libraft.ApplyFailedError)


def test_any_number_may_listen_and_one_that_stops_is_no_burden(group: libraft.Group) -> None:
    first, second = group.events(), group.events()
    group.take_snapshot().result()
    assert first.next(PATIENCE_S) == second.next(PATIENCE_S)
    del first
    group.stop().result()
    assert libraft.Role.STOPPED in [event.role for event in second]


def test_waiting_for_an_event_takes_a_timeout(group: libraft.Group) -> None:
    events = group.events()
    with pytest.raises(TimeoutError):
        while True:
            events.next(timeout=0.01)


def test_events_can_be_awaited_and_a_cancelled_wait_loses_none(group: libraft.Group) -> None:
    async def program() -> None:
        events = group.events()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        waiting.cancel()
        await group.propose(b"x")
        await group.take_snapshot()
        async for event in events:
            if event.kind == EventKind.SNAPSHOT_TAKEN:
                break
        await group.stop()
        rest = [event.kind async for event in events]
        assert EventKind.ROLE in rest

    asyncio.run(program())


def test_a_thread_that_waits_is_told_of_the_end(group: libraft.Group) -> None:
    kinds: list[EventKind] = []
    events = group.events()
    thread = threading.Thread(target=lambda: kinds.extend(event.kind for event in events))
    thread.start()
    group.stop().result()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert kinds
