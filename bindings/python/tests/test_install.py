"""The package, as a user installs it: from the wheel and from the sources, used from elsewhere."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

BINDING = Path(__file__).resolve().parents[1]
TOP = BINDING.parents[1]
# What a user gets is built with optimisation, which takes minutes; the rest is the same.
QUICK = ["--config-settings", "build-args=--profile dev"]


def environment() -> dict[str, str]:
    """Without a trace of the checkout, but with the tool that builds, which pip would fetch."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {
        **kept,
        "CARGO_TARGET_DIR": str(TOP / "target"),
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def run(*command: "str | Path", cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*arguments: "str | Path", cwd: Path) -> str:
    return run(sys.executable, "-m", "pip", *arguments, cwd=cwd)


def program() -> str:
    found = re.search(r"^```python\n(.*?)^```", (BINDING / "README.md").read_text(), re.S | re.M)
    assert found is not None
    return found[1]


def try_it(place: Path, empty: Path) -> None:
    """Runs the README's program from an empty directory, with the package of `place`."""
    empty.mkdir()
    code = f"import sys; sys.path.insert(0, {str(place)!r})\n" + program()
    code += f"\nassert libraft.__file__.startswith({str(place)!r})"
    assert run(sys.executable, "-I", "-c", code, cwd=empty) == "the counter is 1\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip(
        "wheel",
        "-q",
        "--no-build-isolation",
        "--no-deps",
        *QUICK,
        "-w",
        folder,
        BINDING,
        cwd=folder,
    )
    (found,) = folder.iterdir()
    return found


def test_the_wheel_says_truly_what_it_runs_on(wheel: Path) -> None:
    machine = os.uname().machine
    assert re.fullmatch(rf"libraft-[0-9.]+-cp310-abi3-(many)?linux_.*{machine}\.whl", wheel.name)


def test_the_wheel_has_all_parts_and_all_licences(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for module in (BINDING / "python/libraft").glob("*.py*"):
        assert f"libraft/{module.name}" in names
    assert "libraft/py.typed" in names
    assert "libraft/_libraft.abi3.so" in names
    info = next(name.split("/")[0] for name in names if ".dist-info/" in name)
    for licence in ("LICENSE", "THIRD-PARTY-LICENSES"):
        assert f"{info}/licenses/{licence}" in names
    third_party = zipfile.ZipFile(wheel).read(f"{info}/licenses/THIRD-PARTY-LICENSES").decode()
    for project in ("pyo3", "raft", "sled"):
        assert re.search(rf"^  {project} [0-9.]+: ", third_party, re.M), project


def test_the_wheel_works_where_there_is_nothing_else(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "site-packages"
    pip("install", "-q", "--no-index", "--target", place, wheel, cwd=tmp_path)
    try_it(place, tmp_path / "empty")


def test_pip_installs_the_checkout(tmp_path: Path) -> None:
    place = tmp_path / "site-packages"
    pip(
        "install",
        "-q",
        "--no-build-isolation",
        "--no-deps",
        *QUICK,
        "--target",
        place,
        BINDING,
        cwd=tmp_path,
    )
    try_it(place, tmp_path / "empty")
