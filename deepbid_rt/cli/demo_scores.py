"""The scores of a demo: its recording compared with the clean movie of the simulated microscope."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.evaluation.movie import MovieReader, average_line_pairs
from deepbid_rt.evaluation.paper import paper_metrics
from deepbid_rt.evaluation.picture import side_by_side
from deepbid_rt.frame import Motion
from deepbid_rt.motion.frame_registration import Registration
from deepbid_rt.recording.motion_trace import read_motions
from deepbid_rt.recording.sidecar import read_log_beside
from deepbid_rt.recording.tiff_movie import TiffMovie


class _SelectedFrames:
    """Some frames of a movie, by their numbers, each shifted by its motion if one is given.

    Where a shifted frame has no data it repeats its nearest pixels, so that frames can be read in any order.
    """

    def __init__(self, movie: MovieReader, indices: list[int], motions: dict[int, Motion]) -> None:
        self._movie, self._indices, self._motions = movie, indices, motions
        self.shape = (len(indices), *movie.shape[1:])

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        """Return frames (t1 - t0, C, Y, X)."""
        return np.stack([self._frame(i) for i in self._indices[t0:t1]])

    def _frame(self, index: int) -> NDArray[Any]:
        frame = self._movie.read(index, index + 1)[0]
        motion = self._motions.get(index)
        return frame if motion is None else Registration().apply(frame.astype(np.float32), motion)


def score_demo(recording: Path, truth_path: Path, raw_path: Path, picture: Path, *, registered: bool) -> dict[str, Any]:
    """Score a recording against the clean movie, frame by frame, and draw one frame of each.

    Parameters
    ----------
    recording : Path
        The denoised recording, made with the default merge; its session log is beside it.
    truth_path, raw_path : Path
        The clean movie (T, C, Y, X) and the raw movie (T, C, 2 Y, X) of the simulated microscope.
    picture : Path
        Path of the PNG to write.
    registered : bool
        Whether the recording was registered; if so, truth and raw are shifted by the same motion.

    Returns
    -------
    dict
        The `paper_metrics` of the recording, and under ``raw`` those of the raw frames.
    """
    log = read_log_beside(recording)
    indices = _recorded_frames(log)
    motions = read_motions(log) if registered else {}
    with ExitStack() as stack:
        denoised, truth, raw = (
            stack.enter_context(closing(TiffMovie(path))) for path in (recording, truth_path, raw_path)
        )
        clean, noisy = (_SelectedFrames(movie, indices, motions) for movie in (truth, average_line_pairs(raw, truth)))
        scores: dict[str, Any] = dict(paper_metrics(denoised, clean))
        scores["raw"] = paper_metrics(noisy, clean)
        at = len(indices) // 2
        side_by_side(
            [
                ("raw, mean of both scan directions", noisy.read(at, at + 1)[0, 0]),
                ("denoised live", denoised.frame(at)[0]),
                ("truth", clean.read(at, at + 1)[0, 0]),
            ],
            picture,
            title=f"frame {indices[at]} of {recording.name}",
        )
    return scores


def _recorded_frames(log: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of the frames in a denoised recording, from its session log."""
    lines = [line for line in log if line.get("stream") == "denoised"]
    gaps = [line for line in lines if line["kind"] == "gap"]
    missing = {i for gap in gaps for i in range(gap["first"], gap["first"] + gap["count"])}
    span = next(line for line in lines if line["kind"] == "recorded")
    return [i for i in range(span["first"], span["last"] + 1) if i not in missing]
