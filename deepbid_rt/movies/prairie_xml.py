"""The XML of PrairieView (Bruker, formerly Prairie Technologies): cycles, frames, files and the state of the scan.

A ``PVScan`` holds the state of the scan (``PVStateShard``) and one ``Sequence`` per cycle. A ``Sequence`` holds one
``Frame`` per frame, and that one ``File`` per channel. A ``Frame`` repeats what differs from the state of the scan.
Read off real files of version 5.6, which write each value of the state as ``PVStateValue``. Earlier versions are known
to write ``Key``; no file of theirs was at hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deepbid_rt.errors import FileError
from deepbid_rt.movies.safe_xml import feed_xml, integer_of, number_of

MAX_PRAIRIE_BYTES = 2**29
"""Largest XML that is read: about a million frames."""
_MAX_FRAMES = 4_000_000
_MAX_FILES = 64
_MAX_VALUES = 4096
_CHANGING = ("micronsPerPixel/XAxis", "micronsPerPixel/YAxis", "opticalZoom", "linesPerFrame", "pixelsPerLine")


@dataclass(frozen=True, slots=True)
class PrairieFile:
    """Where one channel of a frame lies."""

    channel: int
    name: str
    """Name of the file."""
    page: int | None
    """Its page, from 1; None when the XML does not say it."""
    channel_name: str


@dataclass(frozen=True, slots=True)
class PrairieFrame:
    """One frame."""

    index: int
    """Its number in the cycle, from 1."""
    relative_s: float | None
    absolute_s: float | None
    files: tuple[PrairieFile, ...]
    z_um: tuple[float, ...]
    """Positions of the focus devices, as far as the frame says them."""


@dataclass(frozen=True, slots=True)
class PrairieCycle:
    """One ``Sequence``."""

    number: int
    kind: str
    """Its type, such as ``TSeries ZSeries Element``."""
    bidirectional_z: bool
    tiles: int
    """Positions of the stage that it belongs to; 1 without a grid."""
    frames: list[PrairieFrame] = field(default_factory=list)


@dataclass(slots=True)
class PrairieScan:
    """What an XML of PrairieView says."""

    version: str = ""
    state: dict[str, str] = field(default_factory=dict)
    """State of the scan; values with an index under ``key/index``."""
    first_frame: dict[str, str] = field(default_factory=dict)
    """What the first frame says differently."""
    changed: list[str] = field(default_factory=list)
    """Keys of the geometry whose values change from frame to frame."""
    cycles: list[PrairieCycle] = field(default_factory=list)
    problem: str | None = None
    """What is wrong with an XML whose whole frames are salvaged."""

    def value(self, key: str) -> str | None:
        """Return a value as the first frame or else the scan says it; None when neither does."""
        return self.first_frame.get(key, self.state.get(key))

    def number(self, key: str) -> float | None:
        """Return a positive value as a number; None when it is missing, no number or not positive."""
        value = number_of({key: self.value(key) or ""}, key)
        return value if value is not None and value > 0 else None


def read_prairie_xml(path: Path, *, salvage: bool = False) -> PrairieScan:
    """Read the XML of a recording of PrairieView.

    Parameters
    ----------
    path : Path
        The XML.
    salvage : bool
        Return the whole frames of an XML that is cut off; `PrairieScan.problem` then says what is wrong.

    Raises
    ------
    FileError
        When it cannot be read, is cut off, or is none of PrairieView.
    """
    target = _Target(path)
    problem = feed_xml(path, target, MAX_PRAIRIE_BYTES)
    if problem and not salvage:
        raise FileError(
            f"{path} is no whole XML ({problem})",
            expected="the XML that PrairieView wrote when the recording ended",
            todo="copy it again, wait until the recording has ended, or use its whole frames with --salvage",
        )
    target.scan.problem = problem and f"its XML is damaged ({problem})"
    return target.scan


class _Target:
    """Collects the frames while the XML is read, so that it is never kept as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.scan = PrairieScan()
        self._inside: list[str] = []
        self._state = self.scan.state
        self._key = self._index = ""
        self._frame: dict[str, str] | None = None
        self._files: list[PrairieFile] = []
        self._frame_state: dict[str, str] = {}
        self._geometry: dict[str, str] = {}
        self._frames = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._inside and tag != "PVScan":
            raise FileError(
                f"{self._path} whose outermost element is {tag}",
                expected="an XML of PrairieView, whose outermost element is PVScan",
                todo="give the XML beside the .ome.tif files that has the name of the recording",
            )
        self._inside.append(tag)
        match tag:
            case "PVScan":
                self.scan.version = attributes.get("version", "")
            case "Sequence":
                self._start_cycle(attributes)
            case "Frame":
                self._frame, self._files, self._frame_state = attributes, [], {}
                self._state = self._frame_state
            case "File":
                self._add_file(attributes)
            case "PVStateValue" | "Key":
                self._key = attributes.get("key", "")
                self._put(self._key.replace("_", "/"), attributes)
            case "IndexedValue":
                self._put(f"{self._key}/{attributes.get('index', '')}", attributes)
            case "SubindexedValues":
                self._index = attributes.get("index", "")
            case "SubindexedValue":
                self._put(f"{self._key}/{self._index}/{attributes.get('subindex', '')}", attributes)

    def end(self, tag: str) -> None:
        self._inside.pop()
        if tag == "Frame":
            self._end_frame()

    def _put(self, key: str, attributes: dict[str, str]) -> None:
        if "value" in attributes and len(self._state) < _MAX_VALUES:
            self._state[key] = attributes["value"]

    def _start_cycle(self, attributes: dict[str, str]) -> None:
        tiles = 1
        if attributes.get("xYStageGridDefined") == "True":
            tiles = integer_of(attributes, "xYStageGridNumXPositions", 1) * integer_of(
                attributes, "xYStageGridNumYPositions", 1
            )
        number = integer_of(attributes, "cycle", len(self.scan.cycles) + 1)
        kind, both = attributes.get("type", ""), attributes.get("bidirectionalZ") == "True"
        self.scan.cycles.append(PrairieCycle(number, kind, both, tiles))
        self._state = {}  # what a cycle repeats is not needed

    def _add_file(self, attributes: dict[str, str]) -> None:
        channel = integer_of(attributes, "channel", len(self._files) + 1)
        page = integer_of(attributes, "page", 0) or None
        name = attributes.get("filename", "")
        if self._frame is None or not name or len(self._files) == _MAX_FILES or (page or 1) < 1:
            raise FileError(
                f"{self._path} with a File element that names no file of a frame",
                expected="one File element per channel in each Frame, with filename and channel",
                todo="give the XML as PrairieView wrote it",
            )
        self._files.append(PrairieFile(channel, name, page, attributes.get("channelName", f"Ch{channel}")))

    def _end_frame(self) -> None:
        attributes, state = self._frame or {}, self._frame_state
        self._frame, self._state = None, {}
        self._frames += 1
        if not self.scan.cycles or self._frames > _MAX_FRAMES:
            raise FileError(
                f"{self._path} with frames outside a Sequence, or with more than {_MAX_FRAMES}",
                expected="Frame elements inside Sequence elements",
                todo="give the XML as PrairieView wrote it",
            )
        if self._frames == 1:
            self.scan.first_frame = state
            self._geometry = {key: state.get(key, self.scan.state.get(key, "")) for key in _CHANGING}
        else:
            for key, first in self._geometry.items():
                if state.get(key, self.scan.state.get(key, "")) != first and key not in self.scan.changed:
                    self.scan.changed.append(key)
        frames = self.scan.cycles[-1].frames
        z = tuple(number_of(state, key, 0.0) or 0.0 for key in sorted(state) if key.startswith("positionCurrent/ZAxis"))
        frames.append(
            PrairieFrame(
                integer_of(attributes, "index", len(frames) + 1),
                number_of(attributes, "relativeTime"),
                number_of(attributes, "absoluteTime"),
                tuple(sorted(self._files, key=lambda one: one.channel)),
                z,
            )
        )
