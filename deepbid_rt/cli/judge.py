"""The verdict on a demo: its recording against the truth that the simulated microscope wrote."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.evaluation.movie import Movie, lines_averaged
from deepbid_rt.evaluation.paper import paper_figures
from deepbid_rt.evaluation.picture import side_by_side
from deepbid_rt.frame import Motion
from deepbid_rt.motion.registration import Registration
from deepbid_rt.recording.motion_trace import read_motions
from deepbid_rt.recording.sidecar import read_sidecar
from deepbid_rt.recording.tiff_movie import TiffMovie


class _Selected:
    """Some frames of a movie by their numbers, each moved by its motion where one is given.

    What a moved frame does not show is taken from its nearest pixels, so frames can be read in any order.
    """

    def __init__(self, movie: Movie, indices: list[int], motions: dict[int, Motion]) -> None:
        self._movie, self._indices, self._motions = movie, indices, motions
        self.shape = (len(indices), *movie.shape[1:])

    def read(self, t0: int, t1: int) -> NDArray[Any]:
        """Return frames (t1 - t0, C, Y, X)."""
        return np.stack([self._frame(i) for i in self._indices[t0:t1]])

    def _frame(self, index: int) -> NDArray[Any]:
        frame = self._movie.read(index, index + 1)[0]
        motion = self._motions.get(index)
        return frame if motion is None else Registration().apply(frame.astype(np.float32), motion)


def judge(recording: Path, truth_path: Path, raw_path: Path, picture: Path, *, registered: bool) -> dict[str, Any]:
    """Compare a recording with the truth, frame number by frame number, and draw one frame of each.

    Parameters
    ----------
    recording : Path
        Denoised by the default merge, with its session log beside it.
    truth_path, raw_path : Path
        What the simulated microscope wrote: (T, C, Y, X), and the same with twice the lines.
    picture : Path
        The PNG to write.
    registered : bool
        The recording was registered; truth and raw are then moved by the same shifts.

    Returns
    -------
    dict
        As `paper_figures` gives it, and ``raw``: the same of the raw frames.
    """
    log = read_sidecar(recording.with_name(recording.name.replace("_denoised.tif", ".jsonl")))
    indices = _recorded(log)
    motions = read_motions(log) if registered else {}
    with ExitStack() as stack:
        denoised, truth, raw = (
            stack.enter_context(closing(TiffMovie(path))) for path in (recording, truth_path, raw_path)
        )
        clean, noisy = (_Selected(movie, indices, motions) for movie in (truth, lines_averaged(raw, truth)))
        scores: dict[str, Any] = dict(paper_figures(denoised, clean))
        scores["raw"] = paper_figures(noisy, clean)
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


def _recorded(log: list[dict[str, Any]]) -> list[int]:
    """Read from a session log which frames a denoised recording holds."""
    lines = [line for line in log if line.get("stream") == "denoised"]
    gaps = [line for line in lines if line["kind"] == "gap"]
    missing = {i for gap in gaps for i in range(gap["first"], gap["first"] + gap["count"])}
    span = next(line for line in lines if line["kind"] == "recorded")
    return [i for i in range(span["first"], span["last"] + 1) if i not in missing]
