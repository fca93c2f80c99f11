"""Questions about the light: flicker of the laser, and stripes of interference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.doctor.finding import Finding, how_sure, not_known
from deepbid_rt.doctor.sample import Runs, as_floats
from deepbid_rt.live.picture_figures import Block, PictureSample
from deepbid_rt.live.picture_watch import BLOCK_FRAMES, FLICKER, FLICKER_RATIO, flickers, shows_flicker

MOST_PAIRS = 32
"""Pairs of frames whose spectra are averaged, spread over all of them."""
LEAST_PAIRS = 4
STRIPES = 6.0
"""Power at one spatial frequency, in the median of those around it, that is a stripe."""
MOVING_STRIPES = 16.0
"""The same at frequencies at which tissue moves: the same tissue moves in every pair of frames, so that the power there
scatters as that of a single pair does."""
_TISSUE_CYCLES = 0.25
"""Frequencies, cycles per pixel, up to which an objective shows tissue; also from line to line of one direction."""
_RING = 4
"""Frequencies on each side that count as around it, without the next ones."""
_CANDIDATES = 64
_BLOCK_FRAMES = 64
"""Frames of a block, at most. Whether a step of the brightness is followed by one back shows in many frames only."""
_SLOW = 3
"""Frequencies next to 0 that are left out: the whole picture brightens, and tissue moves."""
ROWS = 4.0
"""Variance of the mean of a line, in what the noise of its pixels explains, that is a stripe along x.

