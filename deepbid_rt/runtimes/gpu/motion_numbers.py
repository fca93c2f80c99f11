"""A frame's motion as numbers, as a device writes it: `MOTION_NUMBERS` float64 values.

In order: dy, dx, confidence, the status as its place in `MOTION_STATUSES`, then dy and then dx of every strip.
"""

from __future__ import annotations

from collections.abc import Sequence

from deepbid_rt.frame import Motion, MotionStatus
from deepbid_rt.motion.nonrigid import NONRIGID_SETTINGS

STRIPS = NONRIGID_SETTINGS.strips
MOTION_STATUSES: tuple[MotionStatus, ...] = ("held", "tracked", "foreign", "restarted")
HELD, TRACKED, FOREIGN, RESTARTED = range(4)
RIGID_NUMBERS = 4
"""Numbers before those of the strips."""
MOTION_NUMBERS = RIGID_NUMBERS + 2 * STRIPS


def motion_from(numbers: Sequence[float], *, rigid: bool) -> Motion:
    """Return the motion that a device wrote.

    Parameters
    ----------
    numbers : sequence of float
        `MOTION_NUMBERS` of them.
    rigid : bool
        True when frames are too small for shifts of strips, see `NonrigidMotionEstimator.rigid`.
    """
    dy, dx, confidence, number, *strips = numbers
    status = MOTION_STATUSES[int(number)]
    if rigid or status != "tracked":
        return Motion(dy, dx, confidence, status)
    return Motion(dy, dx, confidence, status, tuple(strips[:STRIPS]), tuple(strips[STRIPS:]))
