#!/usr/bin/env python3
"""The driver of the Python binding: see PROTOCOL.md.

driver.py                          the line protocol
driver.py exit CASE DIRECTORY      a case of the exit matrix
driver.py bench-member ID DIR      a member of the benchmark's cluster
"""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import ledger
import libraft

LINE_BYTES_MAX = 1 << 27
T = TypeVar("T")
Arguments = dict[str, str]


class Group:
    """A group that was started, its machine, and whoever listens to its events."""

    def __init__(self, group: libraft.Group, machine: ledger.Machine) -> None:
        self.group = group
        self.machine = machine
        self.listening: asyncio.Task[None] | None = None


class Node:
    def __init__(self, node: libraft.Node) -> None:
        self.node = node
        self.groups: dict[int, Group] = {}


class Counter(logging.Handler):
    """The language's log hook."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


nodes: dict[int, Node] = {}
log_counter = Counter()


# ---------------------------------------------------------------- words


def unhex(word: str) -> bytes:
    return b"" if word == "-" else bytes.fromhex(word)


def text(word: str) -> str:
    return unhex(word).decode()


def to_hex(value: "bytes | str") -> str:
    data = value.encode() if isinstance(value, str) else value
    return data.hex() or "-"


def number(arguments: Arguments, name: str) -> int:
    return int(arguments[name])


def numbers(arguments: Arguments, *names: str) -> dict[str, Any]:
    """Those of the numeric options that are there."""
    return {name: int(arguments[name]) for name in names if name in arguments}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def describe(error: libraft.Error) -> str:
    leader = error.leader or libraft.Leader(0, "")
    return (
        f"code={error.code.name} number={int(error.code)} outcome={error.outcome} "
        f"retriable={int(error.retriable)} leader={leader.node_id} "
        f"leader_address={to_hex(leader.address)} message={to_hex(error.message)}"
    )


def failure(error: "libraft.Error | None") -> str:
    if error is None:
        return "failure_code=OK failure=-"
    return f"failure_code={error.code.name} failure={to_hex(error.message)}"


# ---------------------------------------------------------------- nodes and groups


def node_of(arguments: Arguments) -> Node:
    return nodes[number(arguments, "node")]


def group_of(arguments: Arguments) -> Group:
    return node_of(arguments).groups[number(arguments, "group")]


async def waited(future: "libraft.Future[T]", arguments: Arguments) -> T:
    """Awaits a call, or waits for it in the blocking form, on a thread that may block."""
    if arguments.get("form") == "blocking":
        return await asyncio.to_thread(future.result)
    return await future


async def open_node(arguments: Arguments) -> str:
    options = numbers(arguments, "tick_ms", "election_ticks", "heartbeat_ticks", "segment_bytes")
    if "listen" in arguments:
        options["listen_address"] = text(arguments["listen"])
    if "advertise" in arguments:
        options["advertised_address"] = text(arguments["advertise"])
    if "insecure" in arguments:
        options["insecure_transport"] = arguments["insecure"] == "1"
    node = await asyncio.to_thread(
        libraft.Node.open,
        cluster=arguments["cluster"],
        node_id=number(arguments, "node"),
        directory=text(arguments["directory"]),
        **options,
    )
    nodes[number(arguments, "node")] = Node(node)
    return f"address={to_hex(node.status().address)}"


async def start_group(arguments: Arguments) -> str:
    kind = ledger.KINDS[arguments["machine"], arguments.get("style", "sync")]
    folder = Path(text(arguments["state"])) if "state" in arguments else None
    machine = kind(arguments.get("fail", "none"), folder)
    members = {}
    if arguments["members"] != "-":
        for member in arguments["members"].split(","):
            node_id, address = member.split("@")
            members[int(node_id)] = address
    options = numbers(
        arguments,
        "proposal_bytes_max",
        "pending_bytes_max",
        "pending_count_max",
        "snapshot_entries",
        "snapshot_log_bytes",
        "retained_entries",
        "proposal_timeout_ms",
        "snapshot_transfer_timeout_ms",
        "snapshot_restore_timeout_ms",
    )
    node, group_id = node_of(arguments), number(arguments, "group")
    group = node.node.start_group(group_id, machine, initial_members=members, **options)
    node.groups[group_id] = Group(group, machine)
    return ""


async def wait_ready(arguments: Arguments) -> str:
    timeout = number(arguments, "timeout_ms") / 1000
    await waited(group_of(arguments).group.wait_ready(timeout), arguments)
    return ""


async def stop(arguments: Arguments) -> str:
    await waited(group_of(arguments).group.stop(), arguments)
    return ""


async def close(arguments: Arguments) -> str:
    how = arguments.get("how", "wait")
    if how == "forget":
        del nodes[number(arguments, "node")]
        gc.collect()
    elif how == "async":
        await node_of(arguments).node.aclose()
    else:
        await asyncio.to_thread(node_of(arguments).node.close)
    return ""


# ---------------------------------------------------------------- calls


async def propose(arguments: Arguments) -> str:
    future = group_of(arguments).group.propose(unhex(arguments["data"]))
    done = await waited(future, arguments)
    return f"index={done.index} term={done.term} result={to_hex(done.result)}"


async def propose_batch(arguments: Arguments) -> str:
    entries = [unhex(entry) for entry in arguments["data"].split(",")]
    results = await waited(group_of(arguments).group.propose_batch(entries), arguments)
    return " ".join(
        f"r={result.code.name}:{result.outcome}"
        if isinstance(result, libraft.Error)
        else f"r={result.index}:{result.term}:{to_hex(result.result)}"
        for result in results
    )


async def read_index(arguments: Arguments) -> str:
    index = await waited(group_of(arguments).group.read_index(), arguments)
    return f"index={index}"


async def read(arguments: Arguments) -> str:
    group = group_of(arguments)
    index = await group.group.read_index()
    with group.machine.lock:
        value = group.machine.ledger.values.get(unhex(arguments["key"]))
    return f"index={index} found={int(value is not None)} value={to_hex(value or b'')}"


async def dump(arguments: Arguments) -> str:
    machine = group_of(arguments).machine
    with machine.lock:
        state = machine.ledger
        return (
            f"applied={state.applied} count={state.count} hash={state.hash} "
            f"keys={len(state.values)}"
        )


async def node_status(arguments: Arguments) -> str:
    now = node_of(arguments).node.status()
    return (
        f"node_id={now.node_id} incarnation={now.incarnation.replace('-', '')} "
        f"boot_counter={now.boot_counter} groups={now.groups} "
        f"connected_peers={now.connected_peers} refused_frames={now.refused_frames} "
        f"refused_connections={now.refused_connections} journal_bytes={now.journal_bytes} "
        f"checkpoint_bytes={now.checkpoint_bytes} segments={now.segments} full={int(now.full)} "
        f"cluster={now.cluster} address={to_hex(now.address)} {failure(now.failure)}"
    )


async def group_status(arguments: Arguments) -> str:
    now = group_of(arguments).group.status()
    leader = now.leader or libraft.Leader(0, "")
    return (
        f"group_id={now.group_id} raft_id={now.raft_id} role={now.role} term={now.term} "
        f"first_index={now.first_index} last_index={now.last_index} "
        f"commit_index={now.commit_index} applied_index={now.applied_index} "
        f"snapshot_index={now.snapshot_index} pending_proposals={now.pending_proposals} "
        f"pending_bytes={now.pending_bytes} leader_node_id={leader.node_id} "
        f"leader_address={to_hex(leader.address)} {failure(now.failure)}"
    )


async def members(arguments: Arguments) -> str:
    return " ".join(
        f"m={member.node_id}:{member.raft_id}:{member.role}:{to_hex(member.address)}"
        for member in group_of(arguments).group.members()
    )


async def change_membership(arguments: Arguments) -> str:
    steps = []
    for step in arguments["steps"].split(","):
        kind, rest = step.split(":", 1)
        node_id, _, address = rest.partition("@")
        make: Callable[..., libraft.Change] = getattr(libraft.Change, kind)
        steps.append(make(int(node_id), address) if address else make(int(node_id)))
    await waited(group_of(arguments).group.change_membership(steps), arguments)
    return ""


async def transfer_leadership(arguments: Arguments) -> str:
    group = group_of(arguments).group
    await waited(group.transfer_leadership(number(arguments, "to")), arguments)
    return ""


async def take_snapshot(arguments: Arguments) -> str:
    index = await waited(group_of(arguments).group.take_snapshot(), arguments)
    return f"index={index}"


# ---------------------------------------------------------------- events, machine, log


async def events(arguments: Arguments) -> str:
    group = group_of(arguments)
    if group.listening is not None:
        group.listening.cancel()
        group.listening = None
    if arguments["on"] == "1":
        place = f"node={arguments['node']} group={arguments['group']}"
        group.listening = asyncio.create_task(tell(place, group.group.events()))
    return ""


async def tell(place: str, happened: libraft.Events) -> None:
    async for event in happened:
        say(f"! event {place} kind={event.kind}{details(event)}")


def details(event: libraft.Event) -> str:
    kind = libraft.EventKind
    if event.kind == kind.ROLE:
        return f" role={event.role} term={event.term}"
    if event.kind == kind.LEADER:
        return f" node_id={event.node_id} term={event.term}"
    if event.kind in (kind.MEMBERSHIP, kind.SNAPSHOT_INSTALLED):
        return f" index={event.index}"
    if event.kind == kind.SNAPSHOT_TAKEN:
        return f" index={event.index} bytes={event.bytes}"
    if event.kind in (kind.SNAPSHOT_SENDING, kind.SNAPSHOT_RECEIVING):
        return f" node_id={event.node_id} index={event.index} bytes={event.bytes}"
    return ""


async def machine(arguments: Arguments) -> str:
    behaviour = group_of(arguments).machine
    if "block_ms" in arguments:
        behaviour.block_s = number(arguments, "block_ms") / 1000
    behaviour.fail = arguments.get("fail", behaviour.fail)
    behaviour.pend = arguments.get("pend", behaviour.pend)
    if arguments.get("release") == "1":
        behaviour.release()
    return ""


async def close_in_callback(arguments: Arguments) -> str:
    node = node_of(arguments).node
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def inside() -> None:
        try:
            node.close()
            code = "OK"
        except libraft.Error as error:
            code = error.code.name
        loop.call_soon_threadsafe(answer.set_result, code)

    group_of(arguments).machine.in_next_apply = inside
    return f"code={await answer}"


async def count_destroyed(_: Arguments) -> str:
    return f"count={ledger.destroyed}"


async def log(arguments: Arguments) -> str:
    logger = logging.getLogger("libraft")
    logger.removeHandler(log_counter)
    if arguments["level"] != "off":
        levels = {"trace": "DEBUG"}
        logger.setLevel(levels.get(arguments["level"], arguments["level"].upper()))
        logger.addHandler(log_counter)
    return ""


async def logged(_: Arguments) -> str:
    return f"count={log_counter.count}"


async def version(_: Arguments) -> str:
    return f"version={libraft.version()}"


async def misuse(arguments: Arguments) -> str:
    node, group = node_of(arguments), group_of(arguments).group
    directory = f"/tmp/libraft-misuse-{os.getpid()}"
    # What a type checker would not let pass.
    open_any: Any = libraft.Node.open
    propose_any: Any = group.propose
    options = {"cluster": "misuse", "node_id": 9, "directory": directory}
    mistakes: dict[str, Callable[[], Any]] = {
        "wrong_type": lambda: propose_any(5),
        "null": lambda: propose_any(None),
        "null_in_batch": lambda: group.propose_batch([b"good", None]),  # type: ignore[list-item]
        "null_option": lambda: open_any(**{**options, "cluster": None}),
        "wrong_option_type": lambda: open_any(**options, tick_ms="fast"),
        "unknown_option": lambda: open_any(**options, speed=1),
        "not_utf8": lambda: open_any(**{**options, "cluster": "\ud800"}),
        "negative": lambda: node.node.start_group(
            99, ledger.Memory(), initial_members={}, proposal_bytes_max=-1
        ),
        "number_too_large": lambda: group.transfer_leadership(1 << 64),
        "no_machine": lambda: node.node.start_group(99, None),  # type: ignore[arg-type]
        "wrong_machine": lambda: node.node.start_group(99, 5),  # type: ignore[arg-type]
        "wrong_step": lambda: group.change_membership([5]),  # type: ignore[list-item]
    }
    result = mistakes[arguments["what"]]()
    if isinstance(result, libraft.Future):
        await result
    return ""


# ---------------------------------------------------------------- the protocol

COMMANDS: dict[str, Callable[[Arguments], Awaitable[str]]] = {
    "version": version,
    "open": open_node,
    "start_group": start_group,
    "wait_ready": wait_ready,
    "propose": propose,
    "propose_batch": propose_batch,
    "read_index": read_index,
    "read": read,
    "dump": dump,
    "node_status": node_status,
    "group_status": group_status,
    "members": members,
    "change_membership": change_membership,
    "transfer_leadership": transfer_leadership,
    "take_snapshot": take_snapshot,
    "events": events,
    "machine": machine,
    "stop": stop,
    "close": close,
    "close_in_callback": close_in_callback,
    "misuse": misuse,
    "destroyed": count_destroyed,
    "log": log,
    "logged": logged,
}


async def serve(line: str) -> None:
    request, command, *words = line.split(" ")
    try:
        arguments = dict(word.split("=", 1) for word in words)
        answer = await COMMANDS[command](arguments)
        say(f"{request} ok {answer}".rstrip())
    except libraft.Error as error:
        say(f"{request} error {describe(error)}")
    except Exception as error:
        message = to_hex(f"{type(error).__name__}: {error}")
        say(
            f"{request} error code=DRIVER number=0 outcome=rejected retriable=0 leader=0 "
            f"leader_address=- message={message}"
        )


async def serve_all() -> None:
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say(f"! driver language=python runtime={to_hex(sys.executable)} protocol=1")
    running = set()
    while line := await reader.readline():
        # Tasks begin in the order in which they are made.
        task = asyncio.create_task(serve(line.decode().rstrip("\n")))
        running.add(task)
        task.add_done_callback(running.discard)
    # At once, with nothing closed.
    os._exit(0)


def main() -> None:
    match sys.argv[1:]:
        case []:
            asyncio.run(serve_all())
        case ["exit", case, directory]:
            import exits

            exits.run(case, directory)
        case ["bench-member", node_id, directory]:
            import bench

            bench.run(int(node_id), directory)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
