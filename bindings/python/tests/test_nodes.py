"""Nodes: from opening to closing, in every way."""

import asyncio
import gc
import socket
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import libraft
import pytest
from conftest import ALONE, PATIENCE_S, Counter, OpenNode


def wait_until_free(open_node: OpenNode) -> libraft.Node:
    """Opens node 1 as soon as whoever has its directory has let go of it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return open_node()
        except libraft.DirectoryInUseError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_the_status_has_all_that_is_known(open_node: OpenNode, tmp_path: Path) -> None:
    node = open_node()
    group = node.start_group(7, Counter(), initial_members=ALONE)
    group.wait_ready(PATIENCE_S).result()
    group.propose(b"x").result()
    now = node.status()
    assert (now.cluster, now.node_id, now.boot_counter, now.groups) == ("tests", 1, 1, 1)
    assert now.address.startswith("127.0.0.1:")
    assert len(now.incarnation) == 36
    assert now.failure is None
    assert not now.full
    assert now.journal_bytes > 0
    assert repr(node) == f"<libraft.Node 1 of cluster 'tests' at {now.address}>"
    mine = group.status()
    assert (mine.group_id, mine.role, mine.pending_proposals) == (7, libraft.Role.LEADER, 0)
    assert mine.leader == libraft.Leader(1, "127.0.0.1:0")
    assert mine.applied_index == mine.commit_index == mine.last_index > mine.first_index
    assert group.group_id == 7
    assert repr(group) == "<libraft.Group 7>"
    (member,) = group.members()
    assert (member.node_id, member.role) == (1, libraft.MemberRole.VOTER)
    assert member.incarnation == now.incarnation


def test_a_closed_node_refuses_calls_and_closes_again(open_node: OpenNode) -> None:
    node = open_node()
    group = node.start_group(1, Counter(), initial_members=ALONE)
    group.wait_ready(PATIENCE_S).result()
    node.close()
    node.close()
    asyncio.run(closed_again(node))
    for call in (
        lambda: group.propose(b"x"),
        lambda: group.propose_batch([b"x"]),
        lambda: group.read_index(),
        lambda: group.wait_ready(),
        lambda: node.start_group(2, Counter(), initial_members=ALONE),
    ):
        with pytest.raises(libraft.ClosedError):
            call().result()  # type: ignore[union-attr]
    assert group.stop().result() is None
    open_node().close()


async def closed_again(node: libraft.Node) -> None:
    await node.aclose()


def test_closing_completes_what_is_pending(open_node: OpenNode) -> None:
    machine = Counter()
    entered, held = threading.Event(), threading.Event()
    node = open_node()
    group = node.start_group(1, machine, initial_members=ALONE)
    group.wait_ready(PATIENCE_S).result()

    def hold() -> None:
        entered.set()
        held.wait(PATIENCE_S)

    machine.before_apply = hold
    futures = [group.propose(b"x") for _ in range(100)]
    assert entered.wait(PATIENCE_S)
    closing = node.aclose()
    for future in futures:
        error = future.exception(PATIENCE_S)
        assert isinstance(error, libraft.ClosedError)
        assert error.outcome == libraft.Outcome.UNKNOWN
    assert not closing.done()
    held.set()
    closing.result(PATIENCE_S)
    assert machine.destroyed == 1


def test_the_first_close_raises_what_had_stopped_a_group(open_node: OpenNode) -> None:
    node_ids = iter(range(1, 10))

    def failed() -> libraft.Node:
        node_id = next(node_ids)
        node = open_node(node_id)
        group = node.start_group(1, Counter(), initial_members={node_id: "127.0.0.1:0"})
        group.wait_ready(PATIENCE_S).result()
        group.propose(b"raise").exception()
        return node

    node = failed()
    with pytest.raises(libraft.ApplyFailedError, match="as it was asked to"):
        node.close()
    node.close()
    with pytest.raises(libraft.ApplyFailedError), failed():
        pass
    with pytest.raises(ZeroDivisionError), failed():
        1 / 0  # noqa: B018

    async def program() -> None:
        with pytest.raises(libraft.ApplyFailedError):
            await failed().aclose()
        with pytest.raises(libraft.ApplyFailedError):
            async with failed():
                pass
        with pytest.raises(ZeroDivisionError):
            async with failed():
                1 / 0  # noqa: B018

    asyncio.run(program())


def test_with_closes_also_after_an_exception(open_node: OpenNode) -> None:
    with pytest.raises(ZeroDivisionError), open_node() as node:
        1 / 0  # noqa: B018
    assert node.status().groups == 0
    open_node().close()

    async def program() -> None:
        with pytest.raises(ZeroDivisionError):
            async with open_node():
                1 / 0  # noqa: B018
        async with open_node() as opened:
            assert opened.status().boot_counter == 4

    asyncio.run(program())


def test_close_in_a_callback_begins_to_close_and_says_that_it_would_wait_for_itself(
    open_node: OpenNode,
) -> None:
    machine = Counter()
    node = open_node()
    group = node.start_group(1, machine, initial_members=ALONE)
    group.wait_ready(PATIENCE_S).result()
    inside: list[BaseException] = []

    def close_inside() -> None:
        try:
            node.close()
        except libraft.Error as error:
            inside.append(error)

    machine.before_apply = close_inside
    group.propose(b"x").exception(PATIENCE_S)
    wait_until_free(open_node).close()
    assert isinstance(inside[0], libraft.WouldDeadlockError)
    assert machine.destroyed == 1


def test_a_forgotten_node_closes_when_it_is_collected(tmp_path: Path, open_node: OpenNode) -> None:
    node = libraft.Node.open(cluster="tests", node_id=1, directory=tmp_path / "node-1")
    group = node.start_group(1, Counter(), initial_members=ALONE)
    known = weakref.ref(node)
    del node
    gc.collect()
    assert known() is None
    # The group keeps its node.
    group.wait_ready(PATIENCE_S).result()
    group.propose(b"x").result()
    del group
    gc.collect()
    wait_until_free(open_node).close()


def test_a_directory_has_one_node_at_a_time_and_one_identity(
    open_node: OpenNode, tmp_path: Path
) -> None:
    node = open_node()
    with pytest.raises(libraft.DirectoryInUseError, match="node-1"):
        open_node()
    node.close()
    with pytest.raises(libraft.WrongIdentityError):
        open_node(2, directory=tmp_path / "node-1")
    with pytest.raises(libraft.WrongIdentityError):
        open_node(cluster="another")
    open_node().close()


def test_addresses_that_cannot_be_are_refused(open_node: OpenNode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(libraft.AddressInUseError):
            open_node(listen_address=f"127.0.0.1:{taken.getsockname()[1]}")
    with pytest.raises(libraft.AddressInvalidError):
        open_node(listen_address="nowhere")
    with pytest.raises(libraft.InsecureAddressError):
        open_node(listen_address="0.0.0.0:0")
    with pytest.raises(libraft.AddressInvalidError, match="advertised_address"):
        open_node(listen_address="0.0.0.0:0", insecure_transport=True)
    with open_node(
        listen_address="0.0.0.0:0", insecure_transport=True, advertised_address="127.0.0.1:7000"
    ) as node:
        assert node.status().address == "127.0.0.1:7000"


def test_a_snapshot_directory_of_its_own(open_node: OpenNode, tmp_path: Path) -> None:
    elsewhere = tmp_path / "snapshots"
    with open_node(snapshot_directory=elsewhere) as node:
        group = node.start_group(1, Counter(), initial_members=ALONE)
        group.wait_ready(PATIENCE_S).result()
        group.propose(b"x").result()
        group.take_snapshot().result()
    assert any(file.is_file() for file in elsewhere.rglob("*"))


OPTIONS: dict[str, Any] = {"cluster": "tests", "node_id": 1}


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"cluster": None}, libraft.ArgumentTypeError, "cluster must be a str, not NoneType"),
        ({"cluster": "\ud800"}, libraft.InvalidUtf8Error, "lone surrogate"),
        ({"cluster": ""}, libraft.InvalidArgumentError, "cluster"),
        ({"node_id": 0}, libraft.InvalidArgumentError, "node_id 0 must be between"),
        ({"node_id": -1}, libraft.InvalidArgumentError, "node_id must be between 0 and"),
        ({"node_id": 1 << 64}, libraft.InvalidArgumentError, "node_id must be between 0 and"),
        ({"node_id": "one"}, libraft.ArgumentTypeError, "node_id must be an int, not str"),
        ({"directory": 5}, libraft.ArgumentTypeError, "directory must be a str or os.PathLike"),
        ({"directory": None}, libraft.ArgumentTypeError, "directory must be a str or os.PathLike"),
        ({"tick_ms": 0}, libraft.InvalidArgumentError, "tick_ms is 0, but must be between"),
        ({"tick_ms": 1.5}, libraft.ArgumentTypeError, "tick_ms must be an int, not float"),
        ({"insecure_transport": "yes"}, libraft.ArgumentTypeError, "must be a bool, not str"),
        ({"speed": 1}, libraft.InvalidArgumentError, "Node.open has no option 'speed'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    open_node: OpenNode, options: dict[str, Any], error: type[libraft.Error], complaint: str
) -> None:
    with pytest.raises(error, match=complaint) as caught:
        open_node(**options)
    assert caught.value.code in (libraft.Code.INVALID_ARGUMENT, libraft.Code.INVALID_UTF8)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError) == issubclass(error, TypeError)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"initial_members": 5}, "initial_members must be a dict of node ids and addresses"),
        ({"initial_members": {"one": "127.0.0.1:0"}}, "the node id of an initial member"),
        ({"initial_members": {1: None}}, "the address of an initial member must be a str"),
        ({"initial_members": {0: "127.0.0.1:0"}}, "the node_id of an initial member is 0"),
        ({"proposal_bytes_max": -1}, "proposal_bytes_max must be between"),
        ({"priority": 1 << 63}, "priority must be between"),
        ({"speed": 1}, "Node.start_group has no option 'speed'"),
    ],
)
def test_group_options_that_make_no_sense_are_refused(
    open_node: OpenNode, options: dict[str, Any], complaint: str
) -> None:
    machine = Counter()
    with pytest.raises(libraft.InvalidArgumentError, match=complaint):
        open_node().start_group(1, machine, **options)


def test_a_group_runs_once_and_can_be_started_again(open_node: OpenNode) -> None:
    node = open_node()
    group = node.start_group(1, Counter(), initial_members=ALONE)
    with pytest.raises(libraft.GroupExistsError):
        node.start_group(1, Counter(), initial_members=ALONE)
    group.wait_ready(PATIENCE_S).result()
    group.propose(b"x").result()
    group.stop().result()
    group.stop().result()
    with pytest.raises(libraft.StoppedError):
        group.propose(b"y")
    again = Counter()
    node.start_group(1, again).wait_ready(PATIENCE_S).result()
    assert again.count == 1
