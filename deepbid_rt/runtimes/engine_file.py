"""What is checked of an engine file before a runtime reads it: its size, its digest, and that it is a single file.

The digest shows damage: a cut or zeroed file, a bad copy. It does not show who made the file.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import EngineError

log = logging.getLogger(__name__)

DIGEST_KEY = "deepbid_rt.sha256"
"""Metadata entry that ends an engine file: the SHA-256 of everything before it, as hex."""
MAX_BYTES = 2**29
"""Largest engine file: a hundred times the largest shipped one."""
# ModelProto.metadata_props is field 14; its entries have a key (field 1) and a value (field 2) of 64 characters.
_ENTRY = b"\x0a" + bytes([len(DIGEST_KEY)]) + DIGEST_KEY.encode() + b"\x12\x40"
_START = b"\x72" + bytes([len(_ENTRY) + 64]) + _ENTRY
_EXTERNAL = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")
"""Key of a tensor whose data is in another file (TensorProto.external_data), in every form that protobuf reads."""
_CONVOLUTION_AXES = 4
"""Least number of axes of the weights of a convolution."""


def seal(data: bytes) -> bytes:
    """Return the bytes of an ONNX file with its digest appended, as one more metadata entry.

    Parameters
    ----------
    data : bytes
        A serialized ONNX model without a digest.
    """
    return data + _START + hashlib.sha256(data).hexdigest().encode()


def check_engine_file(path: Path) -> None:
    """Refuse an engine file that is damaged, larger than `MAX_BYTES`, or refers to other files.

    A file of an earlier version has no digest. It is accepted, and the log says so.

    Raises
    ------
    EngineError
        When the file cannot be read or is refused.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise EngineError(
            f"no engine file at {path}" if isinstance(error, FileNotFoundError) else f"{path} cannot be read ({error})",
            expected="an .onnx file written by deepbid-rt export",
            todo="check the path, or name a shipped engine",
        ) from error
    if size > MAX_BYTES:
        raise EngineError(
            f"{path} has {size:,} bytes",
            expected=f"at most {MAX_BYTES:,}",
            todo="name an .onnx file written by deepbid-rt export",
        )
    if _EXTERNAL.search(data):
        raise EngineError(
            f"{path} refers to other files for its weights",
            expected="one file that holds everything, as deepbid-rt export writes it",
            todo="export the engine again",
        )
    start = len(data) - len(_START) - 64
    if start >= 0 and data.startswith(_START, start):
        if hashlib.sha256(data[:start]).hexdigest().encode() != data[-64:]:
            raise EngineError(
                f"{path} does not match its own digest: it was damaged or changed after it was exported",
                expected="the file as deepbid-rt export wrote it",
                todo="export or copy the engine again",
            )
    elif _ENTRY in data:
        raise EngineError(
            f"{path} was changed after it was exported: something follows its digest",
            expected="the file as deepbid-rt export wrote it",
            todo="export or copy the engine again",
        )
    else:
        log.info("%s carries no digest, so damage would not be seen; an engine that is exported again has one", path)


def check_weights(path: Path, weights: Iterable[NDArray[Any]], *, convolves: bool) -> None:
    """Refuse a network whose numbers cannot be those of a trained one.

    Parameters
    ----------
    path : Path
        Of the engine file, for the message.
    weights : iterable of ndarray
        All constants of the network, of any type.
    convolves : bool
        True when the network has convolutions.

    Raises
    ------
    EngineError
        When a number is not finite, or all weights of all convolutions are 0.
    """
    convolutions = zeros = 0
    for array in weights:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise EngineError(
                f"{path} holds weights that are NaN or infinite",
                expected="finite numbers",
                todo="export or copy the engine again, or train it again",
            )
        if array.ndim >= _CONVOLUTION_AXES and array.size:
            convolutions += 1
            zeros += not array.any()
    if convolves and zeros == convolutions > 0:
        raise EngineError(
            f"all weights of {path} are 0",
            expected="a trained network",
            todo="export or copy the engine again",
        )
