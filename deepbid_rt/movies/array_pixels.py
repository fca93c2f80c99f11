"""Frames (C, Y, X) out of a stored array whose axes are in any order, read piece by piece."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import DTYPES, MAX_CHANNELS, MAX_SIDE
from deepbid_rt.movies.array_axes import spelled
from deepbid_rt.movies.page_order import page_order
from deepbid_rt.movies.wanted import Wanted

BLOCK_BYTES = 2**27
"""Frames that are stored together are read and kept together, up to this size."""
MAX_FRAMES = 2**25
"""Far more than a day of scanning; a file that promises more is damaged."""
_AXES = "TZCYX"
_EXACT = {"b": "|u1", "i1": "<i2", "f2": "<f4"}
"""Types that become another one without loss."""


class ArraySource(Protocol):
    """A stored array of which pieces can be read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """As stored, in any byte order."""
    chunks: tuple[int, ...] | None
    """Shape of the pieces in which it is stored; None when it is one piece, whose last axis is the fastest."""

    def read(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """Return a piece, with all axes. May raise anything."""
        ...

    def close(self) -> None:
        """Close its file; may be called twice."""
        ...


def pixel_dtype(dtype: np.dtype[Any], name: str) -> tuple[np.dtype[Any], str | None]:
    """Return the type in which stored pixels are delivered, little-endian, and a warning where that loses something.

    Parameters
    ----------
    dtype : numpy.dtype
        As stored. uint8, uint16, int16 and float32 stay; bool becomes uint8, int8 int16, float16 float32; other
        numbers become float32.
    name : str
        What an error calls the array.

    Raises
    ------
    StreamError
        When these are no real numbers.
    """
    kind = "b" if dtype.kind == "b" else f"{dtype.kind}{dtype.itemsize}"
    if dtype.kind not in "biuf":
        what = "complex numbers" if dtype.kind == "c" else f"{dtype} values"
        raise StreamError(
            f"{name} of {what}",
            expected="pixels of uint8, uint16, int16 or float32",
            todo="save the counts of each channel as numbers of one of these types",
        )
    little = dtype.newbyteorder("<")
    if little.str in DTYPES:
        return little, None
    if kind in _EXACT:
        return np.dtype(_EXACT[kind]), None
    return np.dtype("<f4"), f"its {dtype.newbyteorder('=')} pixels are converted to float32, with 7 digits"


class ArrayPixels:
    """Frames out of a stored array; safe to use from several threads.

    Parameters
    ----------
    source : ArraySource
        The array.
    letters : str
        What its axes are, such as ``TZCYX``; each of T, Z, C, Y, X at most once, Y and X always.
    wanted : Wanted
        `channels` and `planes` split the time axis where the array has no axis for them, else they must agree with it.
    name : str
        What an error calls the array.
    inverted : bool
        Turn uint16 counts the right way round: 65535 - count.

    Attributes
    ----------
    shape : tuple of int
        (N, C, Y, X).
    dtype : numpy.dtype
        Type of the frames, little-endian.
    planes : int
        Planes that were scanned in turn.
    pages : str
        How the array becomes frames, in words.
    warnings : tuple of str
        What a user has to know.

    Raises
    ------
    StreamError
        When the array is no movie, or contradicts the wishes.
    """

    def __init__(self, source: ArraySource, letters: str, wanted: Wanted, name: str, *, inverted: bool = False) -> None:
        self.source, self._letters, self._inverted = source, letters, inverted
        self._lock = threading.Lock()
        sizes = dict.fromkeys(_AXES, 1) | dict(zip(letters, source.shape, strict=True))
        self._sizes = sizes
        self.dtype, lost = pixel_dtype(source.dtype, name)
        self._check_sizes(name)
        own_c, own_z = "C" in letters, sizes["Z"] > 1
        flyback = wanted.flyback or 0
        channels = sizes["C"] if own_c else (wanted.channels or 1)
        planes = wanted.planes or (sizes["Z"] - flyback if own_z else 1)
        self._check_wishes(channels, planes, flyback, wanted, name)
        order = page_order(
            sizes["T"] * sizes["Z"],
            1 if own_c else channels,
            planes,
            flyback=flyback,
            name=name,
            complete=not wanted.salvage,
        )
        self._pages, self.planes = order.pages, planes
        self.shape = (len(order.pages), channels, sizes["Y"], sizes["X"])
        self._share = planes if own_z else planes / (planes + flyback) / (1 if own_c else channels)
        self._runs = self._block_runs()
        self._block: tuple[tuple[int, int], NDArray[Any]] | None = None
        self.pages = self._words(wanted, own_c, own_z, channels, planes, flyback)
        warnings = [lost] if lost else []
        if order.left_out:
            warnings.append(f"{order.left_out} pages of an incomplete last volume are left out")
        self.warnings = tuple(warnings)

    def _check_sizes(self, name: str) -> None:
        sizes = self._sizes
        if not (1 <= sizes["Y"] <= MAX_SIDE and 1 <= sizes["X"] <= MAX_SIDE and 1 <= sizes["C"] <= MAX_CHANNELS):
            raise StreamError(
                f"{name} with {sizes['C']} channels of {sizes['Y']} lines and {sizes['X']} pixels",
                expected=f"1..{MAX_CHANNELS} channels and 1..{MAX_SIDE} lines and pixels",
                todo="check which axis is which, or save the movie in smaller pieces",
            )
        if not 1 <= sizes["T"] * sizes["Z"] <= MAX_FRAMES:
            raise StreamError(
                f"{name} of {sizes['T'] * sizes['Z']} frames",
                expected=f"1..{MAX_FRAMES} frames",
                todo="check whether the file is complete, or save the movie in smaller pieces",
            )

    def _check_wishes(self, channels: int, planes: int, flyback: int, wanted: Wanted, name: str) -> None:
        sizes = self._sizes
        own_c, own_z = "C" in self._letters, sizes["Z"] > 1
        if wanted.channels not in (None, channels) or (own_z and not own_c and channels > 1):
            raise StreamError(
                f"{name} with {sizes['C']} channels for {wanted.channels}",
                expected="the channels of the array",
                todo="leave --channels out",
            )
        if own_z and planes + flyback != sizes["Z"]:
            raise StreamError(
                f"{name} with {sizes['Z']} planes for {planes} planes and {flyback} fly-back frames",
                expected=f"{sizes['Z']} altogether",
                todo="correct or leave out --planes and --flyback",
            )
        if channels > MAX_CHANNELS:
            raise StreamError(
                f"{channels} channels for {name}",
                expected=f"at most {MAX_CHANNELS} channels",
                todo="correct --channels, or give --planes when these are planes",
            )

    def _words(self, wanted: Wanted, own_c: bool, own_z: bool, channels: int, planes: int, flyback: int) -> str:
        words = [f"axes {spelled(self._letters)}"]
        if channels > 1:
            words.append(f"{channels} channels" if own_c else f"{channels} channels in turn, as given with --channels")
        if planes > 1:
            given = ", as given with --planes" if wanted.planes and not own_z else ""
            left = f" ({flyback} fly-back frames left out)" if flyback else ""
            words.append(f"{planes} planes in turn{left}{given}")
        return ", ".join(words)

    def rate_hz(self, rate_hz: float | None) -> float | None:
        """Return frames per second over all planes, from steps of the time axis per second."""
        return None if rate_hz is None else rate_hz * self._share

    def times_s(self, times_s: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the time of each frame (N,), from that of each step of the time axis (T,); None for volumes."""
        if self._sizes["Z"] > 1 or len(times_s) != self._sizes["T"]:
            return None
        times: NDArray[np.float64] = times_s[self._pages[:, 0]]
        return times

    def _block_runs(self) -> tuple[int, int]:
        """Return how many steps of time and how many planes are read together."""
        sizes = self._sizes
        frame = sizes["C"] * sizes["Y"] * sizes["X"] * self.source.dtype.itemsize
        most = max(1, BLOCK_BYTES // frame)
        if self.source.chunks is None:
            together = min(sizes["T"], most) if self._letters.startswith(("YX", "XY")) else 1
            return together, 1
        chunk = dict(zip(self._letters, self.source.chunks, strict=True))
        t = min(chunk.get("T", 1), sizes["T"], most)
        z = min(chunk.get("Z", 1), sizes["Z"])
        return (t, z) if t * z <= most else (t, 1)

    def _read_block(self, key: tuple[int, int]) -> NDArray[Any]:
        """Return the block of these numbers along time and planes, as (T, Z, C, Y, X)."""
        if self._block is not None and self._block[0] == key:
            return self._block[1]
        (t, z), (dt, dz) = key, self._runs
        spans = {"T": slice(t * dt, min((t + 1) * dt, self._sizes["T"]))}
        spans["Z"] = slice(z * dz, min((z + 1) * dz, self._sizes["Z"]))
        index = tuple(spans.get(letter, slice(0, self._sizes[letter])) for letter in self._letters)
        piece = self.source.read(index)
        present = [letter for letter in _AXES if letter in self._letters]
        piece = piece.transpose([self._letters.index(letter) for letter in present])
        for number, letter in enumerate(_AXES):
            if letter not in self._letters:
                piece = np.expand_dims(piece, number)
        if self._runs != (1, 1):
            self._block = key, piece
        return piece

    def read(self, i: int, out: NDArray[Any]) -> None:
        """Fill `out` (C, Y, X), of type `dtype`, with frame `i`. Raises what the source raises."""
        dt, dz = self._runs
        with self._lock:
            for channel, page in enumerate(self._pages[i]):
                t, z = divmod(int(page), self._sizes["Z"])
                piece = self._read_block((t // dt, z // dz))[t % dt, z % dz]
                target = out if "C" in self._letters else out[channel : channel + 1]
                with np.errstate(over="ignore", invalid="ignore"):
                    np.copyto(target, piece, casting="unsafe")
        if self._inverted:
            np.invert(out, out=out)

    def close(self) -> None:
        """Close the source; may be called twice."""
        with self._lock:
            self._block = None
            self.source.close()
