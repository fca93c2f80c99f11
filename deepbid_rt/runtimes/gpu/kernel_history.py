"""`deepbid_rt.motion.history.MotionCompensatedHistory` in kernels of our own: buffers, tables and launches, from a frame's views to network inputs.

The numpy classes are the truth; their thresholds and tables are told to the kernels from here.
"""

from __future__ import annotations

import ctypes

import numpy as np

from deepbid_rt.frame import MotionStatus
from deepbid_rt.motion import history as past_truth
from deepbid_rt.motion import nonrigid as shifts_truth
from deepbid_rt.motion import rigid as truth
from deepbid_rt.motion.temporal_averages import MARGIN
from deepbid_rt.runtimes.gpu import kernel_arguments as told
from deepbid_rt.runtimes.gpu.arrays import Arrays
from deepbid_rt.runtimes.gpu.device_memory import Buffer, Program, Queue
from deepbid_rt.runtimes.gpu.slots import SLOTS

STRIPS = shifts_truth._STRIPS  # noqa: SLF001  # one truth
MOTION_STATUSES: tuple[MotionStatus, ...] = ("held", "tracked", "foreign", "restarted")
"""By number."""
NOTE = 4 + 2 * STRIPS
"""Numbers of a frame's motion: dy, dx, confidence, verdict, and its bend along both axes."""
TURNS = SLOTS
"""Copies of the memories: each frame reads one and writes the other."""
THREADS = 256
TILE = 16


