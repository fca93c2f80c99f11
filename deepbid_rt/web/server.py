"""The server of the page: a socket, a thread and its event loop. What it says comes from `report` and `picture`."""

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
from deepbid_rt.web.access_policy import AccessPolicy
from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.metrics import Metrics
from deepbid_rt.web.picture import Painter, Picture
from deepbid_rt.web.report import Snapshot, report

log = logging.getLogger(__name__)

PICTURE_HZ = 20.0
"""Most pictures per second, for all browsers together."""
_WAIT_S = 2.0
"""How long a request for a picture waits for a new frame."""
_LOOK_S = 0.01
"""How often it looks. Polling, so that neither the taps nor their threads know that somebody watches."""
_MOST_PAINTERS = 32
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


class Server:
    """Shows one session to browsers.

    Parameters
    ----------
    address : str
        ``HOST:PORT`` to bind; port 0 takes a free one, see `url`.
    board : LatestFrames
        Its taps are the session's sinks.
    token : str, optional
        What every request must know; without one, only this machine may reach the page.

    Raises
    ------
    EndpointError
        When the address is malformed, in use, or not of this machine; when it is not loopback and there is no token.
    """

    def __init__(self, address: str, board: LatestFrames, *, token: str | None = None) -> None:
        self.board = board
        self._gate = AccessPolicy.of(address, token)
        self._socket = _bound(self._gate)
        self.url = f"http://{self._gate.host}:{self._socket.getsockname()[1]}/"
        """Where the page is."""
        self._look: Callable[[], Snapshot] | None = None
        self._metrics: Metrics | None = None
        self._painters: dict[tuple[int, int], Painter] = {}
        self._pictures: dict[tuple[int, int], Picture] = {}
        self._painted_s = 0.0

    @contextmanager
    def showing(self, look: Callable[[], Snapshot]) -> Iterator[None]:
        """Serve while the context lasts; `look` returns the session's present state, from any thread."""
        self._look, self._metrics = look, Metrics(look)
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
        # Anything: the session must outlive its page, and its owner must learn why the page is gone.
        except Exception:
            log.exception("the page at %s is gone; the session goes on", self.url)
            loop.run_until_complete(stop.wait())

    async def _serve(self, stop: asyncio.Event) -> None:
        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(_harden)
        for path in _FILES:
            app.router.add_get(f"/{path}", self._file)
        app.router.add_get("/status.json", self._status)
        app.router.add_get("/picture.jpg", self._picture)
        app.router.add_get("/metrics", self._exposition)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
        await runner.setup()
        try:
            await web.SockSite(runner, self._socket).start()
            await stop.wait()
        finally:
            # A browser that does not read would hold its connection, with what was written to it, for ever.
            for connection in runner.server.connections if runner.server else ():
                if isinstance(connection.transport, asyncio.WriteTransport):
                    connection.transport.abort()
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._gate.admits_host(request.headers.get("Host")):
            raise web.HTTPMisdirectedRequest(text="this machine has no such name\n")
        query = request.query.get("token")
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self._gate.admits_token(query or bearer or request.cookies.get(_COOKIE)):
            raise web.HTTPUnauthorized(
                text="open /?token=TOKEN once, or send Authorization: Bearer TOKEN\n",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if query and self._gate.token and request.path == "/":  # out of the address bar, where it would be copied from
            answer = web.HTTPSeeOther("/")
            answer.set_cookie(_COOKIE, query, httponly=True, samesite="Strict", path="/")
            raise answer
        return await handler(request)

    async def _file(self, request: web.Request) -> web.Response:
        name, content_type = _FILES[request.path.removeprefix("/")]
        text = (resources.files("deepbid_rt.web") / "static" / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=content_type)

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(report(self._present(), self.board, _number(request, "after")))

    async def _exposition(self, request: web.Request) -> web.Response:
        text = b"" if self._metrics is None else self._metrics.text()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _picture(self, request: web.Request) -> web.Response:
        """Wait for a frame that the browser has not, paint it at most `PICTURE_HZ` times a second, and send it."""
        key = _number(request, "plane"), _number(request, "channel")
        after = _number(request, "after")
        deadline = time.monotonic() + _WAIT_S
        while (picture := self._newest(key)) is None or picture.serial == after:
            if time.monotonic() >= deadline:
                return web.Response(status=204)
            await asyncio.sleep(_LOOK_S)
        limits = {"X-Black": f"{picture.black:.6g}", "X-White": f"{picture.white:.6g}"}
        facts = {"X-Serial": str(picture.serial), "X-Frame": str(picture.index), **limits}
        return web.Response(body=picture.jpeg, content_type="image/jpeg", headers=facts)

    def _newest(self, key: tuple[int, int]) -> Picture | None:
        """Return the picture of the newest pair, or the one before while another is not due."""
        pair, picture = self.board.pair(key[0]), self._pictures.get(key)
        if pair is None or (picture is not None and picture.serial == pair.serial):
            return picture
        now_s = time.monotonic()
        if now_s - self._painted_s < 1 / PICTURE_HZ:
            return picture
        if key not in self._painters and len(self._painters) >= _MOST_PAINTERS:
            self._painters.clear()
            self._pictures.clear()
        painter = self._painters.setdefault(key, Painter(self.board.merge, key[1]))
        self._painted_s = now_s
        self._pictures[key] = painter.paint(pair)
        return self._pictures[key]

    def _present(self) -> Snapshot:
        if self._look is None:
            raise web.HTTPServiceUnavailable
        return self._look()


async def _harden(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _number(request: web.Request, key: str) -> int:
    text = request.query.get(key, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise web.HTTPBadRequest(text=f"{key} is a whole number\n")
    return int(text)


def _bound(gate: AccessPolicy) -> socket.socket:
    family = socket.AF_INET6 if gate.host.startswith("[") else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where SO_REUSEADDR would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((gate.host.strip("[]"), gate.port))
        listener.listen()
    except OSError as error:
        listener.close()
        where = f"{gate.host}:{gate.port}"
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
    return listener
