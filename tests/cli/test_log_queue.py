"""Log records in a queue: the thread that logs never waits and never fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from deepbid_rt.cli.log_queue import LogQueue

GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""


class Kept(logging.Handler):
    """Keeps the text of all records; can be held, and can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.failure: BaseException | None = None
        self.threads: set[threading.Thread] = set()

    def emit(self, record: logging.LogRecord) -> None:
        assert self.open.wait(GUARD_S)
        self.threads.add(threading.current_thread())
        if self.failure:
            raise self.failure
        self.texts.append(self.format(record))


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    logger = logging.getLogger("deepbid_rt.tests.log_queue")
    logger.propagate = False
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def test_records_are_printed_in_order_by_another_thread(log: logging.Logger) -> None:
    kept = Kept()
    queue = LogQueue([kept])
    log.addHandler(queue)
    for n in range(50):
        log.warning("record %d", n)
    assert queue.drain(GUARD_S)
    assert kept.texts == [f"record {n}" for n in range(50)]
    assert threading.current_thread() not in kept.threads


def test_a_printer_that_hangs_costs_records_and_no_time(log: logging.Logger) -> None:
    kept = Kept()
    queue = LogQueue([kept], capacity=10)
    log.addHandler(queue)
    kept.open.clear()
    for n in range(30):
        log.warning("record %d", n)
    assert 19 <= queue.dropped <= 20
    kept.open.set()
    assert queue.drain(GUARD_S)
    assert kept.texts[:3] == ["record 0", "record 1", "record 2"]
    assert any(text.startswith(f"{queue.dropped} log records are missing") for text in kept.texts)


def test_a_printer_that_fails_takes_no_other_with_it_and_is_tried_again(log: logging.Logger) -> None:
    broken, kept = Kept(), Kept()
    broken.failure = BrokenPipeError()
    queue = LogQueue([broken, kept])
    log.addHandler(queue)
    log.warning("one")
    assert queue.drain(GUARD_S)
    broken.failure = None
    log.warning("two")
    assert queue.drain(GUARD_S)
    assert (kept.texts, broken.texts, queue.dropped) == (["one", "two"], ["two"], 1)


def test_text_of_senders_cannot_command_the_terminal_or_forge_a_line(log: logging.Logger) -> None:
    kept = Kept()
    queue = LogQueue([kept])
    log.addHandler(queue)
    log.warning("note: %s", "a\x1b[2J\nERROR all is lost\u202e\x9b")
    log.error("failed", exc_info=ValueError("b\x1b]0;title\x07"))
    assert queue.drain(GUARD_S)
    assert kept.texts[0] == r"note: a\x1b[2J\nERROR all is lost\u202e\x9b"
    assert "\x1b" not in kept.texts[1]
    assert kept.texts[1].endswith(r"ValueError: b\x1b]0;title\x07")
    assert kept.texts[1].startswith("failed\nValueError")


def test_a_call_with_wrong_arguments_does_not_raise() -> None:
    kept = Kept()
    queue = LogQueue([kept])
    queue.handle(logging.LogRecord("x", logging.WARNING, __file__, 1, "%d frames", ("many",), None))
    queue.close()
    assert kept.texts == ["%d frames ('many',)"]


def test_arguments_are_read_when_the_record_is_made(log: logging.Logger) -> None:
    kept = Kept()
    kept.open.clear()
    queue = LogQueue([kept])
    log.addHandler(queue)
    values = [1]
    log.warning("%s", values)
    values.append(2)
    kept.open.set()
    assert queue.drain(GUARD_S)
    assert kept.texts == ["[1]"]


def test_closing_does_not_wait_for_a_printer_that_hangs() -> None:
    kept = Kept()
    queue = LogQueue([kept])
    kept.open.clear()
    queue.emit(logging.makeLogRecord({"msg": "x"}))
    queue.close(timeout_s=0.01)
    assert kept.texts == []
    kept.open.set()
