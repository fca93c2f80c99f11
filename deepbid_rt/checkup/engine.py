"""An engine: its file and card, and how fast it is here."""

from __future__ import annotations

import statistics
import time

import numpy as np

from deepbid_rt.checkup.finding import Finding
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import DeepbidError
from deepbid_rt.frame import Frame, StreamInfo
from deepbid_rt.runtimes import load_engine

FRAMES = 24
"""Frames that are denoised before the time is measured, and again as many for the time: windows and the calibration
need some first."""
SPARE = 1.3
"""How much faster than the stream an engine must be, so that other programs have time as well."""


def check_engine(name: str, size: int, rate_hz: float, *, trust: bool = False, frames: int = FRAMES) -> list[Finding]:
    """Open an engine, denoise some frames, and compare its speed with the stream.

    Parameters
    ----------
    name : str
        See `load_engine`.
    size : int
        Lines and pixels of a frame.
    rate_hz : float
        Frames per second of the stream.
    trust : bool
        See `load_engine`.
    frames : int
        Frames before, and frames in, the measurement.
    """
    try:
        engine = load_engine(name, trust=trust)
    except DeepbidError as error:
        return [Finding("engine", "problem", error.came, f"expected {error.expected}; {error.todo}")]
    try:
        card = engine.card
        found = [Finding("engine", "ok", f"{card.name}: {card.kind}, delay {card.delay} frames; {engine.description}")]
        info = StreamInfo((1, size, size), np.dtype("<i2"), rate_hz)
        denoiser = Denoiser(engine, info)
        rng = np.random.default_rng(0)
        noise = [rng.poisson(100, info.shape).astype(np.int16) for _ in range(4)]
        durations = []
        for index in range(2 * frames):
            begun = time.perf_counter()
            denoiser.push(Frame(index, noise[index % len(noise)]))
            durations.append(time.perf_counter() - begun)
        denoiser.flush()
        # The mean of blocks, as a window engine works at every few frames only.
        return [*found, _speed(1 / statistics.fmean(durations[frames:]), size, rate_hz)]
    # Any error: drivers and runtimes raise all kinds, and the check-up is there to tell it.
    except Exception as error:
        text = f"{name} does not denoise frames of {size}x{size}: {type(error).__name__}: {error}"
        return [Finding("engine", "problem", text, "choose another engine or --size, or install the package again")]
    finally:
        engine.close()


def _speed(fps: float, size: int, rate_hz: float) -> Finding:
    text = f"{fps:.1f} frames/s of {size}x{size}, the stream has {rate_hz:g}"
    if fps < rate_hz:
        todo = "choose a quicker engine (--engine light, average), a GPU, or smaller frames; else frames are skipped"
        return Finding("speed", "problem", text, todo)
    if fps < SPARE * rate_hz:
        return Finding("speed", "warning", text, "end other programs during a session, or choose a quicker engine")
    return Finding("speed", "ok", text)
