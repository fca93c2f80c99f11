"""Pairs of a raw frame and its denoised frame, joined by frame number.

The viewer and the page show both side by side. Each receives two streams that run at their own pace.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from deepbid_rt.frame import Frame


@dataclass(frozen=True, slots=True, eq=False)
class FramePair:
    """The raw and the denoised frame of one frame number. At least one of the two is there."""

    raw: Frame | None
    """None when the raw frame was not received."""
    denoised: Frame | None
    """None when there is no denoised stream."""


class FramePairing:
    """Joins a raw and a denoised stream by frame number.

    Frames of each stream arrive in order. A denoised frame waits until its raw frame or a later one arrives, so every
    denoised frame comes out exactly once and in order. Two frames with equal numbers but different times belong to
    different series and are not joined. Frames are kept, not copied. Not thread-safe.

    Parameters
    ----------
    max_raw : int, optional
        Largest number of raw frames that wait for their denoised frames. None: limited by `max_bytes` alone.
    max_denoised : int
        Largest number of denoised frames that wait for their raw frames.
    max_bytes : int
        Largest number of bytes that wait, for each stream. Two frames may always wait.
    """

    def __init__(self, max_raw: int | None = None, max_denoised: int = 8, max_bytes: int = 2**28) -> None:
        self._raw = _FrameQueue(max_raw, max_bytes)
        self._denoised = _FrameQueue(max_denoised, max_bytes)
        self._newest_raw = -1

    @property
    def waiting(self) -> tuple[int, int]:
        """Numbers of raw and of denoised frames that wait."""
        return len(self._raw), len(self._denoised)

    def reset_raw(self) -> None:
        """Forget the raw frames that wait, at the start of a raw series."""
        self._newest_raw = -1
        self._raw.reset()

    def reset_denoised(self) -> None:
        """Forget the denoised frames that wait, at the start of a denoised series."""
        self._denoised.reset()

    def push_raw(self, frame: Frame, *, denoised_live: bool = True) -> list[FramePair]:
        """Take a raw frame and return the pairs that are complete now, in order.

        Parameters
        ----------
        frame : Frame
        denoised_live : bool
            False when no denoised frame is to be expected: the raw frame then comes out at once, alone.
        """
        self._newest_raw = frame.index
        if not denoised_live:
            return [FramePair(frame, None)]
        self._raw.push(frame)
        while self._raw.too_long:
            self._raw.pop()
        pairs = []
        while self._denoised and self._denoised.oldest.index <= frame.index:
            pairs.append(self._pair_of(self._denoised.pop()))
        return pairs

    def push_denoised(self, frame: Frame, *, raw_live: bool = True) -> list[FramePair]:
        """Take a denoised frame and return the pairs that are complete now, in order.

        Parameters
        ----------
        frame : Frame
        raw_live : bool
            False when no raw frame is to be expected: no denoised frame then waits for one.
        """
        pairs: list[FramePair] = []
        if raw_live and frame.index > self._newest_raw:
            self._denoised.push(frame)
            while self._denoised.too_long:
                pairs.append(FramePair(None, self._denoised.pop()))
            return pairs
        while self._denoised:
            pairs.append(FramePair(None, self._denoised.pop()))
        return [*pairs, self._pair_of(frame)]

    def _pair_of(self, denoised: Frame) -> FramePair:
        """Join a denoised frame with its raw frame, and drop the raw frames before it, which no frame asks for now."""
        while self._raw and self._raw.oldest.index <= denoised.index:
            raw = self._raw.pop()
            if raw.index == denoised.index and (not denoised.t_ns or raw.t_ns == denoised.t_ns):
                return FramePair(raw, denoised)
        return FramePair(None, denoised)


class _FrameQueue:
    """Frames that wait, oldest first, and how many bytes their pixels have."""

    def __init__(self, max_frames: int | None, max_bytes: int) -> None:
        self._max_frames, self._max_bytes = max_frames, max_bytes
        self._frames: deque[Frame] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def oldest(self) -> Frame:
        return self._frames[0]

    @property
    def too_long(self) -> bool:
        """True when more frames or bytes wait than allowed."""
        if self._max_frames is not None and len(self) > self._max_frames:
            return True
        return len(self) > 2 and self._bytes > self._max_bytes

    def push(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._bytes += frame.pixels.nbytes

    def pop(self) -> Frame:
        frame = self._frames.popleft()
        self._bytes -= frame.pixels.nbytes
        return frame

    def reset(self) -> None:
        self._frames.clear()
        self._bytes = 0
