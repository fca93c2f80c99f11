"""A slow model of `WindowDenoiser`: it keeps all frames in a dictionary and computes every result from the rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard

EngineFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class WindowDenoiserModel:
    """One plane, one channel and one view, without gaps that reset the denoiser."""

    def __init__(self, card: ModelCard, infer: EngineFunction) -> None:
        self.card = card
        self.infer = infer
        self.frames: dict[int, NDArray[np.float32]] = {}
        self.returned: set[int] = set()

    def frame_at(self, plane_frame: int) -> NDArray[np.float32]:
        """The frame with this number, or the last one before it if it is missing."""
        return self.frames[max(n for n in self.frames if n <= plane_frame)]

    def window_end(self, plane_frame: int) -> int:
        """The last frame of the window that denoises `plane_frame`: the first on the grid with enough look-ahead."""
        end = plane_frame + self.card.look_ahead
        while (end + 1) % self.card.hop:
            end += 1
        return end

    def denoised(self, plane_frame: int, ended: bool) -> NDArray[np.float32]:
        end = self.window_end(plane_frame)
        # Missing frames are copies of those before them. Before the first and after the last frame, time is mirrored.
        last = min(end, max(self.frames)) if ended else end
        plane_frames = np.pad(np.arange(min(self.frames), last + 1), (0, end - last), mode="symmetric")[
            -self.card.window :
        ]
        plane_frames = np.pad(plane_frames, (self.card.window - len(plane_frames), 0), mode="symmetric")
        place = plane_frame - (end - self.card.window + 1)
        return self.infer(np.stack([self.frame_at(n) for n in plane_frames]))[place]

    def push(self, plane_frame: int, frame: NDArray[np.float32]) -> list[tuple[int, NDArray[np.float32]]]:
        # Frames that became due in a gap before this frame were denoised without it.
        ready = self._due(plane_frame - 1)
        self.frames[plane_frame] = frame
        return ready + self._due(plane_frame)

    def flush(self) -> list[tuple[int, NDArray[np.float32]]]:
        return self._due(None)

    def _due(self, now: int | None) -> list[tuple[int, NDArray[np.float32]]]:
        plane_frames = [
            n for n in sorted(self.frames) if n not in self.returned and (now is None or self.window_end(n) <= now)
        ]
        self.returned.update(plane_frames)
        return [(n, self.denoised(n, ended=now is None)) for n in plane_frames]
