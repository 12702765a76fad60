"""The README: what it shows is run as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_program_counts_on_when_it_is_run_again(tmp_path: Path) -> None:
    program = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.S | re.M)[0]
    (tmp_path / "hello.py").write_text(program)
    for count in (1, 2):
        done = subprocess.run(
            [sys.executable, "hello.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.stdout, done.returncode) == (f"the counter is {count}\n", 0), done.stderr


def test_the_other_pieces_are_python(tmp_path: Path) -> None:
    for piece in re.findall(r"^```python\n(.*?)^```", README.read_text(), re.S | re.M)[1:]:
        body = "".join(f"    {line}\n" for line in piece.splitlines())
        compile(f"async def piece():\n{body}", "README.md", "exec")
