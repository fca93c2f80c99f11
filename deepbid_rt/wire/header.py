"""The header of a message: a msgpack map with strict reading and canonical packing.

Every fault in a received header raises `WireError`.
"""

from __future__ import annotations

import hashlib
import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from deepbid_rt.errors import WireError

MAX_HEADER_BYTES = 64 * 1024
MAX_INT = 2**63 - 1
MAX_DEPTH = 8
"""Largest nesting of maps and lists, the header itself included."""
MAX_ITEMS = 1024
"""Largest number of entries of one map or list."""
_SCALARS = frozenset((type(None), bool, int, float, str))
CHECK_SENDER = "check the sender against bridge/PROTOCOL.md"


def pack(values: Mapping[str, Any]) -> bytes:
    """Pack plain values canonically: keys sorted at every level, integers in their shortest form, floats with 64 bits.

    Raises
    ------
    WireError
        When a value is not plain (nil, bool, int, float, str, list, map).
    """
    try:
        packed: bytes = msgpack.packb(_in_order(values), use_bin_type=True)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WireError(
            "header",
            f"a header that cannot be packed ({error})",
            expected="nil, bool, int, float, str, lists and maps of these",
            todo="turn other values into text or numbers before sending",
        ) from error
    return packed


def digest(values: Mapping[str, Any]) -> str:
    """Return the first 16 hex digits of the SHA-256 of the canonically packed values."""
    return hashlib.sha256(pack(values)).hexdigest()[:16]


class Header:
    """A received map. Each value is checked for type and range when it is read.

    Parameters
    ----------
    values : Mapping
        Plain values by key.
    name : str
        Name of this map in error messages.
    """

    __slots__ = ("name", "values")

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self.values = values
        self.name = name

    @classmethod
    def unpack(cls, data: memoryview) -> Header:
        """Read a packed header. Raises `WireError` when it is too long, not a msgpack map, or not plain."""
        if data.nbytes > MAX_HEADER_BYTES:
            raise WireError(
                "header-size",
                f"a header of {data.nbytes} bytes",
                expected=f"at most {MAX_HEADER_BYTES}",
                todo="move long descriptions out of the stream",
            )
        try:
            values = msgpack.unpackb(
                data,
                raw=False,
                strict_map_key=True,
                max_str_len=MAX_HEADER_BYTES,
                max_bin_len=0,
                max_array_len=MAX_ITEMS,
                max_map_len=MAX_ITEMS,
                max_ext_len=0,
            )
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
            raise WireError(
                "header",
                f"a header that is not msgpack ({reprlib.repr(str(error))})",
                expected="one msgpack map with string keys and plain values",
                todo=CHECK_SENDER,
            ) from error
        if not isinstance(values, dict) or not is_plain(values, MAX_DEPTH):
            raise WireError(
                "header",
                "a header that is not a map of plain values",
                expected=f"one msgpack map with string keys, no bin or ext values, at most {MAX_DEPTH} levels",
                todo=CHECK_SENDER,
            )
        return cls(values, "the header")

    def integer(self, key: str, *, low: int = 0, high: int = MAX_INT, default: int | None = None) -> int:
        """Return an integer in low..high, or `default`, if given, when the key is absent or nil."""
        value = self._get(key, default)
        # type() and not isinstance(): in Python a bool is an int, but on the wire it is not.
        if type(value) is not int or not low <= value <= high:
            raise self.refusal(key, f"an integer from {low} to {high}")
        return value

    def integer_or_none(self, key: str, *, low: int = 0, high: int = MAX_INT) -> int | None:
        """Return an integer in low..high, or None when the key is absent or nil."""
        return None if self.values.get(key) is None else self.integer(key, low=low, high=high)

    def number(self, key: str) -> float:
        """Return a finite int or float."""
        value = self._get(key, None)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.refusal(key, "a finite number")
        return float(value)

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return a list of finite ints or floats; empty when absent or nil."""
        values = self._get(key, [])
        if not isinstance(values, list) or not all(type(v) in (int, float) and math.isfinite(v) for v in values):
            raise self.refusal(key, "a list of finite numbers")
        return tuple(float(v) for v in values)

    def text(self, key: str, *, default: str | None = None) -> str:
        """Return a string."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.refusal(key, "a string")
        return value

    def choice(self, key: str, choices: Sequence[str], *, default: str | None = None) -> str:
        """Return one of the given strings."""
        value = self._get(key, default)
        if not isinstance(value, str) or value not in choices:
            raise self.refusal(key, f"one of {', '.join(choices)}")
        return value

    def boolean(self, key: str, *, default: bool) -> bool:
        """Return a bool."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.refusal(key, "true or false")
        return value

    def section(self, key: str) -> Header:
        """Return the map under ``key``; empty when absent or nil."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self.refusal(key, "a map")
        return Header(value, f"{self.name}'s {key}")

    def refusal(self, key: str, expected: str, *, kind: str = "key") -> WireError:
        """Return the error for a value that is missing or not as expected."""
        came = f"{key} = {reprlib.repr(self.values[key])}" if key in self.values else f"no {key}"
        return WireError(kind, f"{came} in {self.name}", expected=f"{key} to be {expected}", todo=CHECK_SENDER)

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        return default if value is None else value


def is_plain(value: object, depth: int) -> bool:
    """Return True for nil, bool, int, float, str, and maps and lists of these that are at most `depth` levels deep."""
    if type(value) in _SCALARS:
        return True
    if depth <= 0:
        return False
    if isinstance(value, dict):
        return all(
            type(key) is str and (type(item) in _SCALARS or is_plain(item, depth - 1)) for key, item in value.items()
        )
    if isinstance(value, list):
        return all(type(item) in _SCALARS or is_plain(item, depth - 1) for item in value)
    return False


def _in_order(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _in_order(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_in_order(item) for item in value]
    return value
