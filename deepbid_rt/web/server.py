"""The web server of the page, in a thread with its own event loop.

The figures come from `page_report`, the pictures from `PairPainter`. Whatever strangers send, the server takes bounded
memory, few file descriptors and little processor time: see `Connections`, `Attempts` and `Pace`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import resources

from aiohttp import web

from deepbid_rt.errors import DeepbidError, EndpointError, StageError
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.web.access_policy import AccessPolicy
from deepbid_rt.web.attempts import Attempts
from deepbid_rt.web.browser_keys import BrowserKeys
from deepbid_rt.web.connections import Connections
from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.metrics import Metrics
from deepbid_rt.web.pace import Pace
from deepbid_rt.web.pair_picture import PairPainter, PairPicture
from deepbid_rt.web.peer import peer_of
from deepbid_rt.web.refusals import Refusals
from deepbid_rt.web.report import page_report

log = logging.getLogger(__name__)

PICTURE_HZ = 20.0
"""Largest number of pictures per second, for all browsers together, to limit the processor time."""
_WAIT_S = 2.0
"""How long a request for a picture waits for a new frame."""
_POLL_S = 0.01
"""Interval at which it checks. It polls so that requests cause no work in the threads of the session."""
_MAX_PAINTERS = 32
"""Bounds memory: requests may name any plane and channel."""
MAX_VIEWERS = 16
"""Requests for a picture at a time. Each browser that shows the page has one under way nearly all the time."""
REQUESTS_HZ, REQUESTS_BURST = 400.0, 100
"""Requests per second, for all browsers together: 16 of them send about 350."""
STRANGERS_HZ, STRANGERS_BURST = 50.0, 50
"""Requests per second that are refused for their token or host, so that strangers do not hold up the others."""
_LONGEST_WAIT_S = 1.0
"""Longest time that a request waits for its turn; beyond it, the request is refused."""
_SUPERVISE_S = 0.25
"""Interval at which connections are checked."""
_COOKIE = "deepbid_rt_key"
_FILES = {
    "": ("index.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
    "plot.js": ("plot.js", "text/javascript"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageServer:
    """Shows one session to browsers, read-only.

    Parameters
    ----------
    address : str
        ``HOST:PORT`` to bind; port 0 means any free port, see `url`.
    frames : LatestFrames
        What to show; its taps are sinks of the session.
    token : str, optional
        What every request must contain. Without one, the address must be loopback.

    Raises
    ------
    EndpointError
        When the address is malformed, in use or not one of this machine, or when it is not loopback and there is no
        token.
    """

    def __init__(self, address: str, frames: LatestFrames, *, token: str | None = None) -> None:
        self.frames = frames
        self._policy = AccessPolicy.of(address, token)
        self._socket = _bound_socket(self._policy)
        self.url = f"http://{self._policy.host}:{self._socket.getsockname()[1]}/"
        """Address of the page."""
        files = resources.files("deepbid_rt.web") / "static"
        self._files = {path: (files / name).read_bytes() for path, (name, _) in _FILES.items()}
        self._attempts, self._keys, self._refusals = Attempts(), BrowserKeys(), Refusals()
        self._visitors, self._strangers = Pace(REQUESTS_HZ, REQUESTS_BURST), Pace(STRANGERS_HZ, STRANGERS_BURST)
        self._viewers = 0
        self._connections: Connections | None = None
        self._failure: DeepbidError | None = None
        self._read_session: Callable[[], SessionReport] | None = None
        self._metrics: Metrics | None = None
        self._painters: dict[tuple[int, int], PairPainter] = {}
        self._pictures: dict[tuple[int, int], PairPicture] = {}
        self._painted_s = 0.0

    @property
    def failure(self) -> DeepbidError | None:
        """What ended the thread of the server; None while it serves, before it starts and after it has been stopped.

        The session goes on without its page. From any thread.
        """
        return self._failure

    @contextmanager
    def showing(
        self, read_session: Callable[[], SessionReport], failed: Callable[[DeepbidError], None] | None = None
    ) -> Iterator[None]:
        """Serve while the context lasts.

        Parameters
        ----------
        read_session : callable
            Returns the session as it is now. Called from the thread of the server.
        failed : callable, optional
            Called with `failure` when the thread of the server ends before the context does; called from that thread.
        """
        self._read_session, self._metrics = read_session, Metrics(read_session, lambda: self._refusals.counts)
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()
        arguments = (loop, stop, failed or (lambda _error: None))
        thread = threading.Thread(target=self._run, args=arguments, name="page", daemon=True)
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()
            self.close()

    def close(self) -> None:
        """Release the address; may be called twice."""
        self._socket.close()

    def _run(
        self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event, failed: Callable[[DeepbidError], None]
    ) -> None:
        try:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(self._serve(stop))
        # Any exception, SystemExit included: it would end this thread without a word.
        except BaseException as error:
            self._failure = failure = StageError(
                f"the page at {self.url} is gone: {type(error).__name__} ({error})",
                expected="it to be shown as long as the session runs",
                todo="start the session again to have a page; the session goes on without one",
            )
            failure.__cause__ = error
            try:
                failed(failure)
            finally:
                # A handler of the log may be what has failed.
                with suppress(BaseException):
                    log.exception("%s", failure)

    async def _serve(self, stop: asyncio.Event) -> None:
        app = web.Application(middlewares=[self._check_access])
        app.on_response_prepare.append(_add_headers)
        for path in _FILES:
            app.router.add_get(f"/{path}", self._send_file)
        app.router.add_get("/status.json", self._send_status)
        app.router.add_get("/picture.jpg", self._send_picture)
        app.router.add_get("/metrics", self._send_metrics)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True, lingering_time=0.0
        )
        await runner.setup()
        if runner.server is None:
            raise RuntimeError("aiohttp has set up no server")
        self._connections = Connections(runner.server, self._refusals)
        listener = await asyncio.get_running_loop().create_server(self._connections, sock=self._socket)
        try:
            while not stop.is_set():
                self._connections.close_late()
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _SUPERVISE_S)
        finally:
            listener.close()
            self._connections.abort_all()
            await runner.cleanup()

    @web.middleware
    async def _check_access(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._connections:
            self._connections.begin_answer(request.transport)
        query = request.query.get("token")
        refused = self._refused(request, query)
        await self._wait_turn(request, self._strangers if refused else self._visitors)
        if refused:
            raise refused
        if query and self._policy.token and request.path == "/":  # out of the address bar, where users would copy it
            answer = web.HTTPSeeOther("/")
            answer.set_cookie(_COOKIE, self._keys.new(), httponly=True, samesite="Strict", path="/")
            raise answer
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        # Any exception concerns this request alone. aiohttp would log each with its traceback, twice a second for each
        # browser.
        except Exception as error:
            self._refusals.add("error", _peer(request), f"an error in answering {request.path}", error)
            raise web.HTTPInternalServerError from error

    def _refused(self, request: web.Request, query: str | None) -> web.HTTPException | None:
        """Return why a request is refused; None when it is not."""
        if not self._policy.admits_host(request.headers.get("Host")):
            return web.HTTPMisdirectedRequest(text="this is not a name of this machine\n")
        if self._policy.token is None or (not query and self._keys.admits(request.cookies.get(_COOKIE))):
            return None
        token = query or request.headers.get("Authorization", "").removeprefix("Bearer ")
        peer = _peer(request)
        if token and (wait_s := self._attempts.wait_s(peer)):
            self._refusals.add("token", peer, "refused a token, as there were too many wrong ones")
            return web.HTTPTooManyRequests(
                text="too many wrong tokens\n", headers={"Retry-After": str(math.ceil(wait_s))}
            )
        if token and self._policy.admits_token(token):
            self._attempts.succeeded(peer)
            return None
        if token:
            self._attempts.failed(peer)
            self._refusals.add("token", peer, "refused a wrong token")
        return web.HTTPUnauthorized(
            text="open /?token=TOKEN once, or send Authorization: Bearer TOKEN\n",
            headers={"WWW-Authenticate": "Bearer"},
        )

    async def _wait_turn(self, request: web.Request, pace: Pace) -> None:
        if pace.wait_s() > _LONGEST_WAIT_S:
            self._refusals.add("rate", _peer(request), "refused a request, as there are too many")
            raise _busy("too many requests")
        if wait_s := pace.take():
            await asyncio.sleep(wait_s)

    async def _send_file(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/")
        return web.Response(body=self._files[path], content_type=_FILES[path][1], charset="utf-8")

    async def _send_status(self, request: web.Request) -> web.Response:
        after, plane = _number(request, "after"), _number(request, "plane")
        return web.json_response(page_report(self._session(), self.frames, after, plane))

    async def _send_metrics(self, request: web.Request) -> web.Response:
        text = b"" if self._metrics is None else self._metrics.text()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _send_picture(self, request: web.Request) -> web.Response:
        """Wait for a pair that the browser does not have yet, and send its picture; 204 when there is none in time."""
        key = _number(request, "plane"), _number(request, "channel")
        after = _number(request, "after")
        if self._viewers >= MAX_VIEWERS:
            self._refusals.add("viewers", _peer(request), "refused a picture, as too many browsers show the page")
            raise _busy(f"{MAX_VIEWERS} browsers show the page already")
        self._viewers += 1
        try:
            return await self._next_picture(key, after)
        finally:
            self._viewers -= 1

    async def _next_picture(self, key: tuple[int, int], after: int) -> web.Response:
        deadline = time.monotonic() + _WAIT_S
        while (picture := self._newest_picture(key)) is None or picture.serial == after:
            if time.monotonic() >= deadline:
                return web.Response(status=204)
            await asyncio.sleep(_POLL_S)
        limits = {"X-Black": f"{picture.black:.6g}", "X-White": f"{picture.white:.6g}"}
        facts = {
            "X-Serial": str(picture.serial),
            "X-Frame": str(picture.index),
            "X-Arrived-Ms": f"{picture.arrived_s * 1e3:.1f}",
            "X-Not-Denoised": str(int(picture.not_denoised)),
            **limits,
        }
        return web.Response(body=picture.jpeg, content_type="image/jpeg", headers=facts)

    def _newest_picture(self, key: tuple[int, int]) -> PairPicture | None:
        """Return the picture of the newest pair, or an older one if a new one is not due yet (`PICTURE_HZ`)."""
        pair, picture = self.frames.pair(key[0]), self._pictures.get(key)
        if pair is None or (picture is not None and picture.serial == pair.serial):
            return picture
        now_s = time.monotonic()
        if now_s - self._painted_s < 1 / PICTURE_HZ:
            return picture
        if key not in self._painters and len(self._painters) >= _MAX_PAINTERS:
            self._painters.clear()
            self._pictures.clear()
        painter = self._painters.setdefault(key, PairPainter(self.frames.merge, key[1]))
        self._painted_s = now_s
        self._pictures[key] = painter.paint(pair)
        return self._pictures[key]

    def _session(self) -> SessionReport:
        if self._read_session is None:
            raise web.HTTPServiceUnavailable
        return self._read_session()


def _peer(request: web.Request) -> str:
    return peer_of(request.remote or "unknown")


def _busy(text: str) -> web.HTTPException:
    return web.HTTPServiceUnavailable(text=f"{text}\n", headers={"Retry-After": "1"})


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _number(request: web.Request, key: str) -> int:
    text = request.query.get(key, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise web.HTTPBadRequest(text=f"{key} must be a whole number\n")
    return int(text)


def _bound_socket(policy: AccessPolicy) -> socket.socket:
    family = socket.AF_INET6 if policy.host.startswith("[") else socket.AF_INET
    server_socket = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where SO_REUSEADDR would share the port
            server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server_socket.bind((policy.host.strip("[]"), policy.port))
        server_socket.listen()
    except OSError as error:
        server_socket.close()
        where = f"{policy.host}:{policy.port}"
        if error.errno == errno.EADDRINUSE:
            raise EndpointError(
                f"port in use {where}",
                expected="a free address for the page",
                todo="choose another port or stop the program that holds this one",
            ) from error
        raise EndpointError(
            f"the page cannot be shown on {where} ({error.strerror or error})",
            expected="an address of this machine",
            todo="correct the address",
        ) from error
    return server_socket
