"""The motion of a recording in its log: few lines, complete, and read back unchanged."""

import numpy as np
import pytest

from deepbid_rt.frame import Frame, Motion
from deepbid_rt.recording.motion_trace import LINE_FRAMES, MotionTrace, read_motions


def moved(index):
    return Frame(
        index,
        np.empty(0),
        motion=Motion(index / 8, -index / 4, 10.0, "tracked", *(((0.5, -0.25), (0.0, 1.0)) if index % 4 else ())),
    )


@pytest.mark.parametrize("count", [0, 1, LINE_FRAMES - 1, LINE_FRAMES, 3 * LINE_FRAMES + 1])
def test_every_motion_is_read_back_from_few_lines(count):
    lines = []
    trace = MotionTrace(lambda fields: lines.append({"kind": "motion", **fields}))
    frames = [moved(2 * n) for n in range(count)]
    for frame in frames:
        trace.add(frame)
    trace.flush()
    trace.flush()
    assert len(lines) == -(-count // LINE_FRAMES)
    assert read_motions([{"kind": "start"}, *lines]) == {frame.index: frame.motion for frame in frames}


def test_frames_without_motion_leave_no_line():
    trace = MotionTrace(lambda fields: pytest.fail("nothing to write"))
    for n in range(2 * LINE_FRAMES):
        trace.add(Frame(n, np.empty(0)))
    trace.flush()
