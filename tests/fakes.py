"""Test implementations of the ports: a source that reads a list, a sink that fills a list, an engine that records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from deepbid_rt.card import ModelCard, Normalization
from deepbid_rt.denoising.answer import Answer
from deepbid_rt.frame import Event, Frame, FrameFlag, Gap, ScanGeometry, StreamEnd, StreamInfo

Step = Event | BaseException | Callable[[], Any] | None

FIXED = Normalization(rule="fixed")
WINDOW_CARD = ModelCard(
    name="window", kind="window", window=40, hop=8, look_ahead=8, grid=8, normalization=Normalization(frames=16)
)
STREAM_CARD = ModelCard(
    name="stream", kind="stream", memories=(0.4, 0.1), grid=8, normalization=Normalization(frames=8)
)


def echo_card(window: int = 1, hop: int = 1, look_ahead: int = 0, grid: int = 1, **rest: Any) -> ModelCard:
    """A card without the restrictions of window engines, so that tests can use small windows."""
    rest.setdefault("normalization", FIXED)
    return ModelCard(name="small", kind="echo", window=window, hop=hop, look_ahead=look_ahead, grid=grid, **rest)


def stream(
    shape: tuple[int, int, int] = (1, 4, 6),
    dtype: DTypeLike = np.int16,
    scan: ScanGeometry | None = None,
    planes: int = 1,
    **rest: Any,
) -> StreamInfo:
    return StreamInfo(shape, np.dtype(dtype), 30.0, scan or ScanGeometry(), planes=planes, **rest)


def pixels_of(info: StreamInfo, index: int) -> NDArray[Any]:
    """Pixels of frame `index`: noise that differs from frame to frame, and the index in the first pixel."""
    rng = np.random.default_rng(index)
    if info.dtype.kind == "f":
        pixels = rng.normal(100, 30, info.shape).astype(info.dtype)
    else:
        limits = np.iinfo(info.dtype)
        pixels = rng.integers(limits.min, limits.max, info.shape, info.dtype, endpoint=True)
    pixels[0, 0, 0] = index % 251
    return pixels


def stamped_frames(info: StreamInfo, count: int, first: int = 0) -> list[Frame]:
    return [
        Frame(index, pixels_of(info, index), t_ns=1_000 + index, arrived_ns=2_000 + index, plane=index % info.planes)
        for index in range(first, first + count)
    ]


def flat_frame(info: StreamInfo, index: int, value: float, flags: FrameFlag = FrameFlag.NONE) -> Frame:
    """A frame in which all pixels have the same value."""
    return Frame(index, np.full(info.shape, value, info.dtype), plane=index % info.planes, flags=flags)


class ListSource:
    """Delivers the events of a list, as strictly as the `FrameSource` contract allows.

    The pixels of all frames are in one array, which each `read` overwrites. An exception in the list is raised, a
    callable is called before the next event, and for None `read` returns None.
    """

    def __init__(self, steps: Iterable[Step], *, refuse: BaseException | None = None) -> None:
        self._steps = iter(steps)
        self._refuse = refuse
        self._array: NDArray[Any] | None = None
        self.opened = self.closed = self.frames_read = 0
        self.exhausted = threading.Event()

    def open(self) -> None:
        self.opened += 1
        if self._refuse is not None:
            raise self._refuse

    def read(self, timeout_s: float) -> Any:
        if self._array is not None:
            self._array.fill(99)
        step = next(self._steps, self.exhausted)
        while callable(step):
            step()
            step = next(self._steps, self.exhausted)
        if step is self.exhausted:
            self.exhausted.set()
            threading.Event().wait(min(timeout_s, 0.005))
            return None
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, Frame):
            self.frames_read += 1
            self._array = step.pixels.copy()
            return replace(step, pixels=self._array)
        return step

    def close(self) -> None:
        self.closed += 1


class ListSink:
    """Records all calls. Hooks can wait or raise at a certain call or frame."""

    def __init__(
        self,
        *,
        on_put: Callable[[Frame], None] | None = None,
        on_start: Callable[[StreamInfo], None] | None = None,
        on_end: Callable[[StreamEnd], None] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._on_put, self._on_start, self._on_end, self._on_close = on_put, on_start, on_end, on_close
        self.events: list[Event] = []
        self.closed = 0
        self.threads: set[str] = set()

    @property
    def frames(self) -> list[Frame]:
        return [event for event in self.events if isinstance(event, Frame)]

    @property
    def gaps(self) -> list[Gap]:
        return [event for event in self.events if isinstance(event, Gap)]

    @property
    def ends(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, StreamEnd)]

    def start(self, info: StreamInfo) -> None:
        self._record(info, self._on_start)

    def put(self, frame: Frame) -> None:
        self._record(frame, self._on_put)

    def skip(self, gap: Gap) -> None:
        self._record(gap, None)

    def end(self, end: StreamEnd) -> None:
        self._record(end, self._on_end)

    def close(self) -> None:
        self.closed += 1
        if self._on_close:
            self._on_close()

    def _record(self, event: Any, hook: Callable[[Any], None] | None) -> None:
        self.threads.add(threading.current_thread().name)
        if hook:
            hook(event)
        self.events.append(event)


class SpyEngine:
    """Records every input and returns a function of it."""

    description = "spy"

    def __init__(self, card: ModelCard, answer: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None):
        self.card = card
        self.windows: list[NDArray[np.float32]] = []
        self.warmed: list[tuple[int, int, int]] = []
        self.closed = 0
        self._answer = answer or mixing_answer
        self._result: NDArray[np.float32] | None = None

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        self.warmed.append(shape)

    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        assert window.flags.c_contiguous
        assert window.dtype == np.float32
        assert window.shape == self.warmed[-1]
        self.windows.append(window.copy())
        if self._result is not None:
            self._result.fill(np.nan)  # the next call may overwrite a result, so no caller may keep it
        self._result = self._answer(window).astype(np.float32)
        return self._result

    def close(self) -> None:
        self.closed += 1


def mixing_answer(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each place of the window a mixture of its own frame, all other frames and the place itself."""
    place = np.arange(len(window), dtype=np.float32)[:, None, None]
    weights = np.linspace(0.5, 1.5, len(window), dtype=np.float32)[:, None, None]
    return window * np.float32(2) + (window * weights).mean(axis=0, keepdims=True) + place * np.float32(0.25)


def raise_(error: BaseException) -> None:
    raise error


def pairs(answers: Sequence[Answer]) -> list[tuple[int, NDArray[Any]]]:
    """The number and the pixels of each answer."""
    return [(answer.plane_frame, answer.pixels) for answer in answers]
