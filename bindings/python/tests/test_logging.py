"""What the library says, in `logging`."""

import logging
import sys
import time

import libraft
import pytest
from conftest import PATIENCE_S


def wait_for_record(caplog: pytest.LogCaptureFixture, text: str) -> logging.LogRecord:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        for record in caplog.records:
            if text in record.getMessage():
                return record
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_failure_is_logged_as_an_error_below_libraft(
    group: libraft.Group, caplog: pytest.LogCaptureFixture
) -> None:
    group.propose(b"raise").exception()
    record = wait_for_record(caplog, "a replica is out of service")
    assert record.levelno == logging.ERROR
    assert record.name.startswith("libraft.replica")
    assert record.lineno > 0
    assert "as it was asked to" in record.getMessage()


def test_levels_are_those_of_logging(
    group: libraft.Group, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("libraft").setLevel(logging.CRITICAL)
    try:
        group.propose(b"raise").exception()
        group.stop().result()
    finally:
        logging.getLogger("libraft").setLevel(logging.NOTSET)
    assert not [r for r in caplog.records if r.name.startswith("libraft.replica")]


def test_a_handler_that_raises_is_no_harm(
    group: libraft.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("this handler is broken")

    said: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: said.append(str(raised.exc_value)))
    handler = Broken()
    logging.getLogger("libraft").addHandler(handler)
    try:
        group.propose(b"raise").exception()
        deadline = time.monotonic() + PATIENCE_S
        while "this handler is broken" not in said:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        group.stop().result()
    finally:
        logging.getLogger("libraft").removeHandler(handler)
