"""Standard error behind a thread: writers never wait and never fail."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deepbid_rt.cli import background_stream
from deepbid_rt.cli.background_stream import MAX_CHUNKS, BackgroundStream

GUARD_S = 30.0
"""Limit of every wait in these tests; a passing test does not reach it."""


@contextmanager
def stream_to(target: io.TextIOBase | None) -> Iterator[BackgroundStream]:
    stream = BackgroundStream(target)
    yield stream
    stream.end()


@contextmanager
def a_pipe() -> Iterator[tuple[io.TextIOWrapper, int]]:
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as target:  # noqa: PTH123 - a descriptor
        yield target, reader


def read_all(reader: int) -> str:
    with open(reader, encoding="utf-8") as file:
        return file.read()


def test_text_arrives_in_order() -> None:
    with a_pipe() as (target, reader), stream_to(target) as stream:
        for n in range(100):
            stream.write(f"{n}\n")
        assert stream.drain(GUARD_S)
    assert read_all(reader).split() == [str(n) for n in range(100)]


def test_a_pipe_that_nobody_reads_costs_text_and_no_time() -> None:
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as target:  # noqa: PTH123 - a descriptor
        stream = BackgroundStream(target)
        for n in range(3 * MAX_CHUNKS):
            assert stream.write(f"{n:0200}\n") == 201
        assert stream.dropped >= MAX_CHUNKS // 2
        assert not stream.drain(0.01)
        assert not stream.gone
        read = threading.Thread(target=lambda: got.append(read_all(reader)))
        got: list[str] = []
        read.start()
        assert stream.drain(GUARD_S)
        stream.end()
    read.join()
    assert f"[{stream.dropped} lines could not be shown]" in got[0]
    assert len(got[0].splitlines()) == 3 * MAX_CHUNKS - stream.dropped + 1


def test_a_pipe_whose_reader_has_gone_is_left_alone() -> None:
    with a_pipe() as (target, reader), stream_to(target) as stream:
        os.close(reader)
        stream.write("a\n")
        assert stream.drain(GUARD_S)
        assert stream.gone
        assert stream.write("b\n") == 2
        assert stream.drain(GUARD_S)


def test_it_takes_text_alone_so_that_click_does_not_send_it_bytes() -> None:
    with stream_to(None) as stream, pytest.raises(TypeError, match="must be str, not bytes"):
        stream.write(b"")


def test_a_program_without_stderr_writes_nowhere() -> None:
    with stream_to(None) as stream:
        assert stream.write("a") == 1
        assert not stream.isatty()
        assert stream.drain(GUARD_S)
        with pytest.raises(OSError, match="no stderr"):
            stream.fileno()


def test_a_target_that_does_not_block_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_stream, "_BUSY_S", 0.001)
    with a_pipe() as (target, reader), stream_to(target) as stream:
        os.set_blocking(target.fileno(), False)
        got: list[str] = []
        read = threading.Thread(target=lambda: got.append(read_all(reader)))
        for _ in range(200):
            stream.write("x" * 1000)
        read.start()
        assert stream.drain(GUARD_S)
        target.close()
        read.join()
    assert got == ["x" * 200_000]


def test_what_the_encoding_does_not_have_is_escaped() -> None:
    raw = io.BytesIO()
    target = io.TextIOWrapper(raw, encoding="ascii")
    with stream_to(target) as stream:
        stream.write("5 µm \udcff")
        assert stream.drain(GUARD_S)
        assert not stream.gone
    assert raw.getvalue() == b"5 \\xb5m \\udcff"
