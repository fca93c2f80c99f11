from __future__ import annotations

import logging

import pytest

from deepbid_rt.wire.quiet_log import QuietLog


class RaisingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise BrokenPipeError("nobody reads stderr")


def test_a_handler_that_raises_loses_its_line_and_the_caller_goes_on() -> None:
    log, handler = QuietLog("deepbid_rt.test"), RaisingHandler()
    logging.getLogger("deepbid_rt.test").addHandler(handler)
    try:
        log.warning("one")
        log.error("two", exc_info=ValueError("inside"))
    finally:
        logging.getLogger("deepbid_rt.test").removeHandler(handler)
    assert log.unwritten == 2


def test_lines_are_those_of_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    log = QuietLog("deepbid_rt.test")
    with caplog.at_level(logging.DEBUG):
        log.debug("%d", 1)
        log.info("%d", 2)
        log.warning("%d", 3)
        log.error("%d", 4)
    assert [record.getMessage() for record in caplog.records] == ["1", "2", "3", "4"]
    assert {record.filename for record in caplog.records} == {"test_quiet_log.py"}
    assert log.unwritten == 0


def test_text_that_does_not_fit_its_values_raises_nothing() -> None:
    QuietLog("deepbid_rt.test").warning("%d", "no number")
