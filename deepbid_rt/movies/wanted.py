"""What a user says about a recording that its file does not say, or says wrongly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wanted:
    """Overrides of what a recording says about itself; None leaves the decision to the recording."""

    channels: int | None = None
    """Stored channels."""
    planes: int | None = None
    """Planes that were scanned in turn, fly-back frames not counted."""
    flyback: int | None = None
    """Frames at the end of each volume that are left out."""
    dataset: str | None = None
    """Path of the array inside an HDF5, NWB, MESc or Zarr file."""
    shape: tuple[int, ...] | None = None
    """(Y, X), (C, Y, X) or (T, C, Y, X) of a file that holds nothing but pixels."""
    dtype: str | None = None
    """Pixel type of such a file, as numpy writes it (``<u2``, ``int16``)."""
    salvage: bool = False
    """Take the whole frames of a file that is cut off or damaged."""