Correlated noise of the detector explains up to 2."""


def flicker(runs: Runs) -> Finding:
    """Ask whether the brightness of the whole picture changes from frame to frame.

    Parameters
    ----------
    runs : sequence of ndarray
        Arrays (T, Y, X).
    """
    question = "flicker"
    blocks = [block for run in runs for block in _blocks(run)]
    if not blocks:
        return not_known(question, f"fewer than {BLOCK_FRAMES} frames that follow each other")
    shown = [block for block in blocks if shows_flicker(block)]
    if not shown:
        return not_known(question, "the picture is dark", blocks=float(len(blocks)))
    flickering = [block for block in shown if flickers(block)]
    middle = sorted(shown, key=lambda block: block.relative_flicker)[len(shown) // 2]
    figures = {
        "flicker": middle.relative_flicker,
        "ratio": middle.flicker_ratio,
        "memory": middle.flicker_memory,
        "blocks": float(len(shown)),
        "flickering_blocks": float(len(flickering)),
    }
    percent = f"{100 * middle.relative_flicker:.2g} % of the mean"
    if middle.relative_flicker > FLICKER and middle.flicker_ratio < FLICKER_RATIO and not flickering:
        return not_known(question, f"noise alone changes the brightness by {percent}", **figures)
    # Half of the blocks: motion or one flash makes single ones look so.
    if 2 * len(flickering) <= len(shown):
        return Finding(
            question, "ok", f"brightness changes by {percent} from frame to frame, as noise and tissue do", figures
        )
    weakest = min(middle.relative_flicker / FLICKER, middle.flicker_ratio / FLICKER_RATIO)
    return Finding(
        question,
        "attention",
        f"the brightness of the whole picture changes by {percent} from frame to frame",
        figures,
        how_sure(weakest, 1.0) if len(shown) > 1 else "low",
        "check laser and detector, and that channels or planes are not mixed",
    )


def _blocks(run: NDArray[np.generic]) -> list[Block]:
    sample = PictureSample((run.shape[1], run.shape[2]))
    found = []
    parts = -(-len(run) // _BLOCK_FRAMES)
    count = max(BLOCK_FRAMES, len(run) // parts)
    for image in run:
        sample.push(image)
        if sample.frames == count:
            found.append(sample.take())
    return found


def stripes(runs: Runs) -> Finding:
    """Ask whether a disturbance of one frequency, or a noise common to each line, lies over the frames.

    Parameters
    ----------
    runs : sequence of ndarray
        Arrays (T, Y, X) of raw counts as scanned.

    Notes
    -----
    The spectrum of the difference of two frames holds the noise alone, and what moved, at low frequencies. A
    disturbance of one frequency is a sharp peak: it stands out from the frequencies around it. One that stays in its
    place from frame to frame is not seen.
    """
    question = "stripes"
    found = [run[t : t + 2] for run in runs for t in range(0, len(run) - 1, 2)]
    if len(found) < LEAST_PAIRS or min(found[0].shape[1:]) < 32:
        return not_known(question, f"fewer than {LEAST_PAIRS} pairs of frames, or tiny frames", pairs=float(len(found)))
    found = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, min(MOST_PAIRS, len(found))).astype(int))]
    power = np.zeros((found[0].shape[1], found[0].shape[2] // 2 + 1))
    rows = pixels = 0.0
    for first, second in found:
        step = as_floats(second) - as_floats(first)
        step -= step.mean()
        power += np.square(np.abs(np.fft.rfft2(step)))
        means = step.mean(1)
        rows += float(np.square(np.diff(means)).mean() / 2)
        pixels += float(np.square(step - means[:, None]).mean())
    if not pixels > 0:
        return not_known(question, "nothing changes from frame to frame")
    power[:, 0] = power[0] = 0  # lines that are brighter as a whole are judged below
    power[: _SLOW + 1, : _SLOW + 1] = power[-_SLOW:, : _SLOW + 1] = 0
    at, peak = _sharpest(power)
    common = rows / (pixels / found[0].shape[2])
    figures = {"peak": peak, "line_noise": common, "pairs": float(len(found))}
    words = []
    if peak > 1:
        along = at[1] / found[0].shape[2]
        down = min(at[0], power.shape[0] - at[0]) / power.shape[0]
        figures |= {"cycles_per_pixel_x": along, "cycles_per_line_y": down}
        words.append(
            f"stripes of {along:.3f} cycles per pixel and {down:.3f} cycles per line ({peak:.1f} times the power "
            "that is needed to say so)"
        )
    if common > ROWS:
        words.append(
            f"whole lines that are brighter and darker (their means vary {common:.0f} times as much as the "
            "noise of pixels explains)"
        )
    if not words:
        return Finding(question, "ok", f"no frequency stands out (largest {peak:.2f} of what is needed)", figures)
    return Finding(
        question,
        "attention",
        " and ".join(words),
        figures,
        how_sure(max(peak if peak > 1 else 0, common / ROWS if common > ROWS else 0), 1.0),
        "look for electrical interference, an unstable laser, or light of the room or the stage",
        panels=(
            ("difference of two frames", as_floats(found[0][1]) - as_floats(found[0][0])),
            ("power of the noise, logarithm", np.log10(np.maximum(power, power.max() * 1e-6)).astype(np.float32)),
        ),
    )


def _sharpest(power: NDArray[np.float64]) -> tuple[tuple[int, int], float]:
    """Return the frequency whose power stands out most from that around it, and how far, in what is needed."""
    best, at = 0.0, (0, 0)
    usual = np.median(power, axis=1, keepdims=True) * np.median(power, axis=0, keepdims=True)
    order = np.argsort(np.divide(power, usual, out=np.zeros_like(power), where=usual > 0), axis=None)
    for place in order[-_CANDIDATES:]:
        y, x = (int(i) for i in np.unravel_index(place, power.shape))
        ring = power.take(range(y - _RING, y + _RING + 1), 0, mode="wrap")[:, max(0, x - _RING) : x + _RING + 1]
        around = float(np.median(ring[ring > 0])) if (ring > 0).any() else 0.0
        down = min(y, len(power) - y) / len(power)
        # Tissue that moves along x lies to one side in forward lines and to the other in backward lines.
        cycles = np.hypot(min(down, 0.5 - down), x / (2 * (power.shape[1] - 1)))
        needed = MOVING_STRIPES if cycles < _TISSUE_CYCLES else STRIPES
        if around > 0 and power[y, x] / around > best * needed:
            best, at = float(power[y, x]) / around / needed, (y, x)
    return at, best
