"""Memory that is not given back."""

import os
import subprocess
import sys
from pathlib import Path

PROPOSALS = os.environ.get("LIBRAFT_MEMORY_PROPOSALS", "1000000")
PROGRAM = Path(__file__).with_name("memory.py")


def test_memory_does_not_grow_with_proposals_callbacks_and_errors(tmp_path: Path) -> None:
    """Resident memory after 90% of the proposals is within 5% + 2 MiB of that after 30%."""
    command = [sys.executable, str(PROGRAM), str(tmp_path / "node"), PROPOSALS]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    early, late = map(int, output.split())
    print(f"{early >> 20} MiB after 30% of {PROPOSALS} proposals, {late >> 20} MiB after 90%")
    assert late <= early * 1.05 + (2 << 20), f"{early} bytes became {late}"
