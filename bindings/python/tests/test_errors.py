"""Errors: classes, codes, and what they are besides."""

import builtins
import re
from pathlib import Path

import libraft
import pytest
import tomllib
from libraft import errors

API = Path(__file__).resolve().parents[3] / "docs/api.toml"


def test_every_code_has_its_number_and_its_class() -> None:
    listed = tomllib.loads(API.read_text())["errors"]
    assert {code.name: int(code) for code in libraft.Code} == listed
    for name in listed:
        class_name = "".join(word.capitalize() for word in name.split("_")) + "Error"
        found = getattr(libraft, class_name)
        assert found.code.name == name
        assert issubclass(found, libraft.Error)
        assert found.__doc__
        made = errors.from_core(listed[name], True, False, "what happened", (3, "host:1"))
        assert type(made) is found
        assert made.outcome == libraft.Outcome.UNKNOWN
        assert made.leader == libraft.Leader(3, "host:1")
        assert not made.retriable
        assert str(made) == "what happened (leader: node 3 at host:1)"


def test_they_are_what_python_calls_such_errors() -> None:
    assert issubclass(libraft.TimeoutError, builtins.TimeoutError)
    assert issubclass(libraft.InvalidArgumentError, ValueError)
    assert issubclass(libraft.ArgumentTypeError, TypeError)
    assert str(libraft.Outcome.UNKNOWN) == "unknown"


def test_names_that_are_exported_exist_and_have_documentation() -> None:
    assert len(set(libraft.__all__)) == len(libraft.__all__)
    for name in libraft.__all__:
        assert getattr(libraft, name).__doc__, name
    for owner in (libraft.Node, libraft.Group, libraft.Future, libraft.StateMachine):
        for name in vars(owner):
            if not name.startswith("_"):
                assert getattr(owner, name).__doc__, f"{owner.__name__}.{name}"


def test_the_version_is_that_of_the_crate() -> None:
    manifest = (API.parents[1] / "Cargo.toml").read_text()
    found = re.search(r'^version = "(.*)"', manifest, re.M)
    assert found is not None
    assert libraft.version() == libraft.__version__ == found[1]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (None, "a proposal must be bytes-like, not NoneType"),
        (5, "a proposal must be bytes-like, not int"),
        ([1, 2], "a proposal must be bytes-like, not list"),
        ("text", "not str: encode the text first"),
    ],
)
def test_proposals_of_the_wrong_type_are_refused(
    group: libraft.Group, data: object, complaint: str
) -> None:
    with pytest.raises(libraft.ArgumentTypeError, match=complaint) as caught:
        group.propose(data)  # type: ignore[arg-type]
    assert caught.value.code == libraft.Code.INVALID_ARGUMENT
    assert caught.value.outcome == libraft.Outcome.REJECTED


@pytest.mark.parametrize("entries", [None, 5, b"bytes", "text", [b"good", None], [5]])
def test_batches_of_the_wrong_type_are_refused(group: libraft.Group, entries: object) -> None:
    with pytest.raises(libraft.ArgumentTypeError):
        group.propose_batch(entries)  # type: ignore[arg-type]


def test_sizes_that_cannot_be_are_refused(group: libraft.Group) -> None:
    with pytest.raises(libraft.EmptyProposalError):
        group.propose(b"")
    with pytest.raises(libraft.EmptyProposalError):
        group.propose_batch([])
    with pytest.raises(libraft.EmptyProposalError):
        group.propose_batch([b"good", b""])
    with pytest.raises(libraft.TooLargeError, match="proposal_bytes_max"):
        group.propose(bytes((8 << 20) + 1))
    with pytest.raises(libraft.InvalidArgumentError, match="to must be between 0 and"):
        group.transfer_leadership(1 << 64)
    with pytest.raises(libraft.UnknownMemberError):
        group.transfer_leadership(9).result()


def test_objects_of_the_library_are_made_by_the_library_only() -> None:
    for owner in (libraft.Node, libraft.Group, libraft.Future, libraft.Entry, libraft.Completion):
        with pytest.raises(TypeError):
            owner()
