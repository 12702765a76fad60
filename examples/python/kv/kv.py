#!/usr/bin/env python3
"""kv: a replicated key-value store, whole.

Every process holds all keys in memory. Changes go through libraft, which hands them to each
process in the same order (Store.apply) and keeps them, as long as most of the processes live. A
client may talk to any of them.

    kv.py --node 1 --directory data-1 --listen 127.0.0.1:7001 --clients 8001
          --member 1=127.0.0.1:7001 --member 2=127.0.0.1:7002 --member 3=127.0.0.1:7003

and the same as node 2 and 3; or one alone, with itself as the only member. A process without
--member waits until the leader of those that are there is told to `add` it. It is the same program
as examples/c/kv.c: processes of both make one cluster.

The protocol, on a port of 127.0.0.1: a line for each request, and behind the line of a value its
bytes, whatever they are. Try it with `nc 127.0.0.1 8001`.

    put LENGTH KEY, then the bytes   ok INDEX
    del KEY                          ok INDEX, or none
    get KEY                          value LENGTH, then the bytes; or none. Linearizable.
    keys                             keys COUNT, then a line for each. Linearizable.
    dump INDEX                       dump APPLIED COUNT, then for each LENGTH KEY and the bytes:
                                     this process's own state, once it has applied INDEX
    status                           status NAME=VALUE ...
    members                          members COUNT, then NODE ROLE ADDRESS for each
    add NODE ADDRESS, promote NODE,  ok. At the leader: a new node is a learner, and votes
    remove NODE, transfer NODE       once it is promoted

or, to any: error CODE OUTCOME retriable|final MESSAGE. After the outcome `unknown` the change may
yet happen.
"""

import argparse
import asyncio
import io
import logging
import signal
import sys
from collections.abc import Awaitable, Callable

import libraft
from libraft import Change

KEY_BYTES_MAX = 4095
LINE_BYTES_MAX = KEY_BYTES_MAX + 64
VALUE_BYTES_MAX = (8 << 20) - 2 * KEY_BYTES_MAX  # an entry may have 8 MiB
CLIENTS_MAX = 256
DUMP_TIMEOUT_S = 30


# ---------------------------------------------------------------- the state machine


class Store(libraft.StateMachine):
    """The state. Its callbacks are coroutines, so all of this program runs on one event loop, and
    needs no lock."""

    def __init__(self) -> None:
        self.items: dict[bytes, bytes] = {}
        self.applied_index = 0
        self.applied = asyncio.Condition()

    async def apply(self, entries: list[libraft.Entry]) -> list[bytes]:
        """An entry is 'P' or 'D', the key, a zero byte, and for 'P' the value."""
        results = []
        for entry in entries:
            kind, (key, zero, value) = entry.data[:1], entry.data[1:].partition(b"\0")
            if not zero or kind not in (b"P", b"D"):
                # Better to stop than to differ from the others.
                raise ValueError("an entry is not kv's: who else is here?")
            found = True
            if kind == b"P":
                self.items[key] = value
            else:
                found = self.items.pop(key, None) is not None
            results.append(b"1" if found else b"0")
            self.applied_index = entry.index
        await self.changed()
        return results

    async def save_snapshot(self, writer: libraft.SnapshotWriter) -> None:
        """A snapshot is what `dump` prints."""
        with io.BufferedWriter(writer, 1 << 20) as file:
            file.write(b"dump %d %d\n" % (self.applied_index, len(self.items)))
            for key, value in sorted(self.items.items()):
                file.write(b"%d %s\n%s\n" % (len(value), key, value))

    async def restore_snapshot(self, reader: libraft.SnapshotReader) -> None:
        """The state is replaced when all of the snapshot is there, and not before."""
        file = io.BufferedReader(reader, 1 << 20)
        word, index, count = file.readline().split()
        if word != b"dump":
            raise ValueError("this is not a snapshot of kv's")
        items = {}
        for _ in range(int(count)):
            length, key = file.readline().removesuffix(b"\n").split(b" ", 1)
            value = file.read(int(length) + 1)
            if len(value) != int(length) + 1:
                raise EOFError("the snapshot is cut off")
            items[key] = value[:-1]
        self.items, self.applied_index = items, int(index)
        await self.changed()

    async def changed(self) -> None:
        async with self.applied:
            self.applied.notify_all()


# ---------------------------------------------------------------- the requests of clients


