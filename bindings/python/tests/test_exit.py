"""The end of the interpreter, and of copies of it. The suite's exit matrix has more."""

import os
import subprocess
import sys
from pathlib import Path

import libraft
import pytest
from conftest import ALONE, PATIENCE_S, Counter

PROGRAM = """
import atexit, os, sys, threading, time
import libraft

class Counter(libraft.StateMachine):
    count = 0
    def apply(self, entries):
        for entry in entries:
            self.count += 1
            inside(entry)
    def save_snapshot(self, writer):
        writer.write(b"%d" % self.count)
    def restore_snapshot(self, reader):
        self.count = int(reader.read())

def inside(entry):
    pass

node = libraft.Node.open(cluster="tests", node_id=1, directory=sys.argv[1], tick_ms=20)
machine = Counter()
group = node.start_group(1, machine, initial_members={1: "127.0.0.1:0"})
group.wait_ready(60).result()
group.propose(b"acknowledged").result()
entered = threading.Event()
"""


def run(
    program: str, folder: Path, *, preamble: str = PROGRAM, code: int = 0
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", preamble + program, str(folder / "node")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def count_of(folder: Path) -> int:
    """What the directory holds afterwards."""
    machine = Counter()
    with libraft.Node.open(
        cluster="tests", node_id=1, directory=folder / "node", tick_ms=20
    ) as node:
        node.start_group(1, machine, initial_members=ALONE).wait_ready(PATIENCE_S).result()
        return machine.count


def test_a_forgotten_close_is_made_up_for_at_the_end(tmp_path: Path) -> None:
    done = run("machine.destroy = lambda: print('destroyed', flush=True)", tmp_path)
    assert done.stdout == "destroyed\n"
    assert not done.stderr
    assert count_of(tmp_path) == 1


@pytest.mark.parametrize("seconds", [1, 3.0, 600])
def test_a_callback_that_is_running_gets_three_seconds_and_never_crashes_the_process(
    tmp_path: Path, seconds: float
) -> None:
    # To wait for all ten minutes would be to run into the time limit of `run`.
    run(
        f"""
def inside(entry):
    entered.set()
    time.sleep({seconds})
group.propose(b"x")
entered.wait()
""",
        tmp_path,
    )
    assert count_of(tmp_path) == 2


def test_a_callback_that_returns_while_the_interpreter_ends_is_no_harm(tmp_path: Path) -> None:
    """It comes back to Python in the very moment that Python is torn down."""
    done = run(
        """
def inside(entry):
    entered.set()
    # Not a lock of Python's: a system call that ends when the other end is closed.
    os.read(reading, 1)
reading, writing = os.pipe()
class Closer:
    # The names of modules are gone by then.
    def __del__(self, close=os.close, writing=writing, sleep=time.sleep, write=os.write):
        close(writing)
        sleep(0.5)  # the thread gets on, as far as the interpreter lets it
        write(1, b"closed\\n")
sys.kept_until_the_end = Closer()
group.propose(b"x")
entered.wait()
""",
        tmp_path,
    )
    assert done.stdout == "closed\n"
    assert count_of(tmp_path) == 2


def test_threads_that_propose_do_not_keep_the_process(tmp_path: Path) -> None:
    run(
        """
def load():
    while True:
        try:
            group.propose(b"x").result()
        except libraft.ClosedError:
            entered.wait(0.001)
for _ in range(4):
    threading.Thread(target=load, daemon=True).start()
while machine.count < 100:
    time.sleep(0.01)
sys.exit(7)
""",
        tmp_path,
        code=7,
    )
    assert count_of(tmp_path) >= 100


def test_nothing_opens_after_the_end_has_begun(tmp_path: Path) -> None:
    done = run(
        """
import libraft
def late():
    try:
        libraft.Node.open(cluster="tests", node_id=2, directory=sys.argv[1] + "-2")
    except libraft.ClosedError as error:
        print(error.code.name)
import atexit, sys
atexit._clear()
atexit.register(late)
atexit.register(libraft.close_all_at_exit)
""",
        tmp_path,
        preamble="",
    )
    assert done.stdout == "CLOSED\n"


def test_a_forked_child_is_refused_everything_and_ends_normally(tmp_path: Path) -> None:
    done = run(
        """
pending = group.propose(b"x")
events = group.events()
child = os.fork()
if child == 0:
    def refused(call):
        try:
            call()
        except libraft.ForkedError:
            return True
        return False
    calls = [
        lambda: group.propose(b"y"), lambda: group.propose_batch([b"y"]), group.read_index,
        group.status, group.members, group.events, group.stop, group.wait_ready, node.status,
        node.close, node.aclose, pending.result, lambda: events.next(1),
        lambda: node.start_group(2, machine),
        lambda: libraft.Node.open(cluster="tests", node_id=2, directory=sys.argv[1] + "-2"),
    ]
    print([refused(call) for call in calls].count(True), "of", len(calls), flush=True)
    repr(node), repr(group), repr(pending)
    del node, group, pending, events, calls
    sys.exit(0)
_, status = os.waitpid(child, 0)
print("child", os.waitstatus_to_exitcode(status), flush=True)
pending.result()
group.propose(b"z").result()
print("parent", machine.count)
""",
        tmp_path,
    )
    assert done.stdout == "15 of 15\nchild 0\nparent 3\n"


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    program = """
import signal
while True:
    for done in group.propose_batch([b"x"] * 10).result():
        print(done.index, flush=True)
    if machine.count > 300:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run(program, tmp_path, code=-9)
    assert count_of(tmp_path) >= len(done.stdout.split())


def test_subinterpreters_are_refused_with_a_sentence(tmp_path: Path) -> None:
    program = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
number = interpreters.create()
raised = interpreters.run_string(number, '''
import sys
sys.path[:] = {path!r}
try:
    import libraft
except ImportError as error:
    print(error, flush=True)
''')
print("raised", raised)
""".replace("{path!r}", repr(sys.path))
    done = run(program, tmp_path, preamble="")
    assert "libraft does not support subinterpreters" in done.stdout
    assert "raised None" in done.stdout


def test_free_threaded_builds_are_refused_with_a_sentence(tmp_path: Path) -> None:
    program = """
import sysconfig
get = sysconfig.get_config_var
sysconfig.get_config_var = lambda name: 1 if name == "Py_GIL_DISABLED" else get(name)
try:
    import libraft
except ImportError as error:
    print(error)
"""
    done = run(program, tmp_path, preamble="")
    assert "libraft does not support free-threaded builds of Python" in done.stdout


def test_signals_are_handled_on_the_main_thread(tmp_path: Path) -> None:
    done = run(
        """
import signal
signal.signal(signal.SIGUSR1, lambda *_: print(threading.current_thread().name, flush=True))
for _ in range(20):
    os.kill(os.getpid(), signal.SIGUSR1)
    group.propose(b"x").result()
""",
        tmp_path,
    )
    assert set(done.stdout.split()) == {"MainThread"}
    assert os.path.isdir(tmp_path / "node")
