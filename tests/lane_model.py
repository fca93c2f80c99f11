"""What a lane must answer, worked out from the rules alone: slowly, and from a plain list of frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard

Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class LaneModel:
    """One plane without a gap it could not bridge: frames by tick, from which every answer follows."""

    def __init__(self, card: ModelCard, answer: Answer) -> None:
        self.card = card
        self.answer = answer
        self.frames: dict[int, NDArray[np.float32]] = {}
        self.answered: set[int] = set()

    def frame_at(self, plane_frame: int) -> NDArray[np.float32]:
        """The frame of `plane_frame`, or the one before it that came."""
        return self.frames[max(t for t in self.frames if t <= plane_frame)]

    def due_at(self, plane_frame: int) -> int:
        """The tick after which `plane_frame` is answered: the first end of the grid with enough look-ahead."""
        end = plane_frame + self.card.look_ahead
        while (end + 1) % self.card.hop:
            end += 1
        return end

    def answer_of(self, plane_frame: int, ended: bool) -> NDArray[np.float32]:
        end = self.due_at(plane_frame)
        # A gap is bridged by copies; before the first frame and after the end stands a mirror image in time.
        last = min(end, max(self.frames)) if ended else end
        plane_frames = np.pad(np.arange(min(self.frames), last + 1), (0, end - last), mode="symmetric")[
            -self.card.window :
        ]
        plane_frames = np.pad(plane_frames, (self.card.window - len(plane_frames), 0), mode="symmetric")
        place = plane_frame - (end - self.card.window + 1)
        return self.answer(np.stack([self.frame_at(t) for t in plane_frames]))[place]

    def push(self, plane_frame: int, frame: NDArray[np.float32]) -> list[tuple[int, NDArray[np.float32]]]:
        # What became due in a gap before this frame was answered without it.
        ready = self._take(plane_frame - 1)
        self.frames[plane_frame] = frame
        return ready + self._take(plane_frame)

    def flush(self) -> list[tuple[int, NDArray[np.float32]]]:
        return self._take(None)

    def _take(self, now: int | None) -> list[tuple[int, NDArray[np.float32]]]:
        plane_frames = [
            t for t in sorted(self.frames) if t not in self.answered and (now is None or self.due_at(t) <= now)
        ]
        self.answered.update(plane_frames)
        return [(t, self.answer_of(t, ended=now is None)) for t in plane_frames]
