"""A writer of ring files in Python, from the tables of ``bridge/scanimage/RING.md``: stands in for MATLAB."""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_AT, BLOCK_BYTES, SLOTS_AT = 4096, 8192, 36864
SCALARS = {
    "channels": 4,
    "lines": 5,
    "pixels": 6,
    "frame_rate_hz": 7,
    "planes": 8,
    "flyback": 9,
    "bidirectional": 10,
    "resonant": 11,
    "uniform_sampling": 12,
    "pixel_um_y": 13,
    "pixel_um_x": 14,
    "line_phase_s": 15,
    "scanner_hz": 16,
    "fill_fraction_temporal": 17,
    "fill_fraction_spatial": 18,
    "line_period_s": 19,
    "zoom": 20,
    "frames_per_slice": 21,
    "slice": 22,
}
FACTS = {
    "frame_rate_hz": 30.5,
    "planes": 1,
    "flyback": 0,
    "bidirectional": 1,
    "resonant": 1,
    "uniform_sampling": 0,
    "pixel_um_y": 100.0,
    "pixel_um_x": 100.0,
    "line_phase_s": 1.25e-6,
    "scanner_hz": 7910.0,
    "fill_fraction_temporal": 0.75,
    "fill_fraction_spatial": 0.875,
    "line_period_s": 6.3e-5,
    "zoom": 2.0,
    "frames_per_slice": 1,
    "slice": math.nan,
}
NAMES = ("Green µ", "Red", "Channel 3", "Channel 4")


class RingWriter:
    """Writes what MATLAB writes. The methods with other names than those of ``deepbid.Ring`` do what it never does."""

    def __init__(self, path: Path, size: int = 1 << 20) -> None:
        self.size = size
        if not path.exists():
            path.write_bytes(bytes(size))
        self._file = path.open("r+b")
        self.map = mmap.mmap(self._file.fileno(), size)
        if self.word(1) == 0:
            for k, value in ((1, 1), (2, size), (3, SLOTS_AT)):
                self.set_word(k, value)
            self.map[:8] = b"DBRTRING"
        self.generation, self.written, self.series = self.word(6), self.word(7), self.word(8)
        self.shape: tuple[int, int, int] | None = None
        self.slots = self.slot_bytes = 0

    def word(self, k: int) -> int:
        return int(struct.unpack_from("<Q", self.map, 8 * k)[0])

    def set_word(self, k: int, value: int) -> None:
        struct.pack_into("<Q", self.map, 8 * k, value)

    def begin(self, shape: tuple[int, int, int], z: tuple[float, ...] = (), **facts: float) -> None:
        """Begin a series of frames (C, Y, X)."""
        if shape != self.shape:
            self.set_slots(shape)
        self.series += 1
        values = [0.0] * 872
        channels, lines, pixels = shape
        given = {**FACTS, "channels": channels, "lines": lines, "pixels": pixels, **facts}
        for name, value in given.items():
            values[SCALARS[name]] = value
        values[:4] = [self.series, 1, self.written, math.nan]
        values[32 : 32 + channels] = range(1, channels + 1)
        values[40:552] = [*z, *[math.nan] * (512 - len(z))]
        for k, name in enumerate(NAMES[:channels]):
            text = name.encode()
            values[552 + 32 * k : 552 + 32 * k + len(text)] = text
        software = b"ScanImage 5.7.1"
        values[808 : 808 + len(software)] = software
        self.set_block(values)
        self.set_word(8, self.series)

    def set_slots(self, shape: tuple[int, int, int]) -> None:
        self.slot_bytes = -(-(64 + 2 * math.prod(shape)) // 64) * 64
        self.slots = (self.size - SLOTS_AT) // self.slot_bytes
        self.set_word(6, self.generation + 1)
        self.set_word(4, self.slot_bytes)
        self.set_word(5, self.slots)
        self.set_word(7, 0)
        self.generation += 2
        self.set_word(6, self.generation)
        self.written, self.shape = 0, shape

    def block_at(self, series: int) -> int:
        return BLOCK_AT + series % 4 * BLOCK_BYTES

    def set_block(self, values: list[float], state: int = 1) -> None:
        at, lock = self.block_at(self.series), 16 * self.series + 2 * (state - 1)
        struct.pack_into("<Q", self.map, at, lock + 1)
        struct.pack_into(f"<{len(values)}d", self.map, at + 8, *values)
        struct.pack_into("<Q", self.map, at, lock + 2)

    def put(
        self,
        number: float,
        pixels: NDArray[Any],
        *,
        time_s: float = math.nan,
        place: float = 0,
        flags: float = 0,
        acquisition: float = 1,
        complete: bool = True,
    ) -> None:
        """Write a frame (C, Y, X); `complete` False leaves it as it is when MATLAB ends while it writes it."""
        at = self.slot_at(self.written)
        struct.pack_into("<Q", self.map, at, 2 * self.written + 1)
        struct.pack_into("<7d", self.map, at + 8, self.series, number, time_s, place, flags, acquisition, 0)
        bytes_ = np.ascontiguousarray(pixels, "<i2").tobytes()
        self.map[at + 64 : at + 64 + len(bytes_)] = bytes_
        if complete:
            struct.pack_into("<Q", self.map, at, 2 * self.written + 2)
        self.written += 1
        self.set_word(7, self.written)

    def slot_at(self, number: int) -> int:
        return SLOTS_AT + number % self.slots * self.slot_bytes

    def finish(self, state: int = 2) -> None:
        """End the series: 2 done, 3 aborted, 4 error, 5 replaced."""
        (first,) = struct.unpack_from("<d", self.map, self.block_at(self.series) + 8 + 16)
        self.set_block([self.series, state, first, self.written], state)
        self.beat()

    def beat(self) -> None:
        self.set_word(9, self.word(9) + 1)

    def close(self) -> None:
        self.map.close()
        self._file.close()
