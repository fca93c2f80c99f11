"""Questions about the order of lines and pixels: direction of lines, layout, line phase, and the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.doctor.finding import Confidence, Finding, how_sure, not_known
from deepbid_rt.doctor.line_pairs import LinePairs, group_means, measure_line_pairs
from deepbid_rt.doctor.sample import Runs, frame_count
from deepbid_rt.frame import ScanGeometry, StreamInfo
from deepbid_rt.live.line_phase_monitor import LARGE_PHASE_PX
from deepbid_rt.scan.directions import to_image_order
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.line_phase import MIN_PIXELS, LinePhaseEstimator, max_offset_px
from deepbid_rt.scan.line_phase_corrector import MIN_CORRECTION_PX

VISIBLE_Z = 6.0
"""Covariance of lines, in standard deviations of what is found by chance, from which on there is a picture."""
MIRROR_RATIO = 1.6
"""Factor between neighbouring lines as stored and reversed, from which on one of the two is the right order."""
LEAST_LIKENESS = 0.5
"""Covariance of neighbouring lines, in those of every second line, from which on neighbours show the same tissue."""
PAIRING_ERRORS = 2.5
"""Standard errors between a pairing and the middle between two layouts."""
_FEW_FRAMES = 8
"""Fewer frames than these are over before a live session has measured the line phase."""
_BLOCK_FRAMES = 30
"""Frames of a block of the line phase, if there are as many."""
MOST_FRAMES = 120
"""Frames that the line phase is measured on, to bound the time."""
_PARTS = ("left", "middle", "right")
_UNEVEN_PX = 0.3
"""Difference of the line phase along the line that is worth saying."""


def mirrored(lines: LinePairs | None, stated: ScanGeometry) -> Finding:
    """Ask whether backward lines are stored in image order or in sampling order.

    Parameters
    ----------
    lines : LinePairs or None
        Of the frames as stored.
    stated : ScanGeometry
        What the stream or the recording states.
    """
    question = "mirrored"
    if lines is None:
        return not_known(question, "the frames are too small, or there are none")
    straight, reverse = lines.peak(False)[0], lines.peak(True)[0]
    figures = {
        "neighbours_as_stored": straight,
        "neighbours_reversed": reverse,
        "every_second_line_z": lines.alternate_z,
    }
    if lines.alternate_z < VISIBLE_Z:
        return not_known(question, "the lines show too little structure above the noise", **figures)
    in_image_order = straight >= reverse
    better, worse = max(straight, reverse), max(min(straight, reverse), 1e-3)
    sure = how_sure(better / worse, MIRROR_RATIO)
    if better < LEAST_LIKENESS or better * lines.alternate_z < VISIBLE_Z:
        if lines.alternate_z < 2 * VISIBLE_Z:
            return not_known(question, "neighbouring lines are too unlike at this noise", **figures)
        return Finding(
            question,
            "attention",
            f"neighbouring lines are unlike ({better:.2f} of the covariance of every second line), as stored and "
            "reversed: a line of the scan may fill two lines of the frame, or the line phase is very large",
            figures,
            how_sure(LEAST_LIKENESS, better),
            "check the number of lines and pixels, and the line phase at the microscope",
        )
    if better < MIRROR_RATIO * worse:
        return not_known(question, "the picture looks the same when lines are reversed", **figures)
    expected = stated.mirrored or not stated.bidirectional
    evidence = f"neighbouring lines agree to {better:.2f} {{}}, and to {worse:.2f} {{}}"
    if in_image_order:
        text = evidence.format("as stored", "with every second line reversed")
        answer = f"all lines are stored in image order: {text}"
        todo = "" if expected else "state them as mirrored, or leave --unmirrored out"
    else:
        text = evidence.format("with every second line reversed", "as stored")
        answer = f"backward lines are stored in sampling order: {text}"
        todo = "use --unmirrored for recordings; let the sender of a stream state mirrored: false" if expected else ""
    wrong = expected != in_image_order
    options = {} if in_image_order else {"unmirrored": True}
    return Finding(question, "attention" if wrong else "ok", answer, figures, sure, todo, options)


def is_reversed(lines: LinePairs | None, stated: ScanGeometry) -> bool:
    """Return whether every second line is to be reversed, as far as is known, else as stated."""
    finding = mirrored(lines, replace(stated, bidirectional=True, mirrored=True))
    if (
        finding.level == "not known"
        or finding.figures["neighbours_as_stored"] < LEAST_LIKENESS > finding.figures["neighbours_reversed"]
    ):
        return stated.bidirectional and not stated.mirrored
    return bool(finding.options)


def layout(lines: LinePairs | None, stated: ScanGeometry, reversed_lines: bool) -> Finding:
    """Ask whether lines 2k and 2k+1 show the same tissue (collinear) or every line its own (ordinary).

    Parameters
    ----------
    lines : LinePairs or None
    stated : ScanGeometry
    reversed_lines : bool
        Whether every second line is to be reversed first, see `is_reversed`.
    """
    question = "layout"
    if lines is None:
        return not_known(question, "the frames are too small, or there are none")
    pairing, error = lines.pairing(reversed_lines)
    figures = {"pairing": pairing, "pairing_error": error, "every_second_line_z": lines.alternate_z}
    if lines.alternate_z < VISIBLE_Z or lines.peak(reversed_lines)[0] < LEAST_LIKENESS:
        return not_known(question, "the lines show too little structure above the noise", **figures)
    margin = PAIRING_ERRORS * error
    if not math.isfinite(pairing + error):
        return not_known(question, "the tissue changes too little from line to line", **figures)
    value = float(np.clip(np.rint(pairing), -1, 1))
    if min(abs(pairing - 0.5), abs(pairing + 0.5)) < margin:
        return not_known(question, "the tissue changes too little from line to line at this noise", **figures)
    name = {1.0: "collinear", 0.0: "ordinary", -1.0: "shifted"}[value]
    sure = how_sure(min(abs(pairing - 0.5), abs(pairing + 0.5)), margin)
    evidence = f"pairing {pairing:.2f} ± {error:.2f}; 1 is collinear, 0 is ordinary"
    if name == "shifted":
        return Finding(
            question,
            "attention",
            f"lines 2k+1 and 2k+2 show the same place, so that the pairs begin with line 1 ({evidence})",
            figures,
            sure,
            "let the sender leave out or add one line at the top; then state the scan as collinear",
        )
    wrong = name != stated.layout
    meaning = "lines 2k and 2k+1 show the same place" if name == "collinear" else "each line shows a place of its own"
    return Finding(
        question,
        "attention" if wrong else "ok",
        f"{name}: {meaning} ({evidence})" + (f", and {stated.layout} is stated" if wrong else ""),
        figures,
        sure,
        f"use --scan {name}; let the sender of a stream state it" if wrong else "",
        {"scan": name},
    )


def line_phase(frames: Sequence[Runs], info: StreamInfo, lines: LinePairs | None = None) -> Finding:
    """Ask how far backward lines lie beside forward lines, and whether that varies along the line.

    Parameters
    ----------
    frames : sequence of sequence of ndarray
        Runs of frames (T, Y, X) for one or several channels and planes.
    info : StreamInfo
        The series, with the scan as it is: layout and mirroring as found.
    lines : LinePairs, optional
        Show offsets beyond the range of the estimator.
    """
    question = "line phase"
    scan = info.scan
    if not scan.bidirectional:
        return Finding(question, "ok", "all lines are scanned in one direction, as stated")
    widths = {run.shape[2] for runs in frames for run in runs}
    if not widths or min(widths) < MIN_PIXELS:
        return not_known(question, f"lines of fewer than {MIN_PIXELS} pixels, or no frame")
    pixels, limit = widths.pop(), max_offset_px(info.shape[2])
    whole = _line_phase(frames, scan)
    if lines is not None and lines.alternate_z >= VISIBLE_Z:
        likeness, lag = lines.peak(not scan.mirrored)
        if abs(lag) > limit and likeness >= LEAST_LIKENESS and lines.peak_z(not scan.mirrored) >= VISIBLE_Z:
            lag = -lag if scan.first == "backward" else lag
            return Finding(
                question,
                "attention",
                f"backward lines lie {lag:+.0f} px beside forward lines; at most {limit} px can be corrected",
                {"line_phase_px": lag, "likeness": likeness},
                how_sure(lines.peak_z(not scan.mirrored), VISIBLE_Z),
                "set the line phase (bidirectional offset) at the microscope",
            )
    if whole is None:
        return not_known(question, f"too little light or structure, or an offset of more than {limit} px")
    figures = {"line_phase_px": whole}
    third = pixels // 3
    along = ""
    if third >= MIN_PIXELS:
        parts = [
            _line_phase([[r[..., i * third : (i + 1) * third] for r in runs] for runs in frames], scan)
            for i in (0, 1, 2)
        ]
        figures |= {f"{name}_px": px for name, px in zip(_PARTS, parts, strict=True) if px is not None}
        known = [px for px in parts if px is not None]
        if len(known) == len(parts):
            along = f" ({', '.join(f'{name} {px:+.2f}' for name, px in zip(_PARTS, known, strict=True))})"
            if max(known) - min(known) > _UNEVEN_PX:
                along += ", and this varies along the line"
    large = abs(whole) > LARGE_PHASE_PX
    few = sum(frame_count(runs) for runs in frames) < _FEW_FRAMES
    corrected = ""
    if abs(whole) > MIN_CORRECTION_PX:
        corrected = "; corrected by --line-phase auto" + (f", and from the first frame by {whole:.2f}" if few else "")
    sure: Confidence = "high"
    if large or abs(whole) < LARGE_PHASE_PX / 2:
        sure = "high" if not LARGE_PHASE_PX < abs(whole) < LARGE_PHASE_PX * 1.2 else "low"
    return Finding(
        question,
        "attention" if large else "note" if corrected else "ok",
        f"backward lines lie {round(whole, 2) + 0.0:+.2f} px beside forward lines{along}{corrected}",
        figures,
        sure,
        "set the line phase at the microscope to 0; until then --line-phase auto, which is the default"
        if large
        else "",
        {"line-phase": f"{whole:.2f}" if few and large else "auto"},
        _line_phase_panels(frames[0], scan, whole) if large else (),
    )


def _line_phase(frames: Sequence[Runs], scan: ScanGeometry) -> float | None:
    """Return the line phase in px that most frames together show; None when it is not certain."""
    count = sum(frame_count(runs) for runs in frames)
    lines, pixels = next(run.shape[1:] for runs in frames for run in runs)
    rate_hz = float(max(1, min(_BLOCK_FRAMES, count)))
    info = StreamInfo((1, lines, pixels), np.dtype("<f4"), rate_hz, scan)
    estimator = LinePhaseEstimator(info)
    images = [image for runs in frames for run in runs for image in run]
    for image in images[: _BLOCK_FRAMES * (min(len(images), MOST_FRAMES) // _BLOCK_FRAMES) or len(images)]:
        estimator.push(image[None])
    return estimator.px


def _line_phase_panels(runs: Runs, scan: ScanGeometry, px: float) -> tuple[tuple[str, NDArray[Any]], ...]:
    images = group_means(runs)
    if images is None:
        return ()
    image = to_image_order(images[0], scan)
    moved = image.copy()
    first = 1 if scan.first == "forward" else 0
    moved[first::2] = LineOffset(scan, image.shape[1], px).apply(image[first::2])
    cut = _middle(image.shape)
    return (("as stored", image[cut]), (f"backward lines moved by {-px:+.2f} px", moved[cut]))


def _middle(shape: tuple[int, ...], side: int = 96) -> tuple[slice, slice]:
    """Return the part in the middle of a picture that is small enough to see single pixels."""
    starts = [max(0, (length - side) // 2) // 2 * 2 for length in shape]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)


def reversal_panels(runs: Runs, scan: ScanGeometry) -> tuple[tuple[str, NDArray[Any]], ...]:
    """Return a picture as stored, and with every second line reversed."""
    images = group_means(runs)
    if images is None:
        return ()
    turned = to_image_order(images[0], replace(scan, bidirectional=True, mirrored=False))
    return (("as stored", images[0]), ("every second line reversed", turned))


def axes(runs: Runs, noise_x: float | None, noise_y: float | None, upright: LinePairs | None) -> Finding:
    """Ask whether lines and pixels are exchanged: whether the signs of a scan are found along the wrong axis.

    Signs of the scan are noise that is correlated along the line and not from line to line, lines in sampling order,
    pairs of lines (collinear), and a line phase.

    Parameters
    ----------
    runs : sequence of ndarray
        Arrays (T, Y, X).
    noise_x, noise_y : float or None
        Correlation of the noise of neighbouring pixels along x and along y, see
        `deepbid_rt.doctor.noise.noise_correlation`.
    upright : LinePairs or None
        Of the frames as they are.
    """
    question = "axes"
    turned = measure_line_pairs([run.transpose(0, 2, 1) for run in runs])
    along: list[str] = []  # signs that lines lie along x, as they should
    across: list[str] = []
    figures: dict[str, float] = {}
    if noise_x is not None and noise_y is not None:
        figures |= {"noise_correlation_x": noise_x, "noise_correlation_y": noise_y}
        if max(noise_x, noise_y) > _CORRELATED and min(noise_x, noise_y) < max(noise_x, noise_y) / 3:
            (along if noise_x > noise_y else across).append("correlated noise")
    for name, lines, signs in (("x", upright, along), ("y", turned, across)):
        if lines is None:
            continue
        stored = mirrored(lines, ScanGeometry())
        reverse = bool(stored.options)
        if reverse:
            signs.append("lines in sampling order")
        pairing = layout(lines, ScanGeometry(), reverse)
        if pairing.options.get("scan") == "collinear" and stored.level != "not known":
            signs.append("pairs of lines that show the same place")
        if math.isfinite(pairing.figures.get("pairing", math.nan)):
            figures[f"pairing_along_{name}"] = pairing.figures["pairing"]
    for name, signs, oriented in (
        ("x", along, list(runs)),
        ("y", across, [run.transpose(0, 2, 1) for run in runs]),
    ):
        if oriented and oriented[0].shape[2] >= MIN_PIXELS and oriented[0].shape[1] >= 2:
            px = _line_phase([oriented], ScanGeometry())
            if px is not None:
                figures[f"offset_along_{name}_px"] = px
                if abs(px) > _OFFSET_PX:
                    signs.append(f"an offset of {px:+.1f} px of every second line")
    if bool(along) == bool(across):
        reason = "the signs contradict each other" if along else "no axis shows the signs of a scan"
        return not_known(question, reason, **figures)
    sure: Confidence = "high" if len(along) + len(across) > 1 or "correlated noise" not in along + across else "low"
    if along:
        return Finding(question, "ok", f"lines lie along x, as they should: {', '.join(along)}", figures, sure)
    return Finding(
        question,
        "attention",
        f"lines lie along y, the wrong axis: {', '.join(across)}",
        figures,
        sure,
        "exchange the axes (transpose) in the sender or the recording: the last axis must run along a line",
    )


_CORRELATED = 0.04
"""Correlation of the noise of neighbouring pixels that counts as a sign. Real resonant recordings have 0.05 to 0.41."""
_OFFSET_PX = 0.6
"""Offset of every second line that counts as a sign of bidirectional lines."""
