"""The page over real sockets: what it answers, what it refuses, and that browsers cannot affect a session."""

from __future__ import annotations

import json
import logging
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import numpy as np
import pytest

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import EndpointError
from deepbid_rt.frame import Frame, FrameFlag, StreamEnd
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits
from deepbid_rt.runtimes.echo import EchoEngine
from deepbid_rt.web.attempts import FREE
from deepbid_rt.web.connections import MAX_OF_A_PEER, Connections
from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.pace import Pace
from deepbid_rt.web.server import MAX_VIEWERS, PageServer
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
    for path in ("/", "/page.js", "/status.json", "/picture.jpg", "/metrics", "/nothing"):
        with serving(token=TOKEN) as server:
            for headers in (
                {},
                {"Authorization": f"Bearer {TOKEN}x"},
                {"Cookie": "deepbid_rt_key=wrong"},
                {"Cookie": f"deepbid_rt_key={TOKEN}"},
            ):
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
        assert TOKEN not in cookie
        assert ask(server, "/status.json", Cookie=cookie.partition(";")[0])[0].status == 200


def wrong(server: PageServer, how: str, attempt: int) -> int:
    """Send a wrong token and return the status of the answer."""
    token = f"not-the-token-{attempt}"
    if how == "address":
        return ask(server, f"/status.json?token={token}")[0].status
    return ask(server, "/status.json", Authorization=f"Bearer {token}")[0].status


@pytest.mark.parametrize("how", ["address", "header"])
def test_a_token_cannot_be_tried_without_limit(how: str) -> None:
    with serving(token=TOKEN) as server:
        cookie = ask(server, f"/?token={TOKEN}")[0].headers["Set-Cookie"].partition(";")[0]
        assert [wrong(server, how, n) for n in range(FREE + 20)] == [401] * FREE + [429] * 20
        answer, _ = ask(server, f"/?token={TOKEN}")  # the right one, which must not tell that it is
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert ask(server, "/status.json", Cookie=cookie)[0].status == 200  # who is in stays in
        server._attempts._peers["127.0.0.1"].next_s = 0.0  # a second later
        assert wrong(server, how, 0) == 401
        assert int(ask(server, f"/?token={TOKEN}")[0].headers["Retry-After"]) == 2
        server._attempts._peers["127.0.0.1"].next_s = 0.0
        assert ask(server, f"/?token={TOKEN}")[0].status == 303
        assert b'page_refused_total{cause="token"} 28.0' in ask(server, "/metrics", Cookie=cookie)[1]


def test_a_browser_with_the_key_of_an_earlier_session_is_not_held_up() -> None:
    with serving(token=TOKEN) as server:
        for _ in range(3 * FREE):
            assert ask(server, "/status.json", Cookie="deepbid_rt_key=of-the-last-session")[0].status == 401
        assert ask(server, f"/?token={TOKEN}")[0].status == 303


