"""All questions, asked about one sample of frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from deepbid_rt.doctor import brightness, counts, field, interleaving, scan_order, timing
from deepbid_rt.doctor import noise as noise_questions
from deepbid_rt.doctor.finding import Finding, OptionValue
from deepbid_rt.doctor.line_pairs import LinePairs, measure_line_pairs
from deepbid_rt.doctor.sample import Runs, Sample, as_floats, frame_count
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.live.picture_figures import Look
from deepbid_rt.scan.directions import to_image_order

MOST_PLACES = 16
"""Channels and planes that are looked at one by one."""
QUESTIONS = (
    *("values", "mirrored", "layout", "line phase", "axes", "interleaved", "saturated", "offset", "inverted"),
    *("sentinel", "bit depth", "noise", "photons", "frames lost", "frames repeated", "clock", "rate", "masked"),
    *("edges", "stripes", "flicker"),
)
"""Names of all questions, in the order of a report."""


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """What all questions have shown."""

    findings: tuple[Finding, ...]
    frames: int
    """Frames whose pixels were looked at."""
    place: tuple[int, int]
    """Channel and plane whose picture was judged: the one with the clearest structure."""
    scan: ScanGeometry
    """The scan as the pixels show it, else as stated."""
    notes: tuple[str, ...] = ()

    @property
    def attention(self) -> tuple[Finding, ...]:
        """The findings that need attention."""
        return tuple(finding for finding in self.findings if finding.level == "attention")

    @property
    def options(self) -> dict[str, OptionValue]:
        """Options of the commands that state what was found, without dashes."""
        return {name: value for finding in self.findings for name, value in finding.options.items()}

    def summary(self) -> dict[str, Any]:
        """Return the examination as plain data."""
        return {
            "ok": not self.attention,
            "frames": self.frames,
            "channel": self.place[0],
            "plane": self.place[1],
            "options": self.options,
            "findings": [finding.summary() for finding in self.findings],
            "notes": list(self.notes),
        }


def examine(sample: Sample, pictures: bool = False, questions: Container[str] = QUESTIONS) -> Examination:
    """Ask all questions, or some.

    Parameters
    ----------
    sample : Sample
    pictures : bool
        Add pictures of the evidence to findings.
    questions : container of str
        Names of the questions to ask.

    Returns
    -------
    Examination
        With one finding for each question, in the order of `QUESTIONS`.
    """
    stated = sample.info.scan
    places = sample.places[:MOST_PLACES]
    place, lines = _clearest(sample, places)
    runs = sample.runs(*place)
    reverse = scan_order.is_reversed(lines, stated)
    order = scan_order.mirrored(lines, stated)
    if pictures and order.level == "attention":
        order = replace(order, panels=scan_order.reversal_panels(runs, stated))
    pairs = scan_order.layout(lines, stated, reverse)
    bidirectional = stated.bidirectional or reverse
    layout: Any = pairs.options.get("scan", stated.layout) if bidirectional else "ordinary"
    scan = replace(stated, bidirectional=bidirectional, mirrored=not reverse, layout=layout)
    upright = [to_image_order(run, scan) for run in runs]

    @cache
    def correlation() -> noise_questions.NoiseCorrelation | None:
        return noise_questions.noise_correlation(upright)

    @cache
    def gain() -> noise_questions.PhotonGain | None:
        return noise_questions.photon_gain(upright)

    @cache
    def looks() -> list[list[Look]]:
        return [counts.looks(sample.runs(*one)) for one in places]

    def axes() -> Finding:
        noise = correlation()
        x, y = (None, None) if noise is None else (noise.x, noise.y)
        return scan_order.axes(runs, x, y, lines)

    def offset() -> Finding:
        found = gain()
        known = found is not None and found.gain_z > noise_questions.SLOPE_Z and found.gain > 0
        return counts.cut_off(looks(), found.offset if found is not None and known else None)

    asked: dict[str, Callable[[], Finding]] = {
        "mirrored": lambda: order,
        "layout": lambda: pairs,
        "line phase": lambda: scan_order.line_phase([runs], replace(sample.info, scan=scan), lines),
        "axes": axes,
        "noise": lambda: noise_questions.noise(correlation()),
        "photons": lambda: noise_questions.photons(gain()),
        "inverted": lambda: noise_questions.inverted(gain()),
        "values": lambda: counts.finite(looks()),
        "saturated": lambda: counts.saturated(looks()),
        "offset": offset,
        "sentinel": lambda: counts.sentinel(sample.frames),
        "bit depth": lambda: counts.bit_depth(sample.frames, noise_counts(upright)),
        "interleaved": lambda: interleaving.interleaved(runs),
        "frames lost": lambda: timing.dropped(sample.stamps),
        "frames repeated": lambda: timing.repeated(sample.stamps),
        "clock": lambda: timing.clock(sample.stamps),
        "rate": lambda: timing.rate(sample.stamps, sample.info.rate_hz, sample.rate_known),
        "masked": lambda: field.masked(runs),
        "edges": lambda: field.edges(upright),
        "stripes": lambda: brightness.stripes(runs),
        "flicker": lambda: brightness.flicker(runs),
    }
    findings = tuple(asked[name]() for name in QUESTIONS if name in questions)
    return Examination(findings, len(sample.frames), place, scan, sample.notes)


def noise_counts(runs: Runs) -> float | None:
    """Return the standard deviation of the noise of a pixel, counts; None with fewer than 2 frames."""
    variances = [float(np.var(as_floats(run[1]) - as_floats(run[0]), dtype=np.float64)) for run in runs if len(run) > 1]
    return math.sqrt(float(np.median(variances)) / 2) if variances else None


def _clearest(sample: Sample, places: list[tuple[int, int]]) -> tuple[tuple[int, int], LinePairs | None]:
    """Return the channel and plane whose lines are most alike above chance, else that with most frames."""
    best, pairs_of_best = places[0], None
    for place in places:
        lines = measure_line_pairs(sample.runs(*place))
        if lines is not None and (pairs_of_best is None or lines.alternate_z > pairs_of_best.alternate_z):
            best, pairs_of_best = place, lines
    if pairs_of_best is None:
        best = max(places, key=lambda place: frame_count(sample.runs(*place)))
    return best, pairs_of_best
