"""A sink of raw frames that notices what makes a picture wrong, and says it.

It has a queue and a thread of its own, as every sink has, so that it delays no frame. Each frame costs about 50 µs for
each channel, whatever its size; once a second it looks at all pixels of one frame of each channel and plane.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import Frame, FrameFlag, Gap, StreamEnd, StreamInfo
from deepbid_rt.live.alarms import Alarms
from deepbid_rt.live.clock_check import ClockCheck
from deepbid_rt.live.picture_figures import Block, Look, PictureSample, look_at
from deepbid_rt.wire.quiet_log import QuietLog

log = QuietLog(__name__)

Problem = Literal["saturated", "cut off", "constant", "repeated", "not finite", "calibration", "flicker"]
"""What can be wrong with a picture. Each is an alarm of its own."""

LOOK_S = 1.0
"""Seconds between two looks at all pixels of a channel and plane, and least length of a block of samples."""
REST = 10.0
"""A look is followed by a pause of this many times its own duration, so that large frames and many planes cost at most
a tenth of a core."""
BLOCK_FRAMES = 8
"""Fewest frames in a block: the steps between them show a flicker of the laser."""
START_FRAMES = 4
"""First frames of a plane, which show whether the series began in darkness."""
MAX_WATCHED = 256
"""Channels, over all planes, that are watched, so that a stream of thousands of planes takes no memory here."""
LOOKS_TO_RAISE = 2
"""Looks or blocks in a row that must show a problem: a flash, or a shutter that moves, is over after one."""
LOOKS_TO_CLEAR = 3
"""Looks or blocks in a row without the problem after which it is over."""

MOST_HASHES = 4
"""Frames between two looks of which all pixels are compared: enough for a sender that sends every frame twice."""

SATURATED_SHARE = 0.005
"""Share of saturated pixels that is worth an alarm. Bright cells cover about 5 % of a picture: a tenth of that."""
CUT_OFF_SHARE = 0.5
"""Share of pixels at a lower limit that is worth an alarm. Up to a third is common where the offset of a detector is
near 0; from a half on, the median of the picture is lost."""
NOT_FINITE_SHARE = 0.0
"""Share of pixels that are not finite that is worth an alarm: one pixel is not measured but invented."""
NOISE_CHANGED = 2.0
"""Factor of the noise, against the first frames, from which on the calibration does not fit. Networks are trained with
the noise at 1; motion and activity change it by less than 1.2 in real recordings."""
OFFSET_NOISES = 2.0
"""Change of the dark level, in standard deviations of the noise, from which on the calibration does not fit."""
DARK_STRUCTURE = 0.3
"""Structure of a picture, in standard deviations of the noise, below which it shows nothing."""
FLICKER = 0.03
"""Change of the brightness of the whole picture from frame to frame that is worth an alarm, of the mean brightness.
Lasers are stable to 1 %; real recordings show up to 2 %."""
FLICKER_RATIO = 4.0
"""Least `Block.flicker_ratio` of a flicker; motion and the noise of a good recording stay below it in most blocks."""
FLICKER_MEMORY = -0.2
"""Largest `Block.flicker_memory` of a flicker."""


@dataclass(frozen=True, slots=True)
class PictureReading:
    """What the watch has seen of a series. Shares are of 1, and of the channel where they are largest."""

    frames: int = 0
    """Frames that were sampled."""
    saturated_share: float = 0.0
    """Largest share of pixels at an upper limit in a look."""
    cut_off_share: float = 0.0
    """Largest share of pixels at a lower limit."""
    not_finite_share: float = 0.0
    """Largest share of pixels that are NaN, infinite or absurdly large."""
    constant_looks: int = 0
    """Looks that found all pixels equal."""
    repeated_frames: int = 0
    """Frames with the same pixels as the frame before."""
    dark_start: bool = False
    """The series began in darkness, and so was calibrated on it."""
    noise_ratio: float | None = None
    """Noise of the latest block, in that of the first frames; None before it is known."""
    flicker: float | None = None
    """Flicker of the latest block, as a part of the mean brightness; None where there is none."""
    problems: tuple[str, ...] = ()
    """Everything that raised an alarm in the series, in order."""

    def summary(self) -> dict[str, Any]:
        """Return the reading as plain data for the summary and the log of a session."""
        digits = {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**digits, "problems": list(self.problems)}


NO_PICTURE = PictureReading()
"""The reading before the first frame."""


class PictureWatch:
    """Follows the pictures and the clocks of each series, and raises alarms of the kinds ``picture`` and ``clock``.

    Parameters
    ----------
    alarms : Alarms
    calibration_frames : int
        Frames of a plane that the engine is calibrated on; later frames are compared with them.
    clock : callable
        Returns the time in seconds.
    """

    def __init__(
        self, alarms: Alarms, calibration_frames: int = 16, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._alarms = alarms
        self._calibration_frames = max(calibration_frames, START_FRAMES + 2)
        self._clock = clock
        self._info: StreamInfo | None = None
        self._forget()
        self.reading = NO_PICTURE
        """The reading of the latest series; from any thread."""

    def _forget(self) -> None:
        self._channels: dict[tuple[int, int], _ChannelWatch] = {}
        self._problems: dict[Problem, dict[tuple[int, int], str]] = {}
        self._clocks = ClockCheck()
        self._rest_until_s = 0.0
        for problem in get_args(Problem):
            self._alarms.clear(_part(problem))
        self._alarms.clear(CLOCKS)

    def start(self, info: StreamInfo) -> None:
        """Begin a series. Alarms and readings of an earlier one are dropped."""
        self._info = info
        self._forget()
        self.reading = NO_PICTURE

    def put(self, frame: Frame) -> None:
        """Sample a frame, and look at all of its pixels when it is time to."""
        if self._info is None:
            return
        self._check_clocks(frame)
        if frame.flags & FrameFlag.FLYBACK:
            return
        for channel, image in enumerate(frame.pixels):
            place = frame.plane, channel
            watch = self._channels.get(place)
            if watch is None:
                if len(self._channels) >= MAX_WATCHED:
                    continue
                self._channels[place] = watch = _ChannelWatch(image.shape, self._calibration_frames, self._clock())
            self._watch(place, watch, image)
        self.reading = replace(self.reading, frames=self.reading.frames + 1)

    def skip(self, gap: Gap) -> None:
        """Do nothing: a missing frame shows nothing."""

    def end(self, end: StreamEnd) -> None:
        """Clear the alarms, because the pictures have ended. The reading stays."""
        self._info = None
        self._forget()

    def close(self) -> None:
        """Clear the alarms."""
        self._info = None
        self._forget()

    def _check_clocks(self, frame: Frame) -> None:
        self._clocks.push(frame)
        if self._clocks.worth_an_alarm:
            text = f"{self._clocks.problem}: latencies are counted from the arrival of each frame"
            self._alarms.set(CLOCKS, "clock", f"{text}; set both clocks by the network (NTP), or mend the time stamps")
        elif self._clocks.usable:
            self._alarms.clear(CLOCKS)

    def _watch(self, place: tuple[int, int], watch: _ChannelWatch, image: NDArray[Any]) -> None:
        now = self._clock()
        if watch.push(image):
            self.reading = replace(self.reading, repeated_frames=self.reading.repeated_frames + 1)
        if watch.begins(now):
            self._judge_block(place, watch)
        if now >= watch.next_look_s and now >= self._rest_until_s:
            watch.next_look_s = now + LOOK_S
            self._judge_look(place, watch, look_at(image))
            ended = self._clock()
            self._rest_until_s = ended + REST * (ended - now)

    def _judge_look(self, place: tuple[int, int], watch: _ChannelWatch, look: Look) -> None:
        where, reading = self._name(place), self.reading
        if watch.looks == 0 and look.cut_off:
            log.info("%.0f %% of the pixels%s are at the lowest value, %g", 100 * look.cut_off, where, look.lowest)
        watch.looks += 1
        watch.alive |= not look.constant
        self.reading = replace(
            reading,
            saturated_share=max(reading.saturated_share, look.saturated),
            cut_off_share=max(reading.cut_off_share, look.cut_off),
            not_finite_share=max(reading.not_finite_share, look.not_finite),
            constant_looks=reading.constant_looks + look.constant,
        )
        # One unused channel among others that show a picture is no problem.
        unused = not watch.alive and any(other.alive for other in self._channels.values())
        self._note(
            place,
            "saturated",
            look.saturated >= SATURATED_SHARE,
            f"{100 * look.saturated:.1f} % of the pixels{where} are saturated at {look.highest:g}: lower the gain of "
            "the detector or the power of the laser",
        )
        self._note(
            place,
            "cut off",
            look.cut_off >= CUT_OFF_SHARE and not look.constant,
            f"{100 * look.cut_off:.0f} % of the pixels{where} are cut off at {look.lowest:g}, so that darkness has no "
            "mean: raise the offset of the detector",
        )
        self._note(
            place,
            "constant",
            look.constant and not unused,
            f"all pixels{where} are {look.lowest:g}: check shutter, detector and sender",
        )
        self._note(
            place,
            "not finite",
            look.not_finite > NOT_FINITE_SHARE,
            f"{100 * look.not_finite:.2g} % of the pixels{where} are NaN, infinite or absurdly large, and are denoised "
            "as if they had the mean of the picture: correct what computes them, or send counts",
        )
        self._note(
            place,
            "repeated",
            watch.take_repeated() and not look.constant,
            f"frames{where} have the same pixels as the frame before: check that the microscope scans and that the "
            "sender sends each frame once",
        )

    def _judge_block(self, place: tuple[int, int], watch: _ChannelWatch) -> None:
        block, reference, where = watch.block, watch.reference, self._name(place)
        if block is None or reference is None:
            return
        ratio = block.noise / reference.noise if reference.noise else None
        flickering = flickers(block)
        self.reading = replace(
            self.reading, noise_ratio=ratio, flicker=block.relative_flicker if shows_flicker(block) else None
        )
        if watch.began_dark and not self.reading.dark_start:
            self.reading = replace(self.reading, dark_start=True)
        misfit = watch.misfit()
        self._note(place, "calibration", misfit is not None, f"{misfit}{where}: begin a new series")
        self._note(
            place,
            "flicker",
            flickering,
            f"the brightness of the whole picture{where} changes by {100 * block.relative_flicker:.0f} % from frame to "
            "frame: check laser and detector, and that channels or planes are not mixed",
        )

    def _note(self, place: tuple[int, int], problem: Problem, wrong: bool, text: str) -> None:
        """Count looks with and without a problem; raise or clear its alarm."""
        if not self._channels[place].counts(problem, wrong):
            if self._problems.get(problem, {}).pop(place, None) is not None and not self._problems[problem]:
                self._alarms.clear(_part(problem))
            return
        self._problems.setdefault(problem, {})
        if wrong or place not in self._problems[problem]:
            self._problems[problem][place] = text
        if problem not in self.reading.problems:
            self.reading = replace(self.reading, problems=(*self.reading.problems, problem))
        others = len(self._problems[problem]) - 1
        text = next(iter(self._problems[problem].values()))
        self._alarms.set(_part(problem), "picture", f"{text} (and {others} more)" if others else text)

    def _name(self, place: tuple[int, int]) -> str:
        """Return the words that tell which channel and plane it is; none when there is one of each."""
        info = self._info
        if info is None:
            return ""
        words = [f"channel {place[1]}"] * (info.shape[0] > 1) + [f"plane {place[0]}"] * (info.planes > 1)
        return f" of {', '.join(words)}" if words else ""


CLOCKS = "the clocks"
"""Name of the alarm for clocks and time stamps."""


def _part(problem: Problem) -> str:
    return f"the picture ({problem})"


def shows_flicker(block: Block) -> bool:
    """Tell whether there is a picture that can flicker; the offset of a dark channel always moves a little."""
    return block.structure > DARK_STRUCTURE * block.noise or block.flicker > block.noise / 2


def flickers(block: Block) -> bool:
    """Tell whether the brightness of the whole picture flickers."""
    return (
        shows_flicker(block)
        and block.relative_flicker > FLICKER
        and block.flicker_ratio > FLICKER_RATIO
        and block.flicker_memory < FLICKER_MEMORY
    )


class _ChannelWatch:
    """What is known of one channel of one plane."""

    def __init__(self, size: tuple[int, int], calibration_frames: int, now_s: float) -> None:
        self._sample = PictureSample(size)
        self._calibration_frames = calibration_frames
        self._frames = 0
        self._block_s = self.next_look_s = now_s
        self._begin: Block | None = None  # of the first frames
        self.reference: Block | None = None
        """The frames that the engine is calibrated on, without the very first."""
        self.block: Block | None = None
        """The latest frames after them."""
        self.began_dark = False
        self.looks = 0
        self.alive = False
        """True once two pixels differed."""
        self._hash: int | None = None  # of all pixels of the last frame, while frames seem to be repeated
        self._hashes = 0  # since the last look
        self._repeated = False
        self._counts: dict[Problem, int] = {}  # looks in a row: with the problem above 0, without it below
        self._raised: set[Problem] = set()

    def push(self, image: NDArray[Any]) -> bool:
        """Add a frame; return True when it probably has the same pixels as the frame before."""
        self._frames += 1
        same = self._sample.push(image)
        # All pixels are compared from the first frame with an equal sample on, for a few frames after each look.
        if (same or self._hash is not None) and not self._repeated and self._hashes < MOST_HASHES:
            self._hashes += 1
            last, self._hash = self._hash, zlib.crc32(np.ascontiguousarray(image).data)
            self._repeated = same and self._hash == last
        else:
            self._hash = None
        return same

    def take_repeated(self) -> bool:
        """Return whether a frame since the last call had the pixels of the frame before it."""
        repeated, self._repeated, self._hash, self._hashes = self._repeated, False, None, 0
        return repeated

    def begins(self, now_s: float) -> bool:
        """End a block when it is long enough; return True when one has ended after the calibration."""
        if self._frames == START_FRAMES:
            self._begin = self._sample.take()
        elif self._frames == self._calibration_frames:
            self.reference, self._block_s = self._sample.take(), now_s
        elif self.reference and self._sample.frames >= BLOCK_FRAMES and now_s - self._block_s >= LOOK_S:
            self.block, self._block_s = self._sample.take(), now_s
            return True
        return False

    def misfit(self) -> str | None:
        """Say why the calibration does not fit the latest block; None when it fits."""
        begin, reference, block = self._begin, self.reference, self.block
        if begin is None or reference is None or block is None:
            return None
        shows = block.structure > DARK_STRUCTURE * block.noise
        dark = begin.structure <= DARK_STRUCTURE * max(begin.noise, 1e-30)  # constant frames are dark too
        if dark and shows and block.noise > NOISE_CHANGED * begin.noise:
            self.began_dark = True
        if self.began_dark:
            return "the series began in darkness (shutter closed?), so offset and noise were measured on it"
        if not reference.noise:
            return (
                "the first frames did not change at all, so their noise could not be measured" if block.noise else None
            )
        ratio = block.noise / reference.noise
        gone = block.structure < DARK_STRUCTURE * reference.structure
        lower = block.mean - reference.floor < DARK_STRUCTURE * (reference.mean - reference.floor)
        if reference.structure > DARK_STRUCTURE * reference.noise and gone and lower:
            return "the picture has become dark (shutter closed?)"
        if not 1 / NOISE_CHANGED < ratio < NOISE_CHANGED:
            return f"the noise is {ratio:.2g} times that of the first frames (gain, laser or offset changed?)"
        shift = block.floor - reference.floor
        if abs(shift) > OFFSET_NOISES * reference.noise and abs(shift) > 0.8 * abs(block.mean - reference.mean):
            return f"the dark level has moved by {shift:+.3g} counts, with the noise as before (offset changed?)"
        return None

    def counts(self, problem: Problem, wrong: bool) -> bool:
        """Count a look; return whether the problem is there, after as many looks as it takes to say so."""
        count = self._counts.get(problem, 0)
        count = max(count, 0) + 1 if wrong else min(count, 0) - 1
        self._counts[problem] = count
        if count >= LOOKS_TO_RAISE:
            self._raised.add(problem)
        elif count <= -LOOKS_TO_CLEAR:
            self._raised.discard(problem)
        return problem in self._raised
