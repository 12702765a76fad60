"""Events, for `for` and `async for`."""

import asyncio
import threading
from collections.abc import Callable

import libraft
import pytest
from conftest import PATIENCE_S, Counter, OpenNode
from libraft import Event, EventKind


def until(events: libraft.Events, wanted: Callable[[Event], bool]) -> list[Event]:
    """All events up to the first that is wanted, however many others come before."""
    seen: list[Event] = []
    while not seen or not wanted(seen[-1]):
        event = events.next(PATIENCE_S)
        assert event is not None, seen
        seen.append(event)
    return seen


def is_snapshot(event: Event) -> bool:
    return event.kind == EventKind.SNAPSHOT_TAKEN


def test_events_come_in_order_and_end_with_the_group(open_node: OpenNode) -> None:
    nodes = [open_node(1), open_node(2)]
    members = {number: node.status().address for number, node in enumerate(nodes, 1)}
    group = nodes[0].start_group(1, Counter(), initial_members=members)
    # Nothing can have happened yet: the other member does not run the group.
    events = group.events()
    nodes[1].start_group(1, Counter(), initial_members=members)
    group.wait_ready(PATIENCE_S).result()
    group.propose(b"x").result()
    index = group.take_snapshot().result()
    group.stop().result()
    happened = list(events)
    kinds = [event.kind for event in happened]
    assert kinds.index(EventKind.ROLE) < kinds.index(EventKind.SNAPSHOT_TAKEN)
    led = [event for event in happened if event.kind == EventKind.LEADER and event.node_id != 0]
    assert led
    assert all(event.node_id in members and event.term >= 1 for event in led)
    (taken,) = filter(is_snapshot, happened)
    assert (taken.index, taken.bytes) == (index, 8)
    assert happened[-1].role == libraft.Role.STOPPED
    assert events.next() is None
    with pytest.raises(StopIteration):
        next(events)


def test_a_failure_is_an_event(group: libraft.Group) -> None:
    events = group.events()
    group.propose(b"raise").exception()
    until(events, lambda event: event.kind == EventKind.FAILED)
    assert isinstance(group.status().failure, libraft.ApplyFailedError)


def test_any_number_may_listen_and_one_that_stops_is_no_burden(group: libraft.Group) -> None:
    first, second = group.events(), group.events()
    group.take_snapshot().result()
    assert until(first, is_snapshot)[-1] == until(second, is_snapshot)[-1]
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
            if is_snapshot(event):
                break
        await group.stop()
        rest = [event.kind async for event in events]
        assert EventKind.ROLE in rest

    asyncio.run(asyncio.wait_for(program(), PATIENCE_S))


def test_a_thread_that_waits_is_told_of_the_end(group: libraft.Group) -> None:
    kinds: list[EventKind] = []
    events = group.events()
    thread = threading.Thread(target=lambda: kinds.extend(event.kind for event in events))
    thread.start()
    group.stop().result()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert kinds
