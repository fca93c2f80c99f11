"""The denoiser of one live series, with what happens when its engine fails: safe mode.

In safe mode raw pixels pass through, marked with `FrameFlag.NOT_DENOISED`, until the engine works again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.denoising.pass_through import PassThrough
from deepbid_rt.errors import DeepbidError, RefusedError, StreamError
from deepbid_rt.frame import Frame, StreamInfo
from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.back_off import BackOff
from deepbid_rt.live.sink_worker import failure_of
from deepbid_rt.wire.quiet_log import QuietLog

log = QuietLog(__name__)

ENGINE = "the engine"
"""Name of the engine in alarms and failures."""


class SafeDenoiser:
    """Denoises one series; passes its raw frames through while the engine does not work. Used by one thread.

    No frame is lost by the failure of an engine: those inside pass through as well. An engine that has failed in a
    series is opened again in a thread of its own, after 1, 2, 4 ... seconds. An engine that refuses the series from the
    start, because it does not fit, is not tried again.

    Parameters
    ----------
    info : StreamInfo
        The raw series.
    make_denoiser : callable
        Returns a `Denoiser` for a series.
    reopen : callable or None
        Called before the denoiser is made again; gives the session a new engine. None: the same engine is used.
    pass_through : PassThrough
        For the frames in safe mode.
    back_off : BackOff
        Shared by the series of a session.
    failed : callable
        Called with each failure of the engine.
    changed : callable
        Called with True and a frame number when safe mode begins, with False when it ends.
    alarms : Alarms
    """

    def __init__(
        self,
        info: StreamInfo,
        make_denoiser: Callable[[StreamInfo], Denoiser],
        reopen: Callable[[], None] | None,
        pass_through: PassThrough,
        back_off: BackOff,
        failed: Callable[[DeepbidError], None],
        changed: Callable[[bool, int | None], None],
        alarms: Alarms,
    ) -> None:
        self._raw = info
        self._make_denoiser = make_denoiser
        self._reopen = reopen
        self._pass_through = pass_through
        self._back_off = back_off
        self._failed = failed
        self._changed = changed
        self._alarms = alarms
        self._inside: dict[int, Frame] = {}  # raw frames that have not come out, by their index in the denoiser
        self._untold = 0  # frames left out that the denoiser does not know of
        self._repair: _Repair | None = None
        self._denoiser: Denoiser | None = None
        self._retries = True
        try:
            self._denoiser = make_denoiser(info)
        except Exception as error:
            # It does not fit. An engine that has failed may refuse for another reason, and recover.
            self._retries = not isinstance(error, RefusedError)
            self._begin_safe_mode(error, None)
        else:
            alarms.clear(ENGINE)
        self.info = self._denoiser.info if self._denoiser else pass_through.info
        """Description of the denoised series."""

    @property
    def inside(self) -> int:
        """Frames pushed and not yet returned."""
        return len(self._inside)

    def push(self, frame: Frame) -> list[Frame]:
        """Add a frame; return the frames that are ready, in order.

        Raises
        ------
        StreamError
            When the frame does not fit the series; it does not come out.
        """
        self._take_repaired(frame.index)
        if self._denoiser is None:
            return [self._pass_through.push(frame)]
        index = frame.index - self._untold
        self._inside[index] = frame
        try:
            done = self._denoiser.push(replace(frame, index=index) if self._untold else frame)
        except StreamError:
            del self._inside[index]
            raise
        except Exception as error:
            return self._fail(error, frame.index)
        return self._out(done)

    def skip(self, count: int) -> list[Frame]:
        """Report missing frames; return the frames that become ready by this."""
        return self._flushed(lambda denoiser: denoiser.skip(count))

    def leave_out(self, count: int) -> list[Frame]:
        """Report frames that are skipped to keep up, whole rounds of planes; return what becomes ready by this.

        A denoiser that would forget its past at a gap is not told: it works on a movie of fewer frames per second.
        """
        if self._denoiser is not None and self._denoiser.gap == "reset":
            self._untold += count
            return []
        return self.skip(count)

    def flush(self) -> list[Frame]:
        """Return all frames inside."""
        return self._flushed(lambda denoiser: denoiser.flush())

    def close(self, timeout_s: float) -> None:
        """Wait for an attempt to open the engine again, up to `timeout_s` seconds."""
        if self._repair:
            self._repair.join(timeout_s)

    def _flushed(self, work: Callable[[Denoiser], list[Frame]]) -> list[Frame]:
        if self._denoiser is None:
            return []
        try:
            return self._out(work(self._denoiser))
        except Exception as error:
            return self._fail(error, None)

    def _out(self, done: list[Frame]) -> list[Frame]:
        indices = [self._inside.pop(frame.index).index for frame in done]
        return (
            [replace(frame, index=index) for frame, index in zip(done, indices, strict=True)] if self._untold else done
        )

    def _fail(self, error: Exception, index: int | None) -> list[Frame]:
        """Begin safe mode; return the frames inside as they are."""
        self._denoiser = None
        inside = [self._pass_through.push(frame) for frame in self._inside.values()]
        self._inside.clear()
        self._begin_safe_mode(error, inside[0].index if inside else index)
        return inside

    def _begin_safe_mode(self, error: Exception, first: int | None) -> None:
        failure = failure_of(ENGINE, error)
        self._back_off.failed()
        self._failed(failure)
        again = "It is tried again." if self._retries else "It is not tried again in this series."
        self._alarms.set(ENGINE, "safe-mode", f"safe mode, raw frames pass through undenoised: {failure} {again}")
        self._changed(True, first)

    def _take_repaired(self, index: int) -> None:
        """Begin to repair the engine when it is time; use it when it is repaired."""
        if self._denoiser is not None or not self._retries:
            return
        if self._repair is None:
            if not self._back_off.remaining_s:
                self._repair = _Repair(self._raw, self._make_denoiser, self._reopen)
                self._repair.start()
        elif not self._repair.is_alive():
            repair, self._repair = self._repair, None
            self._denoiser, self._untold = repair.denoiser, 0
            if repair.error:
                self._back_off.failed()
                log.warning("the engine could not be opened again: %s", repair.error)
            else:
                self._alarms.clear(ENGINE)
                self._changed(False, index)


class _Repair(threading.Thread):
    """Opens the engine again and makes a denoiser, beside the thread that passes frames through."""

    def __init__(
        self, info: StreamInfo, make_denoiser: Callable[[StreamInfo], Denoiser], reopen: Callable[[], None] | None
    ) -> None:
        super().__init__(name="engine repair", daemon=True)
        self._info, self._make_denoiser, self._reopen = info, make_denoiser, reopen
        self.denoiser: Denoiser | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            if self._reopen:
                self._reopen()
            self.denoiser = self._make_denoiser(self._info)
        except BaseException as error:
            self.error = error
