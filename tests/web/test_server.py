"""The page over real sockets: what it answers, what it refuses, and that browsers cannot affect a session."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import numpy as np
import pytest

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import EndpointError
from deepbid_rt.frame import Frame, StreamEnd
from deepbid_rt.live.event_queue import Overflow
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits
from deepbid_rt.runtimes.echo import EchoEngine
from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.server import PageServer
from tests.fakes import ListSink, ListSource, stream
from tests.pages import denoised, example_report, latest_frames_of, raw

TOKEN = "a-token-long-enough"


@contextmanager
def serving(frames: LatestFrames | None = None, **options: Any) -> Iterator[PageServer]:
    server = PageServer("127.0.0.1:0", frames or latest_frames_of(3), **options)
    with server.showing(example_report):
        yield server


def ask(server: PageServer, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", port_of(server), timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def port_of(server: PageServer) -> int:
    return int(server.url.rstrip("/").rpartition(":")[2])


@pytest.fixture
def server() -> Iterator[PageServer]:
    with serving() as server:
        yield server


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/plot.js", "text/javascript"),
        ("/icon.svg", "image/svg+xml"),
        ("/status.json", "application/json"),
        ("/picture.jpg", "image/jpeg"),
        ("/metrics", "text/plain"),
    ],
)
def test_every_file_is_served_and_nothing_is_loaded_from_elsewhere(server: PageServer, path: str, kind: str) -> None:
    answer, body = ask(server, path)
    assert (answer.status, answer.headers.get_content_type()) == (200, kind)
    assert body
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert b"https://" not in body
    assert body.count(b"http://") == body.count(b"http://www.w3.org/2000/svg")


def test_status_and_metrics_describe_the_session(server: PageServer) -> None:
    status = json.loads(ask(server, "/status.json")[1])
    assert status["frames"]["in"] == 12
    assert b'deepbid_rt_frames_lost_total{cause="engine"} 5.0' in ask(server, "/metrics")[1]
    assert json.loads(ask(server, f"/status.json?after={status['serial']}")[1])["points"] == []


def test_a_picture_shows_the_newest_frame_and_a_request_waits_for_the_next(server: PageServer) -> None:
    answer, body = ask(server, "/picture.jpg")
    assert body.startswith(b"\xff\xd8")
    assert answer.headers["X-Frame"] == "2"
    serial = answer.headers["X-Serial"]
    frames = server.frames

    def push_two_frames() -> None:
        for index in (3, 4):
            frames.raw.put(raw(index))
            frames.denoised.put(denoised(index))

    timer = threading.Timer(0.2, push_two_frames)
    timer.start()
    answer, _ = ask(server, f"/picture.jpg?after={serial}")
    timer.join()
    assert answer.headers["X-Frame"] in ("3", "4")
    assert answer.headers["X-Serial"] != serial


def test_without_a_new_frame_there_is_no_picture() -> None:
    with serving(latest_frames_of(0)) as server:
        assert ask(server, "/picture.jpg")[0].status == 204
        assert ask(server, "/picture.jpg?plane=3")[0].status == 204


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0])
def test_a_frame_without_contrast_or_finite_pixels_is_shown(value: float) -> None:
    info = stream((1, 16, 16), np.float32, series="raw-series")
    frames = LatestFrames()
    frames.raw.start(info)
    frames.denoised.start(Denoiser(EchoEngine(), info).info)
    frame = Frame(0, np.full(info.shape, value, np.float32))
    frames.raw.put(frame)
    frames.denoised.put(frame)
    with serving(frames) as server:
        answer, body = ask(server, "/picture.jpg")
        assert (answer.status, body[:2]) == (200, b"\xff\xd8")


@pytest.mark.parametrize("path", ["/", "/status.json", "/picture.jpg", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(server: PageServer, path: str, method: str) -> None:
    assert ask(server, path, method)[0].status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/static/../../errors.py",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2fserver.py",
        "//etc/passwd",
        "/page.css/",
        "/index.html",
        "/favicon.ico",
        "/page.js%00",
    ],
)
def test_other_paths_do_not_exist(server: PageServer, path: str) -> None:
    answer, _ = ask(server, path)
    assert answer.status == 404
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=1e9", "plane=%D9%A1", "channel=99999999999999999"])
def test_malformed_numbers_are_refused(server: PageServer, query: str) -> None:
    assert ask(server, f"/picture.jpg?{query}")[0].status == 400


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80"])
def test_other_host_names_are_refused(server: PageServer, host: str) -> None:
    for path in ("/", "/status.json", "/nothing"):
        assert ask(server, path, Host=host)[0].status == 421
    assert ask(server, "/", Host=f"localhost:{port_of(server)}")[0].status == 200


def test_without_the_token_every_request_is_refused() -> None:
    with serving(token=TOKEN) as server:
        for path in ("/", "/page.js", "/status.json", "/picture.jpg", "/metrics", "/nothing"):
            for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Cookie": "deepbid_rt_token=wrong"}):
                answer, body = ask(server, path, **headers)
                assert answer.status == 401
                assert TOKEN.encode() not in body
            assert ask(server, f"{path}?token={TOKEN[:-1]}")[0].status == 401
        assert ask(server, "/metrics", Authorization=f"Bearer {TOKEN}")[0].status == 200


def test_the_token_moves_from_the_address_to_a_cookie() -> None:
    with serving(token=TOKEN) as server:
        answer, _ = ask(server, f"/?token={TOKEN}")
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert ask(server, "/status.json", Cookie=cookie.partition(";")[0])[0].status == 200


def test_a_port_in_use_gives_one_clear_sentence() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(EndpointError) as caught:
            PageServer(f"127.0.0.1:{port}", LatestFrames())
    assert str(caught.value) == (
        f"port in use 127.0.0.1:{port}; expected a free address for the page; "
        "choose another port or stop the program that holds this one."
    )


def test_an_address_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(EndpointError, match=r"^the page cannot be shown on 192\.0\.2\.1:0 "):
        PageServer("192.0.2.1:0", LatestFrames(), token=TOKEN)


def test_the_address_is_free_again_after_the_session() -> None:
    with serving() as server:
        address = f"127.0.0.1:{port_of(server)}"
        ask(server, "/")
    PageServer(address, LatestFrames()).close()


def test_an_error_in_reading_the_session_affects_only_that_request(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Any:
        raise RuntimeError("no status today")

    server = PageServer("127.0.0.1:0", latest_frames_of(1))
    with server.showing(broken):
        assert ask(server, "/status.json")[0].status == 500
        assert ask(server, "/picture.jpg")[0].status == 200
    assert "no status today" in caplog.text


def until(reached: Callable[[], bool]) -> None:
    for _ in range(20_000):
        if reached():
            return
        threading.Event().wait(0.001)
    pytest.fail("never reached")


def test_browsers_that_never_read_do_not_slow_the_session() -> None:
    """Sixteen sockets request pictures all the time and read nothing, while 400 frames pass."""
    info = stream((1, 256, 256))
    frames, sink = LatestFrames(), ListSink()
    server = PageServer("127.0.0.1:0", frames)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 4000, info.shape, np.int16)
    with ExitStack() as stack:
        browsers = []
        for _ in range(16):
            browser = stack.enter_context(socket.socket())
            browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            browser.connect(("127.0.0.1", port_of(server)))
            browsers.append(browser)
        asked = 0

        def ask_without_reading() -> None:
            nonlocal asked
            for browser in browsers:
                browser.setblocking(False)
                try:
                    asked += browser.send(b"GET /picture.jpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") > 0
                except (BlockingIOError, ConnectionError):
                    continue

        steps: list[Any] = [info]
        for index in range(400):
            keep_pace = partial(until, lambda index=index: len(sink.events) > index - 20)
            steps += [ask_without_reading, keep_pace, Frame(index, noise, t_ns=1, arrived_ns=1)]
        pipeline = Pipeline(
            ListSource([*steps, StreamEnd("done")]),
            lambda info: Denoiser(EchoEngine(), info),
            raw=[SinkSettings("the page, raw", frames.raw)],
            denoised=[SinkSettings("recorder", sink, Overflow.FAIL), SinkSettings("the page", frames.denoised)],
            limits=SessionLimits(series=1),
        )
        with server.showing(example_report):
            status = pipeline.run()
            assert ask(server, "/picture.jpg")[0].status == 200  # others are still served
    assert asked > 16
    assert [frame.index for frame in sink.frames] == list(range(400))
    assert (status.frames_out, status.engine_lost) == (400, 0)
    assert status.sink_lost == {"recorder": 0, "the page": 0, "the page, raw": 0}
