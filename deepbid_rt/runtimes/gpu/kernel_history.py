"""`KernelHistory`: motion and temporal averages of one plane through CUDA kernels, from views to network inputs.

It allocates the buffers, fills the tables and binds the launches. Reference implementation:
`deepbid_rt.motion.history.MotionCompensatedHistory`, whose settings and tables are passed to the kernels here.
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.motion import rigid
from deepbid_rt.motion.history import DRIFT_GAIN
from deepbid_rt.motion.nonrigid import NONRIGID_SETTINGS, NonrigidMotionEstimator, search_halvings
from deepbid_rt.motion.rigid import RIGID_SETTINGS
from deepbid_rt.motion.temporal_averages import MARGIN
from deepbid_rt.runtimes.gpu import kernel_structs as structs
from deepbid_rt.runtimes.gpu.device_arrays import DeviceArrays
from deepbid_rt.runtimes.gpu.motion_numbers import STRIPS
from deepbid_rt.runtimes.gpu.protocols import Buffer, Launch, Program
from deepbid_rt.runtimes.gpu.slots import SLOTS

COPIES = SLOTS
"""Copies of the averages: each frame reads one and writes the other."""
THREADS = 256
"""Threads of a block, as in ``kernels/plane.cuh``."""
TILE = 16
"""Side of the blocks of matrix products, as in ``kernels/plane.cuh``."""
_LINE = (THREADS, 1, 1)


class KernelHistory:
    """Motion and temporal averages of one plane.

    Parameters
    ----------
    gains, channels, size
        See `deepbid_rt.motion.history.MotionCompensatedHistory`.
    arrays : DeviceArrays
        Allocates and keeps all arrays.
    program : Program
        The kernels.
    numbers : Buffer
        Where the kernels write `MOTION_NUMBERS` float64 values for each frame.
    """

    def __init__(
        self,
        gains: tuple[float, ...],
        channels: int,
        size: tuple[int, int],
        arrays: DeviceArrays,
        program: Program,
        numbers: Buffer,
    ) -> None:
        self._gains, self._channels, self._size = np.array(gains), channels, size
        self._arrays, self._program = arrays, program
        self._state = arrays.empty(ctypes.sizeof(structs.State), dtype=np.uint8)
        shared = {
            "state": self._state.address,
            "places": arrays.empty(size[0], ctypes.sizeof(structs.Line), dtype=np.uint8).address,
            "note": numbers.address,
            "strips": arrays.empty(STRIPS, 2, dtype=np.float64).address,
            "margin": MARGIN,
        }
        self._rigid = _rigid(size, arrays, shared)
        self.rigid = NonrigidMotionEstimator(size).rigid
        """True when frames are too small for shifts of strips."""
        self._levels = [] if self.rigid else _levels(size, arrays)
        self._nonrigid = _nonrigid(size, arrays, shared)
        self._ages = arrays.copy_of(np.zeros(len(gains), np.float32))
        self._averages = _averages(self._gains, channels, size, arrays, self._ages)
        self._age_launches = [self._lines("age", memory.height, len(gains), memory) for memory in self._averages]

    def reset(self, slot: int) -> None:
        """Forget everything before the next frame, which will take `slot`."""
        first = structs.State(variance=NONRIGID_SETTINGS.first_variance)
        self._arrays.fill(self._state, np.frombuffer(bytes(first), np.uint8))
        self._scale_weights(np.zeros(len(self._gains)), slot)

    def skip(self, count: int, slot: int) -> None:
        """Make the averages older by `count` frames before the next frame, which will take `slot`."""
        self._scale_weights((1 - self._gains) ** count, slot)

    def _scale_weights(self, factors: NDArray[np.float64], slot: int) -> None:
        self._arrays.fill(self._ages, factors.astype(np.float32))
        with self._arrays.memory.current():
            self._age_launches[slot]()

    def bind(self, frame: structs.Frame, slot: int) -> list[Launch]:
        """Return the launches, in order, that make the network's inputs of a frame's views and average the views."""
        rows, memory = self._size[0], self._averages[slot]
        stabilizer, shifts = self._rigid, self._nonrigid
        launches = [self._lines("average", rows, 1, frame, stabilizer)]
        if not stabilizer.still:
            half = stabilizer.width // 2 + 1
            shifts_y, shifts_x = 2 * stabilizer.far_y + 1, 2 * stabilizer.far_x + 1
            launches += [
                self._tiles("transform_lines", stabilizer.height, half, stabilizer),
                self._tiles("transform_columns", stabilizer.height, half, stabilizer),
                self._tiles("correlate_columns", shifts_y, half, stabilizer),
                self._tiles("correlate_lines", shifts_y, shifts_x, stabilizer),
            ]
        launches.append(self._lines("judge", 1, 1, frame, stabilizer))
        if not stabilizer.still:
            launches.append(self._lines("follow_reference", stabilizer.height, 1, stabilizer))
        if self._levels:
            coarse, fine = self._levels[0], self._levels[-1]
            across = -(-fine.columns // THREADS)
            launches.append(self._lines("compare", rows, 1, frame, shifts, memory))
            launches.append(self._program.bind("smooth", (across, fine.rows, 4), _LINE, frame, shifts, coarse, fine))
            for level in self._levels:
                launches.append(self._lines("measure_slopes", level.rows, 1, shifts, level))
                launches.append(self._lines("solve", 1, 1, frame, shifts, level))
        launches.append(self._lines("recall", frame.padded_height, self._channels, frame, memory, stabilizer))
        launches.append(self._lines("update", memory.height, self._channels, frame, memory, stabilizer))
        return launches

    def _lines(self, name: str, lines: int, layers: int, *arguments: ctypes.Structure) -> Launch:
        return self._program.bind(name, (lines, layers, 1), _LINE, *arguments)

    def _tiles(self, name: str, rows: int, columns: int, *arguments: ctypes.Structure) -> Launch:
        return self._program.bind(name, (-(-columns // TILE), -(-rows // TILE), 1), (TILE, TILE, 1), *arguments)


def _rigid(size: tuple[int, int], arrays: DeviceArrays, shared: dict[str, int]) -> structs.Stabilizer:
    tables = rigid.correlation_tables(size)
    (height, width), (far_y, far_x) = tables.side, tables.limits
    half = width // 2 + 1
    waves = [np.exp(-2j * np.pi * np.arange(n) / n).astype(np.complex64) for n in (height, width)]
    complexes = {
        name: arrays.empty(height, half, dtype=np.complex64).address for name in ("sweep", "spectrum", "reference")
    }
    return structs.Stabilizer(
        **shared,
        **complexes,
        line_sums=arrays.empty(size[0], 2, dtype=np.float64).address,
        crop_sums=arrays.empty(height, dtype=np.float64).address,
        taper=arrays.copy_of(tables.taper).address,
        band=arrays.copy_of(tables.band).address,
        waves_y=arrays.copy_of(waves[0]).address,
        waves_x=arrays.copy_of(waves[1]).address,
        crop=arrays.empty(height, width).address,
        amplitudes=arrays.empty(height).address,
        near=arrays.empty(2 * far_y + 1, 2 * far_x + 1).address,
        turns=arrays.empty(2, height + half, dtype=np.complex64).address,
        confident=RIGID_SETTINGS.confident,
        locked=RIGID_SETTINGS.locked,
        patience=RIGID_SETTINGS.patience,
        reference_gain=RIGID_SETTINGS.reference_gain,
        norm_gain=RIGID_SETTINGS.norm_gain,
        jump=RIGID_SETTINGS.jump,
        jumps=RIGID_SETTINGS.jumps,
        coarser=RIGID_SETTINGS.grain,
        drift_gain=DRIFT_GAIN,
        still=min(size) < rigid.LEAST_SIDE,
        pitch=tables.pitch,
        top=tables.crop[0].start,
        left=tables.crop[1].start,
        height=height,
        width=width,
        far_y=far_y,
        far_x=far_x,
    )


def _nonrigid(size: tuple[int, int], arrays: DeviceArrays, shared: dict[str, int]) -> structs.LineShifts:
    return structs.LineShifts(
        **shared,
        remembered=arrays.empty(*size).address,
        differences=arrays.empty(size[0], 2, dtype=np.float64).address,
        sums=arrays.empty(size[0], 6, dtype=np.float64).address,
        step=NONRIGID_SETTINGS.step_px,
        limit=NONRIGID_SETTINGS.limit_px,
        tether=NONRIGID_SETTINGS.tether,
        variance_gain=NONRIGID_SETTINGS.variance_gain,
        least_variance=NONRIGID_SETTINGS.least_variance,
    )


def _levels(size: tuple[int, int], arrays: DeviceArrays) -> list[structs.Level]:
    """Return the images of each iteration of the search, in order."""
    levels = []
    for halvings in search_halvings(size):
        rows, columns = (side >> halvings for side in size)
        image, averages = (arrays.empty(rows, columns).address for _ in range(2))
        levels += [
            structs.Level(image=image, remembered=averages, rows=rows, columns=columns, halvings=halvings)
            for _ in range(NONRIGID_SETTINGS.iterations)
        ]
    levels[-1].last = 1
    return levels


def _averages(
    gains: NDArray[np.float64], channels: int, size: tuple[int, int], arrays: DeviceArrays, ages: Buffer
) -> list[structs.Memory]:
    """Return the averages that the frame of each slot reads and writes."""
    height, width = (side + 2 * MARGIN for side in size)
    means = [arrays.empty(channels, len(gains), height, width).address for _ in range(COPIES)]
    weights = [arrays.empty(len(gains), height, width).address for _ in range(COPIES)]
    gains_on_device = arrays.copy_of(gains.astype(np.float32)).address
    return [
        structs.Memory(
            means=means[slot],
            weights=weights[slot],
            next_means=means[1 - slot],
            next_weights=weights[1 - slot],
            gains=gains_on_device,
            ages=ages.address,
            depth=len(gains),
            margin=MARGIN,
            height=height,
            width=width,
        )
        for slot in range(COPIES)
    ]
