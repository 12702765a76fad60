"""Clusters: three nodes and more, in one process."""

import time
from collections.abc import Callable

import libraft
import pytest
from conftest import PATIENCE_S, Counter, OpenNode
from libraft import Change


class Member:
    def __init__(self, open_node: OpenNode, node_id: int) -> None:
        # Nobody is to vote because the machine is busy for a moment.
        self.node = open_node(node_id, tick_ms=100)
        self.machine = Counter()
        self.group: libraft.Group

    def start(self, members: dict[int, str], **options: int) -> None:
        self.group = self.node.start_group(1, self.machine, initial_members=members, **options)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def cluster(open_node: OpenNode, count: int, **options: int) -> dict[int, Member]:
    members = {node_id: Member(open_node, node_id) for node_id in range(1, count + 1)}
    addresses = {node_id: member.node.status().address for node_id, member in members.items()}
    for member in members.values():
        member.start(addresses, **options)
    for member in members.values():
        member.group.wait_ready(PATIENCE_S).result()
    return members


@pytest.fixture
def trio(open_node: OpenNode) -> dict[int, Member]:
    return cluster(open_node, 3)


def leader_of(members: dict[int, Member]) -> int:
    found: list[int] = []

    def find() -> bool:
        for node_id, member in members.items():
            if member.group.status().role == libraft.Role.LEADER:
                found.append(node_id)
        return bool(found)

    wait_for(find)
    return found[0]


def test_what_one_proposes_all_apply(trio: dict[int, Member]) -> None:
    for member in trio.values():
        member.group.propose(b"x").result()
    for member in trio.values():
        member.group.read_index().result()
        assert member.machine.count == 3


def test_leadership_moves_where_it_is_asked_to(trio: dict[int, Member]) -> None:
    for to in (1, 2, 3, 1):
        leader = leader_of(trio)
        if leader != to:
            trio[leader].group.transfer_leadership(to).result()
            wait_for(lambda to=to: leader_of(trio) == to)  # type: ignore[misc]
    follower = trio[2].group
    with pytest.raises(libraft.NotLeaderError) as caught:
        follower.transfer_leadership(3).result()
    assert caught.value.leader is not None
    assert caught.value.leader.node_id == 1
    assert str(caught.value).endswith(f"(leader: node 1 at {caught.value.leader.address})")


def test_members_come_and_go(trio: dict[int, Member], open_node: OpenNode) -> None:
    leader = trio[leader_of(trio)].group
    leader.propose_batch([b"x"] * 5).result()
    newcomer = Member(open_node, 4)
    newcomer.start({})
    address = newcomer.node.status().address
    leader.change_membership([Change.add_learner(4, address)]).result()
    assert {m.node_id: m.role for m in leader.members()}[4] == libraft.MemberRole.LEARNER
    newcomer.group.wait_ready(PATIENCE_S).result()
    assert newcomer.machine.count == 5
    leader.change_membership(iter([Change.promote(4)])).result()
    assert {m.node_id: m.role for m in leader.members()}[4] == libraft.MemberRole.VOTER
    gone = next(node_id for node_id in trio if trio[node_id].group is not leader)
    leader.change_membership([Change.demote(4), Change.remove(gone)]).result()
    assert gone not in {member.node_id for member in leader.members()}
    with pytest.raises(libraft.UnknownMemberError):
        leader.change_membership([Change.promote(9)]).result()
    with pytest.raises(libraft.AddressInvalidError):
        leader.change_membership([Change.add_voter(5, "")]).result()
    with pytest.raises(libraft.MembershipInvalidError):
        leader.change_membership([Change.remove(m.node_id) for m in leader.members()]).result()
    with pytest.raises(libraft.ArgumentTypeError, match="must be a libraft.Change, not tuple"):
        leader.change_membership([("promote", 4)])  # type: ignore[list-item]
    with pytest.raises(libraft.ArgumentTypeError, match="a list of libraft.Change, not int"):
        leader.change_membership(4)  # type: ignore[arg-type]


def test_without_a_majority_a_proposal_ends_with_a_timeout_of_unknown_outcome(
    open_node: OpenNode,
) -> None:
    members = cluster(open_node, 2, proposal_timeout_ms=300)
    leader = leader_of(members)
    (other,) = set(members) - {leader}
    members[other].node.close()
    with pytest.raises(TimeoutError) as caught:
        members[leader].group.propose(b"x").result(PATIENCE_S)
    assert isinstance(caught.value, libraft.Error)
    assert caught.value.code == libraft.Code.TIMEOUT
