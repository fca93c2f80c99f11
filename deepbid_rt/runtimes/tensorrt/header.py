"""Reads the header of a TensorRT plan without any library of NVIDIA's."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from deepbid_rt.errors import EngineError

HEADER_BYTES = 28
"""Length of the header, as ``trtexec --getPlanVersionOnly`` reads it."""
TAG = b"ftrt"
_OTHERS = {b"vtrt": "a plan of TensorRT-RTX", b"PK\x03\x04": "an archive", b"\x7fELF": "a program"}
_MOST_PREFIX_BYTES = 1 << 20
"""Longest JSON that another tool may have written before the plan. The tag of a plan, read as a length, is larger."""


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """The version of TensorRT that wrote a plan."""

    version: tuple[int, int, int, int]
    """Major, minor, patch, build; the build of releases above 255 is cut to 8 bits by TensorRT."""

    def matches(self, version: str) -> bool:
        """Return True when ``tensorrt.__version__`` is this version."""
        numbers = [int(part) for part in version.split(".")[:4] if part.isdigit()]
        return bool(numbers) and all(n & 0xFF == m for n, m in zip(numbers, self.version, strict=False))

    def __str__(self) -> str:
        return ".".join(str(n) for n in self.version)


def strip_prefix(data: bytes) -> bytes:
    """Return the data without the length and the JSON that some tools write before a plan."""
    if len(data) < 5:
        return data
    (length,) = struct.unpack_from("<I", data)
    if not 0 < length <= min(_MOST_PREFIX_BYTES, len(data) - 4) or data[4:5] != b"{":
        return data
    return data[4 + length :]


def read_header(data: bytes, name: str, rebuild: str) -> PlanHeader:
    """Read the header of a plan.

    Parameters
    ----------
    data : bytes
        The plan, at least its first `HEADER_BYTES`.
    name : str
        Path, for the message.
    rebuild : str
        Command that builds the plan again, for the message.

    Raises
    ------
    EngineError
        When the data are cut short or not a plan.

    Notes
    -----
    Layout: uint32 tag ``ftrt``, uint32 serialisation version 0, and in bytes 24 to 27 major, minor, patch and build.
    Source: ``samples/common/sampleEngines.cpp`` of NVIDIA/TensorRT (Apache-2.0).
    """
    if len(data) < HEADER_BYTES:
        raise EngineError(
            f"{name} holds {len(data)} bytes",
            expected=f"a TensorRT plan, which begins with {HEADER_BYTES} bytes of header",
            todo=f"build it again: {rebuild}",
        )
    tag = data[:4]
    if tag != TAG:
        raise EngineError(
            f"{name} is {_OTHERS.get(tag, 'no TensorRT plan')} (it begins with {tag!r})",
            expected=f"a plan, which begins with {TAG!r}",
            todo=f"build it again: {rebuild}",
        )
    major, minor, patch, build = data[24:28]
    return PlanHeader((major, minor, patch, build))
