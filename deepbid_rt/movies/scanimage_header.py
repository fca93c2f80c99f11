"""The header of a ScanImage file: where it lies, and what its values mean.

ScanImage 3.8 writes ``state.*=value`` with CR line ends into the description of each page. From 2016 on a header
``SI.* = value`` lies behind the header of the BigTIFF, with the ROI groups as JSON; the Software and Artist tags point
to it (https://docs.scanimage.org/Appendix/ScanImage%2BBigTiff%2BSpecification.html). Between them versions 4 to 2015
write ``scanimage.SI4.*``, ``scanimage.SI5.*`` or ``scanimage.SI.*`` into the description. Values are MATLAB
expressions, or JSON when so configured. Read off real files of 3.8, 5.7, 2021 and 2023; the others after published
readers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from deepbid_rt.movies.tiff_stack import ARTIST, SOFTWARE, TiffStack

_BLOCK_MAGIC = 117637889
_MAX_BLOCK = 2**25
_LINE = re.compile(r"^(?:scanimage\.)?(SI\d*|state)\.([\w.]{1,200}) ?= ?(.*)$")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|Inf|NaN)")


class ScanImageHeader:
    """The values of a header by name, such as ``hChannels.channelSave`` or ``acq.frameRate``.

    Parameters
    ----------
    values : mapping
        Names without ``SI.`` or ``state.``; MATLAB expressions as text, or values of JSON.
    legacy : bool
        True for ``state.*`` of ScanImage 3.
    rois : object
        The ROI groups (JSON), or None.
    """

    def __init__(self, values: Mapping[str, Any], *, legacy: bool, rois: Any = None) -> None:
        self._values, self.legacy, self._rois = values, legacy, rois

    def numbers(self, *names: str) -> list[float]:
        """Return the numbers of the first of several names that has any: of ``1``, ``[1 4]`` or ``[1;2]``."""
        for name in names:
            value = self._values.get(name)
            found = [float(one) for one in _NUMBER.findall(_text(value))] if value is not None else []
            if found:
                return found
        return []

    def number(self, *names: str) -> float | None:
        """Return the first finite number of the first name that has one; None when there is none."""
        return next((one for name in names for one in self.numbers(name)[:1] if math.isfinite(one)), None)

    def count(self, *names: str) -> int | None:
        """Return a whole number of 0 or more; None when there is none."""
        value = self.number(*names)
        return int(value) if value is not None and 0 <= value == int(value) < 2**31 else None

    def flag(self, *names: str) -> bool | None:
        """Return a truth value, of ``true`` or ``1``; None when no name has one."""
        for name in names:
            text = _text(self._values.get(name, "")).lower()
            if text in ("true", "1", "false", "0"):
                return text in ("true", "1")
        return None

    def strings(self, name: str) -> list[str]:
        """Return the texts in quotes of ``{'Channel 1' 'Channel 2'}``."""
        return re.findall(r"'([^']*)'", _text(self._values.get(name, "")))

    @property
    def version(self) -> str:
        """Such as ``2023.0``; empty when it is not stated."""
        names = ("software.version",) if self.legacy else ("VERSION_MAJOR", "VERSION_MINOR")
        parts = [_text(self._values.get(name, "")).strip("'\"") for name in names]
        return ".".join(part for part in parts if re.fullmatch(r"[\w.]{1,20}", part))

    @property
    def imaging_rois(self) -> list[dict[str, Any]]:
        """The ROIs that are imaged and not switched off."""
        found: Any = self._rois
        for name in ("RoiGroups", "imagingRoiGroup", "rois"):
            found = found.get(name) if isinstance(found, dict) else None
        rois = found if isinstance(found, list) else [found]
        return [roi for roi in rois if isinstance(roi, dict) and "scanfields" in roi and roi.get("enable", 1)]


def read_header(stack: TiffStack) -> ScanImageHeader | None:
    """Return the header of a ScanImage file; None when it is none."""
    software, description = stack.text(SOFTWARE), stack.description(0)
    rois = stack.text(ARTIST)
    text = software if _is_header(software) else description if _is_header(description) else ""
    if not text:
        text, rois = _block(stack)
    values, legacy = _values(text)
    return ScanImageHeader(values, legacy=legacy, rois=_json(rois)) if values else None


def _is_header(text: str) -> bool:
    if text.startswith("{"):
        return '"SI"' in text[:200]
    return text.startswith(("SI.", "state.")) or "scanimage.SI" in text


def _block(stack: TiffStack) -> tuple[str, str]:
    """Return header and ROI groups of the block behind the header of a BigTIFF; empty when there is none."""
    head = stack.head(32)
    if len(head) < 32 or int.from_bytes(head[16:20], "little") != _BLOCK_MAGIC:
        return "", ""
    header, rois = (int.from_bytes(head[at : at + 4], "little") for at in (24, 28))
    if header + rois > _MAX_BLOCK:
        return "", ""
    raw = stack.head(32 + header + rois)[32:]
    header_text, roi_text = (part.split(b"\0")[0].decode("utf-8", "replace") for part in (raw[:header], raw[header:]))
    return (header_text, roi_text) if _is_header(header_text) else ("", "")


def _values(text: str) -> tuple[dict[str, Any], bool]:
    if text.startswith("{"):
        tree = _json(text)
        found: dict[str, Any] = {}
        _flatten(tree.get("SI") if isinstance(tree, dict) else None, "", found)
        return found, False
    found, legacy = {}, False
    for line in re.split(r"[\r\n]+", text):
        if match := _LINE.match(line.strip()):
            found[match[2]] = match[3]
            legacy |= match[1] == "state"
    return found, legacy


def _flatten(tree: Any, name: str, found: dict[str, Any]) -> None:
    if isinstance(tree, dict):
        for key, value in tree.items():
            _flatten(value, f"{name}.{key}" if name else str(key), found)
    elif name:
        found[name] = tree


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(f"'{one}'" if isinstance(one, str) else _text(one) for one in value)
    return "" if value is None else str(value).strip()
