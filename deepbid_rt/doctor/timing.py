"""Questions about numbers and times of frames: losses, repeats, clocks and the rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.doctor.finding import Finding, how_sure, not_known
from deepbid_rt.doctor.sample import Stamps
from deepbid_rt.frame import Frame
from deepbid_rt.live.clock_check import FRAMES, ClockCheck

LEAST_SPAN_S = 1.0
"""Shortest span of time that shows a rate: frames come in bursts."""
LEAST_FRAMES = 16
RATE_ERROR = 0.05
"""Difference of the rate, as a part of it, that is worth saying: time constants are counted in frames."""
_NO_PIXELS = np.zeros((1, 1, 1), np.uint8)


def dropped(stamps: Stamps) -> Finding:
    """Ask how many frames are missing, came twice, or were refused."""
    question = "frames lost"
    came = len(stamps.indices)
    figures = {
        "came": float(came),
        "missing": float(stamps.missing),
        "duplicates": float(stamps.duplicates),
        "refused": float(stamps.refused),
    }
    if came < 2:
        return not_known(question, f"{came} frame{'' if came == 1 else 's'}", **figures)
    if not stamps.numbered:
        return not_known(question, "the recording does not number its frames", **figures)
    wrong = stamps.missing or stamps.duplicates or stamps.refused
    words = [f"{stamps.missing} of {came + stamps.missing} frames are missing"] if stamps.missing else []
    words += [f"{stamps.duplicates} came with a number that was there before"] if stamps.duplicates else []
    words += [f"{stamps.refused} were refused"] if stamps.refused else []
    if not wrong:
        return Finding(question, "ok", f"none of {came} frames is missing, by their numbers", figures)
    where = "the sender's load and the network" if stamps.live else "how it was recorded"
    return Finding(question, "attention", "; ".join(words), figures, todo=f"check {where}")


def repeated(stamps: Stamps) -> Finding:
    """Ask whether frames hold exactly the pixels of the frame before."""
    question = "frames repeated"
    came = len(stamps.indices)
    figures = {"came": float(came), "repeated": float(stamps.repeated)}
    if came < 2:
        return not_known(question, f"{came} frame{'' if came == 1 else 's'}", **figures)
    if not stamps.repeated:
        return Finding(question, "ok", f"no two of {came} frames in a row have the same pixels", figures)
    return Finding(
        question,
        "attention",
        f"{stamps.repeated} of {came} frames have exactly the pixels of the frame before",
        figures,
        todo="check that the microscope scans, and that the sender sends each frame once",
    )


def clock(stamps: Stamps) -> Finding:
    """Ask whether the sender's clock agrees with the one of this computer; see `ClockCheck`."""
    question = "clock"
    if not stamps.live:
        return not_known(question, "a recording does not show it")
    check = ClockCheck()
    stamped = 0
    for sent, arrived in zip(stamps.sent_ns.tolist(), stamps.arrived_ns.tolist(), strict=True):
        stamped += bool(sent and arrived)
        check.push(Frame(0, _NO_PIXELS, t_ns=sent, arrived_ns=arrived))
    if stamped < FRAMES or check.offset_ns is None:
        return not_known(question, f"{stamped} frames with the time at which they were sent")
    figures = {"offset_ms": check.offset_ns / 1e6}
    if check.worth_an_alarm:
        return Finding(
            question,
            "attention",
            str(check.problem),
            figures,
            todo="set both clocks by the network (NTP), or mend the time stamps",
        )
    return Finding(question, "ok", f"frames arrive {check.offset_ns / 1e6:.1f} ms after they were sent", figures)


def rate(stamps: Stamps, stated_hz: float, known: bool = True) -> Finding:
    """Ask whether frames come as often as stated.

    The acquisition's own times count first, then those at which frames were sent, then those of their arrival.

    Parameters
    ----------
    stamps : Stamps
    stated_hz : float
        Frames per second over all planes.
    known : bool
        False when the stated rate is an assumption.
    """
    question = "rate"
    stated = f"{stated_hz:g} Hz are stated" if known else f"no rate is stated, {stated_hz:g} Hz are assumed"
    clocks: list[tuple[str, NDArray[np.float64]]] = [
        ("the acquisition's clock", stamps.acquired_s),
        ("the sender's clock", np.where(stamps.sent_ns > 0, stamps.sent_ns / 1e9, np.nan)),
        ("this computer's clock", np.where(stamps.arrived_ns > 0, stamps.arrived_ns / 1e9, np.nan)),
    ]
    for name, times_s in clocks:
        stamped = np.isfinite(times_s)
        indices, times = stamps.indices[stamped], times_s[stamped]
        if stamped.sum() < LEAST_FRAMES or times[-1] - times[0] < LEAST_SPAN_S:
            continue
        # The median over halves that lie apart: bursts and one late frame change little.
        half = len(times) // 2
        period_s = float(np.median((times[half:] - times[: len(times) - half]) / _steps(indices, half)))
        if period_s <= 0:  # the clock was set back
            continue
        measured_hz = 1 / period_s
        figures = {"measured_hz": measured_hz, "stated_hz": stated_hz}
        error = abs(measured_hz / stated_hz - 1)
        if error <= RATE_ERROR and known:
            return Finding(question, "ok", f"{measured_hz:.4g} frames/s by {name}; {stated}", figures)
        if not known:
            return Finding(
                question,
                "attention" if error > RATE_ERROR else "ok",
                f"{measured_hz:.4g} frames/s by {name}; {stated}",
                figures,
                todo=f"use --rate {measured_hz:.4g}" if error > RATE_ERROR else "",
                options={"rate": round(measured_hz, 4)},
            )
        return Finding(
            question,
            "attention",
            f"{measured_hz:.4g} frames/s by {name}; {stated}",
            figures,
            how_sure(error, RATE_ERROR),
            f"use --rate {measured_hz:.4g} for recordings; let the sender of a stream state its rate",
            {} if stamps.live else {"rate": round(measured_hz, 4)},
        )
    return not_known(question, f"too few frames with a time; {stated}", stated_hz=stated_hz)


def _steps(indices: NDArray[np.int64], half: int) -> NDArray[np.float64]:
    steps = (indices[half:] - indices[: len(indices) - half]).astype(np.float64)
    return np.maximum(steps, 1.0)
