"""Questions about single counts: limits, values that cannot be, and the steps of the converter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.doctor.finding import Finding, how_sure, not_known
from deepbid_rt.doctor.sample import Runs
from deepbid_rt.live.picture_figures import Look, look_at
from deepbid_rt.live.picture_watch import CUT_OFF_SHARE, NOT_FINITE_SHARE, SATURATED_SHARE
from deepbid_rt.scan.missing_pixels import SENTINEL, unmeasured

MOST_LOOKS = 32
"""Frames of each channel and plane of which all pixels are looked at, spread over all of them."""
MOST_MISSING = 0.5
"""Share of pixels that were not scanned above which something is wrong."""
_VALUES = 16
"""Different values that are needed to see that only every second, fourth ... is in use."""
COARSE_NOISE = 0.5
"""Noise, in steps of the converter, below which the steps are as large as the noise itself."""


def looks(runs: Runs) -> list[Look]:
    """Look at all pixels of some frames (T, Y, X) of one channel and plane; sentinels are left out."""
    images = [image for run in runs for image in run]
    chosen = np.unique(np.linspace(0, len(images) - 1, min(MOST_LOOKS, len(images))).astype(int)).tolist()
    found = []
    for i in chosen:
        image = images[i]
        missing = unmeasured(image) if image.dtype.kind == "i" else None
        if missing is None:
            found.append(look_at(image))
        elif not missing.all():
            found.append(look_at(image[~missing][None]))
    return found


def saturated(channels: Sequence[Sequence[Look]]) -> Finding:
    """Ask which share of the pixels is at an upper limit, and at which count.

    Parameters
    ----------
    channels : sequence of sequence of Look
        Looks at frames, for each channel and plane; the worst of them counts.
    """
    question = "saturated"
    shares = [float(np.mean([look.saturated for look in found])) if found else 0.0 for found in channels]
    if not any(channels):
        return not_known(question, "no frame")
    worst = int(np.argmax(shares))
    at_limit = [look.highest for look in channels[worst] if look.saturated]
    if not at_limit:
        highest = max(look.highest for found in channels for look in found)
        return Finding(
            question, "ok", f"no pixels pile up at an upper limit (highest count {highest:g})", {"share": 0.0}
        )
    share, count = shares[worst], float(np.median(at_limit))
    figures = {"share": share, "count": count}
    if share < SATURATED_SHARE:
        return Finding(question, "ok", f"{100 * share:.2g} % of the pixels are saturated at {count:g}: few", figures)
    return Finding(
        question,
        "attention",
        f"{100 * share:.2g} % of the pixels are saturated at {count:g}",
        figures,
        how_sure(share, SATURATED_SHARE),
        "lower the gain of the detector or the power of the laser",
    )


def cut_off(channels: Sequence[Sequence[Look]], dark_counts: float | None = None) -> Finding:
    """Ask where darkness lies, and whether it is cut off at a lower limit.

    Parameters
    ----------
    channels : sequence of sequence of Look
        As for `saturated`.
    dark_counts : float, optional
        Counts without light, from `deepbid_rt.doctor.noise.photon_gain`.
    """
    question = "offset"
    if not any(channels):
        return not_known(question, "no frame")
    shares = [float(np.mean([look.cut_off for look in found])) if found else 0.0 for found in channels]
    share = max(shares)
    lowest = min(look.lowest for found in channels for look in found)
    figures = {"lowest_count": lowest, "cut_off_share": share}
    dark = ""
    if dark_counts is not None:
        figures["dark_counts"] = dark_counts
        dark = f", darkness at about {dark_counts:.0f} counts"
    text = f"lowest count {lowest:g}{dark}, {100 * share:.2g} % of the pixels at a lower limit"
    if share < CUT_OFF_SHARE:
        return Finding(question, "ok", text, figures)
    return Finding(
        question,
        "attention",
        f"{text}: darkness is cut off and has no mean",
        figures,
        how_sure(share, CUT_OFF_SHARE),
        "raise the offset of the detector",
    )


def finite(channels: Sequence[Sequence[Look]]) -> Finding:
    """Ask whether pixels are NaN, infinite or absurdly large, or all the same."""
    question = "values"
    if not any(channels):
        return not_known(question, "no frame")
    share = max(float(np.mean([look.not_finite for look in found])) if found else 0.0 for found in channels)
    constant = sum(look.constant for found in channels for look in found)
    total = sum(len(found) for found in channels)
    figures = {"not_finite_share": share, "constant_frames": float(constant), "frames_looked_at": float(total)}
    if share > NOT_FINITE_SHARE:
        return Finding(
            question,
            "attention",
            f"{100 * share:.2g} % of the pixels are NaN, infinite or absurdly large",
            figures,
            todo="correct what computes them, or send counts",
        )
    # A channel without a detector beside one that shows a picture is no problem.
    alive = [any(not look.constant for look in found) for found in channels if found]
    if not any(alive):
        value = channels[0][0].lowest if channels[0] else float("nan")
        return Finding(
            question,
            "attention",
            f"every pixel is {value:g}: there is no picture",
            figures,
            todo="check shutter, detector, sender and number of channels",
        )
    some = sum(1 for one in alive if not one)
    text = "all values are numbers" + (f"; {some} of {len(alive)} channels and planes are constant" if some else "")
    return Finding(question, "ok", text, figures)


def sentinel(frames: NDArray[Any]) -> Finding:
    """Ask whether pixels hold -16384, which ScanImage writes where nothing was scanned; `frames` of any shape."""
    question = "sentinel"
    if frames.dtype != np.dtype("int16"):
        return Finding(question, "ok", f"pixels of type {frames.dtype} have no value that means: not scanned")
    missing = unmeasured(frames)
    share = 0.0 if missing is None else float(missing.mean())
    if not share:
        return Finding(question, "ok", f"no pixel is {SENTINEL}", {"share": 0.0})
    return Finding(
        question,
        "note" if share < MOST_MISSING else "attention",
        f"{100 * share:.2g} % of the pixels are {SENTINEL}, with which ScanImage marks pixels that were not scanned; "
        "they are filled before denoising",
        {"share": share},
        todo="" if share < MOST_MISSING else "check the region that is scanned",
    )


def bit_depth(frames: NDArray[Any], noise_counts: float | None = None) -> Finding:
    """Ask whether all steps of the converter are in use.

    Parameters
    ----------
    frames : ndarray
        Counts of any shape.
    noise_counts : float, optional
        Standard deviation of the noise of a pixel.
    """
    question = "bit depth"
    if frames.dtype.kind not in "iu":
        return Finding(question, "ok", f"pixels of type {frames.dtype} have no steps")
    missing = unmeasured(frames) if frames.dtype.kind == "i" else None
    values = np.unique(frames if missing is None else frames[~missing]).astype(np.int64)
    if values.size < 2:
        return not_known(question, "all pixels are equal")
    step = int(np.gcd.reduce(np.diff(values)))
    figures = {
        "step_counts": float(step),
        "different_values": float(values.size),
        "highest_count": float(values[-1]),
    }
    if noise_counts is not None:
        figures["noise_counts"] = noise_counts
    if step > 1 and values.size < _VALUES:
        return not_known(question, f"only {values.size} different values", **figures)
    used = f"{values.size} different values from {values[0]} to {values[-1]}"
    if step > 1:
        shifted = step & (step - 1) == 0
        return Finding(
            question,
            "note" if shifted else "attention",
            f"only every {step}{'th' if step > 3 else 'nd' if step == 2 else 'rd'} count is in use ({used})"
            + (f": the lowest {step.bit_length() - 1} bits are empty" if shifted else ""),
            figures,
            how_sure(values.size, _VALUES),
            f"harmless if the converter's bits were shifted: its highest count is then {65536 - step} and not 65535; "
            "else check which counts are lost"
            if shifted
            else "check what scales the counts",
        )
    if noise_counts is not None and noise_counts < COARSE_NOISE:
        return Finding(
            question,
            "attention",
            f"the steps of the converter are coarse: the noise is {noise_counts:.2g} counts ({used})",
            figures,
            how_sure(COARSE_NOISE, noise_counts),
            "raise the gain of the detector, or send more bits",
        )
    return Finding(question, "ok", f"every count is in use ({used})", figures)