@contextmanager
def connections(server: PageServer, count: int) -> Iterator[list[socket.socket]]:
    """Open so many connections that send nothing."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(server)), timeout=20))
            for _ in range(count)
        ]


def closed(connection: socket.socket) -> bool:
    """Wait until the server has closed a connection, after what it may have sent; False when it does not."""
    connection.settimeout(20)
    try:
        while connection.recv(2**16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def refused(server: PageServer, cause: str) -> int:
    return server._refusals.counts[cause]


def test_idle_connections_are_limited_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server, connections(server, 200) as idle:
        until(lambda: refused(server, "connections") == 200 - MAX_OF_A_PEER)
        assert len(server._connections) == MAX_OF_A_PEER
        monkeypatch.setattr("deepbid_rt.web.connections.REQUEST_S", 0.0)
        assert all(closed(each) for each in idle)
        monkeypatch.undo()
        assert ask(server, "/status.json")[0].status == 200


@pytest.mark.parametrize(
    "begin",
    [b"GET /picture.jpg HTTP/1.1\r\nHost: 127", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "],
)
def test_a_request_that_does_not_arrive_is_cut_off(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server, connections(server, 1) as [slow]:
        slow.sendall(begin)
        monkeypatch.setattr("deepbid_rt.web.connections.REQUEST_S", 0.3)
        assert closed(slow)
        monkeypatch.undo()
        assert ask(server, "/status.json")[0].status == 200


def test_a_browser_that_does_not_read_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    size = (1, 1024, 1024)
    info = stream(size, series="raw-series")
    frames = LatestFrames()
    frames.raw.start(info)
    frames.denoised.start(Denoiser(EchoEngine(), info).info)
    frame = Frame(0, np.random.default_rng(0).integers(0, 4000, size, np.int16))
    frames.raw.put(frame)
    frames.denoised.put(frame)
    with serving(frames) as server, socket.socket() as slow:
        ask(server, "/status.json")
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", port_of(server)))
        request = b"GET /picture.jpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        slow.sendall(request * 64)
        until(lambda: any(each.transport.get_write_buffer_size() for each in server._connections._open.values()))
        monkeypatch.setattr("deepbid_rt.web.connections.REQUEST_S", 0.3)
        until(lambda: refused(server, "slow") == 1)
        until(lambda: len(server._connections) == 0)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"a" * 2**20,
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 2**17,
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 2**20,
        b"\x00" * 2**20,
    ],
    ids=["path", "headers", "header", "zeros"],
)
def test_endless_requests_are_cut_off(request_: bytes) -> None:
    with serving() as server, connections(server, 1) as [peer]:
        with suppress(ConnectionError):  # while it still sends
            peer.sendall(request_)
        assert closed(peer)
        assert ask(server, "/status.json")[0].status == 200


def test_an_endless_body_is_not_kept() -> None:
    head = b"GET /picture.jpg?after=%d HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n"
    with serving() as server, connections(server, 1) as [peer]:
        serial = int(ask(server, "/picture.jpg")[0].headers["X-Serial"])
        peer.sendall(head % serial)  # its answer takes two seconds
        with suppress(ConnectionError):
            for _ in range(64):
                peer.sendall(b"x" * 2**16)
        assert closed(peer)
        assert refused(server, "size") == 1


def test_an_upgrade_to_a_websocket_is_not_offered(server: PageServer) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    answer, _ = ask(server, "/status.json", **headers, **{"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert answer.status == 200


def test_so_many_browsers_watch_at_a_time(server: PageServer) -> None:
    serial = ask(server, "/picture.jpg")[0].headers["X-Serial"]
    request = f"GET /picture.jpg?after={serial} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with connections(server, MAX_VIEWERS) as viewers:
        for each in viewers:
            each.sendall(request)  # each waits for the next picture
        until(lambda: server._viewers == MAX_VIEWERS)
        answer, body = ask(server, "/picture.jpg")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert b"16 browsers show the page already" in body
        assert ask(server, "/status.json")[0].status == 200
    until(lambda: server._viewers == 0)
    assert ask(server, "/picture.jpg")[0].status == 200


def test_strangers_do_not_hold_up_browsers_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(token=TOKEN) as server:
        cookie = ask(server, f"/?token={TOKEN}")[0].headers["Set-Cookie"].partition(";")[0]
        server._strangers = Pace(0.01, 1)
        assert ask(server, "/status.json")[0].status == 401
        assert ask(server, "/status.json")[0].status == 503
        assert refused(server, "rate") == 1
        assert ask(server, "/status.json", Cookie=cookie)[0].status == 200


def test_a_flood_of_requests_waits_its_turn(server: PageServer) -> None:
    server._visitors = Pace(0.01, 2)
    assert [ask(server, "/status.json")[0].status for _ in range(4)] == [200, 200, 503, 503]


def test_a_picture_says_how_old_it_is_and_whether_it_was_denoised(server: PageServer) -> None:
    headers = ask(server, "/picture.jpg")[0].headers
    status = json.loads(ask(server, "/status.json")[1])
    assert 0 <= status["now_ms"] - float(headers["X-Arrived-Ms"]) < 1e5
    assert headers["X-Not-Denoised"] == "0"
    server.frames.raw.put(raw(3))
    server.frames.denoised.put(denoised(3, flags=FrameFlag.NOT_DENOISED))
    until(lambda: ask(server, "/picture.jpg")[0].headers["X-Not-Denoised"] == "1")
    assert json.loads(ask(server, "/status.json")[1])["picture"]["not_denoised"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError(), ZeroDivisionError("inside")])
def test_a_thread_that_dies_is_a_named_failure_at_once(
    error: BaseException, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: queue.Queue[Exception] = queue.Queue()
    server = PageServer("127.0.0.1:0", latest_frames_of(1))
    with server.showing(example_report, said.put):
        ask(server, "/")
        assert server.failure is None
        monkeypatch.setattr(Connections, "close_late", lambda _: raised(error))
        failure = said.get(timeout=20)
        assert server.failure is failure
        assert str(failure).startswith(f"the page at {server.url} is gone: {type(error).__name__} (")
        server.frames.raw.put(raw(9))  # the session goes on
    assert "is gone" in caplog.text


def raised(error: BaseException) -> None:
    raise error


def test_a_log_that_raises_does_not_hide_the_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise BrokenPipeError(record.name)

    said: queue.Queue[Exception] = queue.Queue()
    broken = Broken()
    logging.getLogger("deepbid_rt").addHandler(broken)
    try:
        server = PageServer("127.0.0.1:0", latest_frames_of(1))
        with server.showing(example_report, said.put):
            monkeypatch.setattr(Connections, "close_late", lambda _: raised(ZeroDivisionError("inside")))
            assert "ZeroDivisionError" in str(said.get(timeout=20))
    finally:
        logging.getLogger("deepbid_rt").removeHandler(broken)


def test_a_page_that_was_stopped_has_not_failed() -> None:
    with serving() as server:
        ask(server, "/")
    assert server.failure is None


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
        for _ in range(10):
            ask(server, "/status.json")
    assert caplog.text.count("RuntimeError: no status today") == 1  # once a minute


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
            denoised=[SinkSettings("recorder", sink), SinkSettings("the page", frames.denoised)],
            limits=SessionLimits(series=1),
        )
        with server.showing(example_report):
            status = pipeline.run()
            assert ask(server, "/picture.jpg")[0].status == 200  # others are still served
    assert asked > 16
    assert [frame.index for frame in sink.frames] == list(range(400))
    assert (status.frames_out, status.engine_lost) == (400, 0)
    assert status.sink_lost == {"recorder": 0, "the page": 0, "the page, raw": 0}
