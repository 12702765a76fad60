"""Types: the stubs are what is there, and whoever uses them is checked strictly."""

import os
import subprocess
import sys
from pathlib import Path

import libraft
import pytest

TOP = Path(__file__).resolve().parents[3]
PACKAGE = Path(libraft.__file__).parent


def check(*arguments: str, path: str = "") -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=PACKAGE.parent,
        env={**os.environ, "MYPYPATH": f"{PACKAGE.parent}:{path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stubs_describe_what_is_there() -> None:
    check("mypy.stubtest", "libraft._libraft")


def test_the_package_passes_the_strict_type_check() -> None:
    check("mypy", "--strict", "-p", "libraft")
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize(
    "folder", ["examples/python/kv", "tests/conformance/drivers/python", "bindings/python/tests"]
)
def test_its_users_pass_the_strict_type_check(folder: str) -> None:
    files = [str(file) for file in sorted((TOP / folder).glob("*.py"))]
    assert files
    check("mypy", "--strict", *files, path=str(TOP / folder))


def test_mistakes_are_found_by_the_type_check(tmp_path: Path) -> None:
    program = tmp_path / "mistakes.py"
    program.write_text(
        "import libraft\n"
        "async def mistakes(group: libraft.Group) -> str:\n"
        "    group.propose('text')\n"
        "    return (await group.propose(b'x')).index\n"
    )
    with pytest.raises(AssertionError, match="(?s)arg-type.*return-value"):
        check("mypy", "--strict", str(program))
