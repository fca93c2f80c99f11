"""Denoises the views of one plane with a window engine, such as the 3D U-Net of the papers.

The network denoises a window of consecutive frames at once. Windows begin on a fixed grid of frame numbers and overlap;
of each window only the frames with enough later frames are used.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.denoising.answer import Answer
from deepbid_rt.denoising.calibration import Calibration
from deepbid_rt.denoising.device import WindowEngine
from deepbid_rt.denoising.frame_window import FrameWindow
from deepbid_rt.denoising.network_inputs import pad, padded_size
from deepbid_rt.ports import Engine
from deepbid_rt.scan.normalizer import Normalizer


class WindowDenoiser:
    """Denoises the views of one plane with a window engine.

    The engine runs after each frame ``e`` of the plane for which ``e + 1`` is a multiple of the hop, on the window that
    ends with ``e``. It returns the `hop` newest frames that have `look_ahead` later frames in the window. The windows
    depend on the frame numbers only, so live and offline runs use the same ones.

    Parameters
    ----------
    engine : Engine
        Warmed up for windows of the padded size.
    channels, views : int
        C and V. Each channel has its own offset and scale, which its views share.
    size : tuple of int
        (Y, X) of one view, unpadded.
    planes : int
        Planes of the series, see `calibration_frames`.

    Notes
    -----
    Window and hop are multiples of 8, because the network of the papers is equivariant to shifts by 8 frames only.
    Windows at other positions make the output flicker (see docs/explanation/window-engine.md).
    """

    def __init__(self, engine: Engine, channels: int, views: int, size: tuple[int, int], *, planes: int = 1) -> None:
        self._engine = engine
        self._card = engine.card
        self._size = size
        padded = padded_size(size, self._card.grid)
        make = engine.open_window if isinstance(engine, WindowEngine) else FrameWindow
        self._windows = [[make(self._card.window, padded) for _ in range(views)] for _ in range(channels)]
        self._calibration = Calibration(self._card, channels, planes)
        self.reset()

    @property
    def normalizers(self) -> tuple[Normalizer, ...] | None:
        """Offset and scale of each channel; None until calibrated, constant from then on."""
        return self._calibration.normalizers

    def push(self, plane_frame: int, views: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> list[Answer]:
        """Add one frame and return the frames that are ready.

        Parameters
        ----------
        plane_frame : int
            Number of the frame within its plane, above all earlier ones. Missing frames are replaced by copies of the
            frame before them, which are not returned.
        views : ndarray
            (C, V, Y, X) raw counts in image order; not kept.
        missing : ndarray, optional
            (C, V, Y, X), True for pixels that were filled without a measurement.
        """
        return [
            answer
            for number, calibrated in self._calibration.push(plane_frame, views, missing)
            for answer in self._advance(number, calibrated)
        ]

    def flush(self) -> list[Answer]:
        """Denoise every frame inside and forget them; after the last one the movie is mirrored in time.

        If the calibration was not complete, these frames are calibrated on themselves and later frames anew.
        """
        uncalibrated = self._calibration.waiting
        answers = [a for number, views in self._calibration.measure() for a in self._advance(number, views)]
        mirrored = self._mirrored() if self._unanswered else iter(())
        while self._unanswered and self._latest is not None:
            answers += self._append(self._latest + 1, next(mirrored))
        self.reset(keep_scale=not uncalibrated)
        return answers

    def reset(self, *, keep_scale: bool = True) -> None:
        """Forget all frames, and without `keep_scale` also the calibration."""
        for channel in self._windows:
            for window in channel:
                window.reset()
        self._calibration.reset(keep_scale=keep_scale)
        self._latest: int | None = None
        self._latest_units: NDArray[np.float32] | None = None
        self._unanswered: list[int] = []

    def _advance(self, plane_frame: int, views: NDArray[Any]) -> list[Answer]:
        answers: list[Answer] = []
        while self._latest is not None and self._latest_units is not None and self._latest + 1 < plane_frame:
            answers += self._append(self._latest + 1, self._latest_units)
        units = pad(self._calibration.apply(views), self._card.grid)
        self._unanswered.append(plane_frame)
        return answers + self._append(plane_frame, units)

    def _mirrored(self) -> Iterator[NDArray[np.float32]]:
        """Yield the frames inside, newest first, then oldest first, and so on without end."""
        count = min(self._windows[0][0].filled, self._card.hop + self._card.look_ahead)
        frames = np.stack(
            [[window.view()[-count:] for window in channel] for channel in self._windows], axis=0
        )  # (C, V, T, Y, X), copied because the windows change meanwhile
        order = [*range(count - 1, -1, -1), *range(count)]
        return (frames[:, :, place] for place in itertools.cycle(order))

    def _append(self, plane_frame: int, units: NDArray[np.float32]) -> list[Answer]:
        for windows, channel in zip(self._windows, units, strict=True):
            for window, view in zip(windows, channel, strict=True):
                window.push(view)
        self._latest, self._latest_units = plane_frame, units
        return self._infer(plane_frame) if (plane_frame + 1) % self._card.hop == 0 else []

    def _infer(self, plane_frame: int) -> list[Answer]:
        """Denoise the frames that are due with the window that ends at `plane_frame`."""
        stop = plane_frame + 1 - self._card.look_ahead
        due = [number for number in self._unanswered if number < stop]
        if not due:
            return []
        del self._unanswered[: len(due)]
        first = plane_frame + 1 - self._card.window
        rows, columns = self._size
        answers = np.empty((len(due), len(self._windows), len(self._windows[0]), rows, columns), np.float32)
        places = [number - first for number in due]
        mean_bias = np.zeros(len(self._windows))
        for c, windows in enumerate(self._windows):
            for v, window in enumerate(windows):
                answer = window.infer(self._engine)
                if self._calibration.bias is None:
                    mean_bias[c] += np.mean(answer - window.view(), dtype=np.float64) / len(windows)
                answers[:, c, v] = answer[places, :rows, :columns]
        counts = self._calibration.restore(answers, mean_bias, plane_frame + 1)
        return [Answer(number, views) for number, views in zip(due, counts, strict=True)]
