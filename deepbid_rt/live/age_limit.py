"""How old the newest picture on a display may be before the display warns."""

from __future__ import annotations

DISPLAY_MS = 50.0
"""Displays show at least 20 pictures a second, so a picture waits at most this long for its turn."""
WITHOUT_RULE_MS = 1000.0
"""Age that counts as late where the session skips no frames to keep to the present."""
FROZEN_MS = 1000.0
"""A picture that is older than its limit by this much is not live: it is shown as a still picture."""


def age_limit_ms(max_latency_ms: float | None, rate_hz: float, planes: int = 1, delay_frames: int | None = 0) -> float:
    """Return the age above which the newest picture of a plane is late.

    A picture may be as old as the session allows, and older by the frames that must follow it before it comes out, and
    by the time until the next frame of its plane.

    Parameters
    ----------
    max_latency_ms : float or None
        Age at which the session skips frames, ms; None when it skips none.
    rate_hz : float
        Frames per second, counted over all planes.
    planes : int
        Number of planes, which are scanned in turn.
    delay_frames : int or None
        Frames, counted over all planes, that follow a frame before it comes out; None when unknown.

    Returns
    -------
    float
        Age since the frame arrived at the session, ms.
    """
    allowed_ms = WITHOUT_RULE_MS if max_latency_ms is None else max_latency_ms
    return allowed_ms + ((delay_frames or 0) + planes) * 1000.0 / rate_hz + DISPLAY_MS