class GoneError(Exception):
    """The client is not served any more: it has left, or cannot be understood."""


class Refused(Exception):  # noqa: N818
    """A request cannot be served; the message says why."""


class Server:
    """Serves clients. Every request is served by a method that returns the answer."""

    def __init__(self, group: libraft.Group, store: Store) -> None:
        self.group = group
        self.store = store
        self.snapshot_bytes = 0
        self.installed_index = 0
        self.places = asyncio.Semaphore(CLIENTS_MAX)
        # By name: the method, and whether it takes arguments.
        self.requests: dict[bytes, tuple[Callable[..., Awaitable[bytes]], bool]] = {
            b"get": (self.get, True),
            b"put": (self.put, True),
            b"del": (self.delete, True),
            b"keys": (self.keys, False),
            b"dump": (self.dump, True),
            b"status": (self.status, False),
            b"members": (self.members, False),
            b"add": (self.add, True),
            b"promote": (self.promote, True),
            b"remove": (self.remove, True),
            b"transfer": (self.transfer, True),
        }

    async def propose(self, entry: bytes) -> bytes:
        """Proposes a change, and waits until it is applied here."""
        done = await self.group.propose(entry)
        return b"none\n" if done.result == b"0" else b"ok %d\n" % done.index

    async def put(self, reader: asyncio.StreamReader, arguments: bytes) -> bytes:
        length, _, key = arguments.partition(b" ")
        if not length.isdigit() or not key or int(length) > VALUE_BYTES_MAX:
            # Where the next request begins cannot be known.
            raise GoneError("usage: put LENGTH KEY, then the bytes (8 MiB at most)")
        return await self.propose(b"P%s\0" % key + await reader.readexactly(int(length)))

    async def delete(self, _: asyncio.StreamReader, key: bytes) -> bytes:
        return await self.propose(b"D%s\0" % key)

    async def get(self, _: asyncio.StreamReader, key: bytes) -> bytes:
        # From here on, this process's own state has all that was acknowledged anywhere before.
        await self.group.read_index()
        value = self.store.items.get(key)
        return b"none\n" if value is None else b"value %d\n%s\n" % (len(value), value)

    async def keys(self, _: asyncio.StreamReader, __: bytes) -> bytes:
        await self.group.read_index()
        keys = sorted(self.store.items)
        return b"keys %d\n" % len(keys) + b"".join(b"%s\n" % key for key in keys)

    async def dump(self, _: asyncio.StreamReader, arguments: bytes) -> bytes:
        index, store = number(arguments), self.store

        async def applied() -> None:
            async with store.applied:
                await store.applied.wait_for(lambda: store.applied_index >= index)

        try:
            await asyncio.wait_for(applied(), DUMP_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise Refused("this process has not applied that index") from None
        parts = [b"dump %d %d\n" % (store.applied_index, len(store.items))]
        for key, value in sorted(store.items.items()):
            parts.append(b"%d %s\n%s\n" % (len(value), key, value))
        return b"".join(parts)

    async def status(self, _: asyncio.StreamReader, __: bytes) -> bytes:
        now = self.group.status()
        return (
            f"status role={role_name(now.role)} term={now.term} "
            f"leader={now.leader.node_id if now.leader else 0} first={now.first_index} "
            f"last={now.last_index} commit={now.commit_index} applied={self.store.applied_index} "
            f"keys={len(self.store.items)} snapshot={now.snapshot_index} "
            f"snapshot_bytes={self.snapshot_bytes} installed={self.installed_index}\n"
        ).encode()

    async def members(self, _: asyncio.StreamReader, __: bytes) -> bytes:
        members = self.group.members()
        lines = [f"members {len(members)}"]
        lines += [f"{member.node_id} {member.role} {member.address}" for member in members]
        return "\n".join([*lines, ""]).encode()

    async def change(self, step: Change) -> bytes:
        await self.group.change_membership([step])
        return b"ok\n"

    async def add(self, _: asyncio.StreamReader, arguments: bytes) -> bytes:
        node, __, address = arguments.partition(b" ")
        return await self.change(Change.add_learner(number(node), address.decode()))

    async def promote(self, _: asyncio.StreamReader, arguments: bytes) -> bytes:
        return await self.change(Change.promote(number(arguments)))

    async def remove(self, _: asyncio.StreamReader, arguments: bytes) -> bytes:
        return await self.change(Change.remove(number(arguments)))

    async def transfer(self, _: asyncio.StreamReader, arguments: bytes) -> bytes:
        await self.group.transfer_leadership(number(arguments))
        return b"ok\n"

    async def answer(self, reader: asyncio.StreamReader, line: bytes) -> bytes:
        name, _, arguments = line.partition(b" ")
        serve, takes_arguments = self.requests.get(name, (None, False))
        try:
            if serve is None or bool(arguments) != takes_arguments:
                raise Refused(
                    "there are get, put, del, keys, dump, status, members, add, promote, remove "
                    "and transfer"
                )
            return await serve(reader, arguments)
        except Refused as refused:
            return f"error INVALID_ARGUMENT rejected final {refused}\n".encode()
        except libraft.Error as error:
            message = str(error.message).replace("\n", " | ")
            again = "retriable" if error.retriable else "final"
            return f"error {error.code.name} {error.outcome} {again} {message}\n".encode()

    async def serve_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with self.places:
                # A line that is longer than any request, or cut off, ends the connection; an empty
                # one is the line break that a person types behind a value.
                while line := await reader.readuntil(b"\n"):
                    if request := line.rstrip(b"\r\n"):
                        writer.write(await self.answer(reader, request))
                        await writer.drain()
        except GoneError as gone:
            writer.write(f"error INVALID_ARGUMENT rejected final {gone}\n".encode())
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            writer.close()

    async def follow(self) -> None:
        """What the library tells of itself."""
        async for event in self.group.events():
            if event.kind == libraft.EventKind.SNAPSHOT_TAKEN:
                self.snapshot_bytes = event.bytes
            elif event.kind == libraft.EventKind.SNAPSHOT_INSTALLED:
                self.installed_index = event.index
                print(f"kv: installed a snapshot of index {event.index}", flush=True)
            elif event.kind == libraft.EventKind.ROLE and event.role is not None:
                print(f"kv: {role_name(event.role)} in term {event.term}", flush=True)
            elif event.kind == libraft.EventKind.FAILED:
                print("kv: the group is out of service on this node", flush=True)


def number(word: bytes) -> int:
    if not word.isdigit():
        raise Refused(f"{word.decode(errors='replace')} is not a number")
    return int(word)


def role_name(role: libraft.Role) -> str:
    return role.replace("_", "-")


# ---------------------------------------------------------------- the program


def member(word: str) -> tuple[int, str]:
    node, _, address = word.partition("=")
    return int(node), address


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kv", allow_abbrev=False)
    parser.add_argument(
        "--version", action="version", version=f"kv with libraft {libraft.version()}"
    )
    parser.add_argument("--node", type=int, required=True, metavar="N")
    parser.add_argument("--directory", required=True, metavar="DIR")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--clients", type=int, required=True, metavar="PORT")
    parser.add_argument("--member", type=member, action="append", default=[], metavar="N=HOST:PORT")
    parser.add_argument("--cluster", default="kv", metavar="NAME")
    parser.add_argument("--snapshot-entries", type=int, default=100_000, metavar="N")
    parser.add_argument("--retained-entries", type=int, default=10_000, metavar="N")
    return parser.parse_args()


async def serve(arguments: argparse.Namespace) -> None:
    ending = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, ending.set)
    async with libraft.Node.open(
        cluster=arguments.cluster,
        node_id=arguments.node,
        directory=arguments.directory,
        listen_address=arguments.listen,
    ) as node:
        store = Store()
        group = node.start_group(
            1,
            store,
            initial_members=dict(arguments.member),
            snapshot_entries=arguments.snapshot_entries,
            retained_entries=arguments.retained_entries,
        )
        server = Server(group, store)
        following = asyncio.create_task(server.follow())
        listener = await asyncio.start_server(
            server.serve_client, "127.0.0.1", arguments.clients, limit=LINE_BYTES_MAX
        )
        print(f"kv: node {arguments.node} serves clients on port {arguments.clients}", flush=True)
        await ending.wait()
        listener.close()
        following.cancel()
    print("kv: closed", flush=True)


def main() -> None:
    arguments = read_arguments()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="kv: %(name)s: %(message)s")
    try:
        asyncio.run(serve(arguments))
    except (libraft.Error, OSError) as error:
        sys.exit(f"kv: {error}")


if __name__ == "__main__":
    main()