class KernelHistory:
    """The past of one plane.

    Parameters
    ----------
    gains, channels, size
        As of `deepbid_rt.motion.history.MotionCompensatedHistory`.
    arrays : Arrays
        Where everything is kept.
    program : Program
        The kernels.
    note : Buffer
        Where `NOTE` numbers (float64) of each frame go.
    """

    def __init__(
        self,
        gains: tuple[float, ...],
        channels: int,
        size: tuple[int, int],
        arrays: Arrays,
        program: Program,
        note: Buffer,
    ) -> None:
        self._gains, self._channels, self._size = np.array(gains), channels, size
        self._arrays, self._program = arrays, program
        self._state = arrays.empty(ctypes.sizeof(told.State), dtype=np.uint8)
        shared = {
            "state": self._state.address,
            "places": arrays.empty(size[0], ctypes.sizeof(told.Line), dtype=np.uint8).address,
            "note": note.address,
            "strips": arrays.empty(STRIPS, 2, dtype=np.float64).address,
            "margin": MARGIN,
        }
        self._rigid = _rigid(size, arrays, shared)
        plain = shifts_truth.NonrigidMotionEstimator(size)
        self.rigid = plain.rigid
        """True when frames are too small to tell how they are bent."""
        self._levels = [] if self.rigid else _levels(size, plain._levels, arrays)  # noqa: SLF001
        self._nonrigid = _nonrigid(size, arrays, shared)
        self._ages = arrays.holding(np.zeros(len(gains), np.float32))
        self._memories = _memories(self._gains, channels, size, arrays, self._ages)
        self._become_older = [self._lines("age", memory.height, len(gains), memory) for memory in self._memories]

    def reset(self, turn: int) -> None:
        """Forget everything before the frame that takes this turn."""
        first = told.State(variance=shifts_truth._FIRST_VARIANCE)  # noqa: SLF001
        self._arrays.fill(self._state, np.frombuffer(bytes(first), np.uint8))
        self._age(np.zeros(len(self._gains)), turn)

    def skip(self, count: int, turn: int) -> None:
        """Let `count` frames pass that never came before the frame that takes this turn."""
        self._age((1 - self._gains) ** count, turn)

    def _age(self, left: np.ndarray, turn: int) -> None:
        self._arrays.fill(self._ages, left.astype(np.float32))
        with self._arrays.memory.current():
            self._become_older[turn]()

    def push(self, frame: told.Frame, turn: int) -> list[Queue]:
        """Return what queues a frame's way from its views to the inputs of the network, and into the memories."""
        rows, memory = self._size[0], self._memories[turn]
        rigid_estimator, shifts = self._rigid, self._nonrigid
        queues = [self._lines("average", rows, 1, frame, rigid_estimator)]
        if not rigid_estimator.still:
            half = rigid_estimator.width // 2 + 1
            shifts_y, shifts_x = 2 * rigid_estimator.far_y + 1, 2 * rigid_estimator.far_x + 1
            queues += [
                self._tiles("transform_lines", rigid_estimator.height, half, rigid_estimator),
                self._tiles("transform_columns", rigid_estimator.height, half, rigid_estimator),
                self._tiles("correlate_columns", shifts_y, half, rigid_estimator),
                self._tiles("correlate_lines", shifts_y, shifts_x, rigid_estimator),
            ]
        queues.append(self._lines("judge", 1, 1, frame, rigid_estimator))
        if not rigid_estimator.still:
            queues.append(self._lines("follow_reference", rigid_estimator.height, 1, rigid_estimator))
        if self._levels:
            coarse, fine = self._levels[0], self._levels[-1]
            across = -(-fine.columns // THREADS)
            queues.append(self._lines("compare", rows, 1, frame, shifts, memory))
            queues.append(self._program.bind("smooth", (across, fine.rows, 4), _LINE, frame, shifts, coarse, fine))
            for level in self._levels:
                queues.append(self._lines("measure_slopes", level.rows, 1, shifts, level))
                queues.append(self._lines("solve", 1, 1, frame, shifts, level))
        queues.append(self._lines("recall", frame.padded_height, self._channels, frame, memory, rigid_estimator))
        queues.append(self._lines("update", memory.height, self._channels, frame, memory, rigid_estimator))
        return queues

    def _lines(self, name: str, lines: int, layers: int, *arguments: ctypes.Structure) -> Queue:
        return self._program.bind(name, (lines, layers, 1), _LINE, *arguments)

    def _tiles(self, name: str, rows: int, columns: int, *arguments: ctypes.Structure) -> Queue:
        return self._program.bind(name, (-(-columns // TILE), -(-rows // TILE), 1), (TILE, TILE, 1), *arguments)


_LINE = (THREADS, 1, 1)


def _rigid(size: tuple[int, int], arrays: Arrays, shared: dict[str, int]) -> told.Stabilizer:
    plain = truth.RigidMotionEstimator(size)
    (height, width), (far_y, far_x) = plain._side, plain._limits  # noqa: SLF001  # one truth: the same crop and tables
    half = width // 2 + 1
    waves = [np.exp(-2j * np.pi * np.arange(n) / n).astype(np.complex64) for n in (height, width)]
    complexes = {
        name: arrays.empty(height, half, dtype=np.complex64).address for name in ("sweep", "spectrum", "reference")
    }
    return told.Stabilizer(
        **shared,
        **complexes,
        line_sums=arrays.empty(size[0], 2, dtype=np.float64).address,
        crop_sums=arrays.empty(height, dtype=np.float64).address,
        taper=arrays.holding(plain._taper).address,  # noqa: SLF001
        band=arrays.holding(plain._band).address,  # noqa: SLF001
        waves_y=arrays.holding(waves[0]).address,
        waves_x=arrays.holding(waves[1]).address,
        crop=arrays.empty(height, width).address,
        amplitudes=arrays.empty(height).address,
        near=arrays.empty(2 * far_y + 1, 2 * far_x + 1).address,
        turns=arrays.empty(2, height + half, dtype=np.complex64).address,
        confident=truth._CONFIDENT,  # noqa: SLF001
        locked=truth._LOCKED,  # noqa: SLF001
        patience=truth._PATIENCE,  # noqa: SLF001
        reference_gain=truth._REFERENCE_GAIN,  # noqa: SLF001
        norm_gain=truth._NORM_GAIN,  # noqa: SLF001
        jump=truth._JUMP,  # noqa: SLF001
        jumps=truth._JUMPS,  # noqa: SLF001
        coarser=truth._GRAIN,  # noqa: SLF001
        drift_gain=past_truth._DRIFT_GAIN,  # noqa: SLF001
        still=min(size) < truth.LEAST_SIDE,
        pitch=plain._pitch,  # noqa: SLF001
        top=plain._crop[0].start,  # noqa: SLF001
        left=plain._crop[1].start,  # noqa: SLF001
        height=height,
        width=width,
        far_y=far_y,
        far_x=far_x,
    )


def _nonrigid(size: tuple[int, int], arrays: Arrays, shared: dict[str, int]) -> told.LineShifts:
    return told.LineShifts(
        **shared,
        remembered=arrays.empty(*size).address,
        differences=arrays.empty(size[0], 2, dtype=np.float64).address,
        sums=arrays.empty(size[0], 6, dtype=np.float64).address,
        step=shifts_truth._STEP_PX,  # noqa: SLF001
        limit=shifts_truth._LIMIT_PX,  # noqa: SLF001
        tether=shifts_truth._TETHER,  # noqa: SLF001
        variance_gain=shifts_truth._VARIANCE_GAIN,  # noqa: SLF001
        least_variance=shifts_truth._LEAST_VARIANCE,  # noqa: SLF001
    )


def _levels(size: tuple[int, int], halvings: tuple[int, ...], arrays: Arrays) -> list[told.Level]:
    """Return what each step of the search looks at, in their order."""
    levels = []
    for times in halvings:
        rows, columns = (side >> times for side in size)
        image, averages = (arrays.empty(rows, columns).address for _ in range(2))
        levels += [
            told.Level(image=image, remembered=averages, rows=rows, columns=columns, halvings=times)
            for _ in range(shifts_truth._ITERATIONS)  # noqa: SLF001
        ]
    levels[-1].last = 1
    return levels


def _memories(
    gains: np.ndarray, channels: int, size: tuple[int, int], arrays: Arrays, ages: Buffer
) -> list[told.Memory]:
    """Return what each turn reads and writes."""
    height, width = (side + 2 * MARGIN for side in size)
    means = [arrays.empty(channels, len(gains), height, width).address for _ in range(TURNS)]
    weights = [arrays.empty(len(gains), height, width).address for _ in range(TURNS)]
    gains_there = arrays.holding(gains.astype(np.float32)).address
    return [
        told.Memory(
            means=means[turn],
            weights=weights[turn],
            next_means=means[1 - turn],
            next_weights=weights[1 - turn],
            gains=gains_there,
            ages=ages.address,
            depth=len(gains),
            margin=MARGIN,
            height=height,
            width=width,
        )
        for turn in range(TURNS)
    ]
