"""The web server of the page, in a thread with its own event loop.

The figures come from `page_report`, the pictures from `PairPainter`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib import resources

from aiohttp import web

from deepbid_rt.errors import EndpointError
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.web.access_policy import AccessPolicy
from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.metrics import Metrics
from deepbid_rt.web.pair_picture import PairPainter, PairPicture
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
_COOKIE = "deepbid_rt_token"
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
        self._read_session: Callable[[], SessionReport] | None = None
        self._metrics: Metrics | None = None
        self._painters: dict[tuple[int, int], PairPainter] = {}
        self._pictures: dict[tuple[int, int], PairPicture] = {}
        self._painted_s = 0.0

    @contextmanager
    def showing(self, read_session: Callable[[], SessionReport]) -> Iterator[None]:
        """Serve while the context lasts.

        Parameters
        ----------
        read_session : callable
            Returns the session as it is now. Called from the thread of the server.
        """
        self._read_session, self._metrics = read_session, Metrics(read_session)
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()
        thread = threading.Thread(target=self._run, args=(loop, stop), name="page", daemon=True)
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

    def _run(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._serve(stop))
        # Any exception: the session goes on without its page, and the log says why the page is gone.
        except Exception:
            log.exception("the page at %s is gone; the session goes on", self.url)
            loop.run_until_complete(stop.wait())

    async def _serve(self, stop: asyncio.Event) -> None:
        app = web.Application(middlewares=[self._check_access])
        app.on_response_prepare.append(_add_headers)
        for path in _FILES:
            app.router.add_get(f"/{path}", self._send_file)
        app.router.add_get("/status.json", self._send_status)
        app.router.add_get("/picture.jpg", self._send_picture)
        app.router.add_get("/metrics", self._send_metrics)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
        await runner.setup()
        try:
            await web.SockSite(runner, self._socket).start()
            await stop.wait()
        finally:
            # A browser that does not read would keep its connection, and the data written to it, for ever.
            for connection in runner.server.connections if runner.server else ():
                if isinstance(connection.transport, asyncio.WriteTransport):
                    connection.transport.abort()
            await runner.cleanup()

    @web.middleware
    async def _check_access(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._policy.admits_host(request.headers.get("Host")):
            raise web.HTTPMisdirectedRequest(text="this is not a name of this machine\n")
        query = request.query.get("token")
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self._policy.admits_token(query or bearer or request.cookies.get(_COOKIE)):
            raise web.HTTPUnauthorized(
                text="open /?token=TOKEN once, or send Authorization: Bearer TOKEN\n",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if query and self._policy.token and request.path == "/":  # out of the address bar, where users would copy it
            answer = web.HTTPSeeOther("/")
            answer.set_cookie(_COOKIE, query, httponly=True, samesite="Strict", path="/")
            raise answer
        return await handler(request)

    async def _send_file(self, request: web.Request) -> web.Response:
        name, content_type = _FILES[request.path.removeprefix("/")]
        text = (resources.files("deepbid_rt.web") / "static" / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=content_type)

    async def _send_status(self, request: web.Request) -> web.Response:
        return web.json_response(page_report(self._session(), self.frames, _number(request, "after")))

    async def _send_metrics(self, request: web.Request) -> web.Response:
        text = b"" if self._metrics is None else self._metrics.text()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _send_picture(self, request: web.Request) -> web.Response:
        """Wait for a pair that the browser does not have yet, and send its picture; 204 when there is none in time."""
        key = _number(request, "plane"), _number(request, "channel")
        after = _number(request, "after")
        deadline = time.monotonic() + _WAIT_S
        while (picture := self._newest_picture(key)) is None or picture.serial == after:
            if time.monotonic() >= deadline:
                return web.Response(status=204)
            await asyncio.sleep(_POLL_S)
        limits = {"X-Black": f"{picture.black:.6g}", "X-White": f"{picture.white:.6g}"}
        facts = {"X-Serial": str(picture.serial), "X-Frame": str(picture.index), **limits}
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
