import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from deepbid_rt.denoising.frame_window import FrameWindow


class WindowMachine(RuleBasedStateMachine):
    """Compares the ring with a list of all frames."""

    @initialize(length=st.integers(1, 9), rows=st.integers(1, 3))
    def begin(self, length, rows):
        self.window = FrameWindow(length, (rows, 2))
        self.shape = (rows, 2)
        self.frames = []
        self.number = 0

    @rule()
    def push(self):
        self.number += 1
        frame = np.full(self.shape, self.number, np.float32)
        frame[0, 0] = -self.number
        self.window.push(frame)
        self.frames.append(frame.copy())
        frame.fill(-1e9)  # the window must keep a copy

    @rule()
    def reset(self):
        self.window.reset()
        self.frames = []

    @invariant()
    def holds_the_last_frames(self):
        length = self.window.length
        assert self.window.filled == min(len(self.frames), length)
        if not self.frames:
            return
        last = self.frames[-length:]
        backwards = (last + last[::-1]) * length  # frames before the first one, mirrored, nearest first
        expected = backwards[: length - len(last)][::-1] + last
        view = self.window.view()
        assert view.flags.c_contiguous
        assert view.dtype == np.float32
        assert np.array_equal(view, expected)


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(max_examples=60, stateful_step_count=40)


def test_a_view_is_not_a_copy():
    window = FrameWindow(4, (2, 2))
    for number in range(6):
        window.push(np.full((2, 2), number, np.float32))
    assert np.shares_memory(window.view(), window.view())


def test_views_between_pushes_change_nothing():
    viewed, untouched = FrameWindow(5, (1, 1)), FrameWindow(5, (1, 1))
    for number in range(12):
        frame = np.full((1, 1), number, np.float32)
        viewed.push(frame)
        viewed.view()
        untouched.push(frame)
    assert np.array_equal(viewed.view(), untouched.view())
