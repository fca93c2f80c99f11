"""The options that several commands share, and checks that refuse those that cannot take effect."""

from __future__ import annotations

import math
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.api.access import End, check_access
from deepbid_rt.errors import FileError, OptionError, StreamError, require_effect
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.movies.wanted import Wanted
from deepbid_rt.runtimes import DEFAULT_ENGINE
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy


class LayoutChoice(StrEnum):
    """Scan layout: what the lines of a frame show."""

    COLLINEAR = "collinear"
    ORDINARY = "ordinary"


class DirectionChoice(StrEnum):
    """Scan direction of the first line."""

    FORWARD = "forward"
    BACKWARD = "backward"


class MergeChoice(StrEnum):
    """How the two views of a collinear frame are merged."""

    MEAN = "mean"
    FORWARD = "forward"
    BACKWARD = "backward"
    INTERLEAVE = "interleave"


class GapChoice(StrEnum):
    """How missing frames change the temporal state of the engine."""

    AUTO = "auto"
    RESET = "reset"
    HOLD = "hold"


class PrecisionChoice(StrEnum):
    """Arithmetic of the network."""

    AUTO = "auto"
    BF16 = "bf16"
    F32 = "f32"


class RuntimeChoice(StrEnum):
    """Runtime for an .onnx file."""

    AUTO = "auto"
    OPENVINO = "openvino"
    TORCH = "torch"


HTTP_TOKEN_VARIABLE = "DEEPBID_RT_HTTP_TOKEN"

EngineOption = Annotated[
    str, typer.Option("--engine", help="Engine: a file (.onnx, .plan), the name of a shipped engine, average, or echo.")
]
RuntimeOption = Annotated[RuntimeChoice, typer.Option(help="Runtime for an .onnx file; auto: openvino.")]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Accept a .plan from any folder. A plan is a program and runs with your rights.")
]
ENGINE_DEFAULT = DEFAULT_ENGINE
PrecisionOption = Annotated[
    PrecisionChoice, typer.Option(help="Arithmetic of the network; auto: bf16 if the processor supports it.")
]
ThreadsOption = Annotated[int, typer.Option(min=0, help="CPU threads of the engine; 0: the runtime decides.")]
MergeOption = Annotated[MergeChoice, typer.Option(help="How the two views of a collinear frame are merged.")]
GapOption = Annotated[
    GapChoice,
    typer.Option(
        help="What missing frames do to the temporal state; auto: hold for stream engines, reset for window engines."
    ),
]
StabilizeOption = Annotated[bool, typer.Option("--stabilize", help="Register the denoised movie to its first frame.")]
DenoiseChannelsOption = Annotated[
    str | None,
    typer.Option(
        "--denoise-channels",
        metavar="LIST",
        help="Channels to denoise, such as 0 or 0,2; the others are passed through. By default all.",
    ),
]
HttpOption = Annotated[
    str | None, typer.Option("--http", help="Show a read-only page to browsers at HOST:PORT, such as 127.0.0.1:8080.")
]
HttpTokenOption = Annotated[
    str | None,
    typer.Option(
        "--http-token",
        envvar=HTTP_TOKEN_VARIABLE,
        help="Token that browsers must send; required for addresses beyond this computer.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
ScanOption = Annotated[
    LayoutChoice,
    typer.Option(
        "--scan", help="collinear: lines 2k and 2k+1 scan the same tissue; ordinary: each line scans other tissue."
    ),
]
FirstOption = Annotated[DirectionChoice, typer.Option("--first", help="Scan direction of the first line.")]
UnmirroredOption = Annotated[
    bool,
    typer.Option("--unmirrored", help="The pixels of backward lines are in sampling order, not yet in image order."),
]
UnidirectionalOption = Annotated[
    bool, typer.Option("--unidirectional", help="All lines are scanned in the same direction.")
]
MovieChannelsOption = Annotated[
    int | None,
    typer.Option("--channels", min=1, max=8, help="Number of channels; by default as the recording says, else 1."),
]
MoviePlanesOption = Annotated[
    int | None,
    typer.Option(
        "--planes", min=1, help="Number of planes, which are scanned in turn; by default as the recording says, else 1."
    ),
]
FlybackOption = Annotated[
    int | None,
    typer.Option("--flyback", min=0, help="Frames left out after the planes; by default as the recording says."),
]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="Which array of an HDF5, NWB, MESc, Zarr or .npz file.")
]
RawShapeOption = Annotated[
    str | None, typer.Option("--shape", help="Y,X or C,Y,X of a file that does not say it: pixels alone, or an array.")
]
RawTypeOption = Annotated[str | None, typer.Option("--dtype", help="Pixel type of pixels alone, such as int16.")]
SalvageOption = Annotated[
    bool, typer.Option("--salvage", help="Use the whole frames of a file that is cut off or damaged.")
]
MovieRateOption = Annotated[
    float | None,
    typer.Option("--rate", min=0.001, help="Frames per second; by default as the recording says, else 30."),
]
FramesOption = Annotated[int, typer.Option("--frames", min=1, help="Length of the movie, frames.")]
SizeOption = Annotated[int, typer.Option("--size", min=8, max=2048, help="Lines and pixels of the field of view.")]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Seed of the random tissue, activity, motion and noise.")
]
BindOption = Annotated[str, typer.Option("--bind", help="Address to publish on; port 0: any free port.")]
RateOption = Annotated[float, typer.Option("--rate", min=0.001, help="Frames per second.")]
InsecureOption = Annotated[
    bool,
    typer.Option("--insecure-lan", help="Allow addresses of other computers without keys; nothing is encrypted."),
]
KeysOption = Annotated[
    Path | None,
    typer.Option("--keys", help="Folder of this computer's keys, made by deepbid-rt keys: encrypts its streams."),
]
ServerKeyOption = Annotated[
    Path | None,
    typer.Option("--server-key", help="Public key (NAME.pub) of the computer to connect to; needs --keys."),
]
LosslessOption = Annotated[
    bool,
    typer.Option("--lossless", help="Lose no frame between one sender and one consumer, both with --lossless."),
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait for a subscriber before sending the first frame.")]
DropOption = Annotated[float, typer.Option(min=0.0, max=1.0, help="For tests: fraction of frames lost on the wire.")]
JitterOption = Annotated[
    float, typer.Option("--jitter", min=0.0, help="For tests: largest random delay of a frame, ms.")
]
ScannedPhaseOption = Annotated[
    float,
    typer.Option(
        "--line-phase", help="For tests: line phase; backward lines are displaced to the right by so many pixels."
    ),
]
MaxLatencyOption = Annotated[
    str,
    typer.Option(
        "--max-latency",
        metavar="MS|none",
        help="Live output shows the present: frames that would come out later than MS milliseconds after their arrival "
        "are skipped when newer ones wait; none: every frame is denoised, however late.",
    ),
]
LinePhaseOption = Annotated[
    str,
    typer.Option(
        "--line-phase",
        metavar="auto|off|PX",
        help="Line phase to correct: move backward lines to the left by PX pixels; auto: as measured; off: never.",
    ),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")]
RestartOption = Annotated[
    int | None, typer.Option("--restart", min=1, help="For tests: begin a new series after this many frames.")
]


def parse_channels(text: str | None) -> tuple[int, ...] | None:
    """Return the channels that ``0,2`` names; None for all. Raises `typer.BadParameter` for anything else."""
    if text is None:
        return None
    if not re.fullmatch(r"\d+( *, *\d+)*", text.strip()):
        raise typer.BadParameter(
            f"{text!r}; expected numbers of channels from 0, such as 0 or 0,2; separate them by commas"
        )
    return tuple(int(number) for number in text.split(","))


def parse_line_phase(text: str) -> LinePhasePolicy:
    """Parse the value of ``--line-phase``. Raises `StreamError` when it is neither auto, off nor a number."""
    words: dict[str, LinePhasePolicy] = {"auto": "auto", "off": "off"}
    try:
        return words[text] if text in words else float(text)
    except ValueError as error:
        raise StreamError(
            f"line phase {text!r}", expected="auto, off, or a number of pixels", todo="write it as auto, off or 0.7"
        ) from error


def parse_max_latency(text: str) -> float | None:
    """Parse the value of ``--max-latency``, milliseconds. Raises `StreamError` when it is neither none nor a number."""
    if text == "none":
        return None
    try:
        limit_ms = float(text)
    except ValueError:
        limit_ms = math.nan
    if not 1.0 <= limit_ms <= 1e6:
        raise StreamError(
            f"a latency of {text!r}", expected="none, or 1 to 1,000,000 milliseconds", todo="write it as 200 or none"
        )
    return limit_ms


def wanted(
    channels: int | None = None,
    planes: int | None = None,
    flyback: int | None = None,
    dataset: str | None = None,
    shape: str | None = None,
    dtype: str | None = None,
    salvage: bool = False,
) -> Wanted:
    """Return what the options say about a recording. Raises `OptionError` when the shape is no list of numbers."""
    sides: tuple[int, ...] | None = None
    if shape is not None:
        parts = shape.replace("x", ",").split(",")
        if not 2 <= len(parts) <= 4 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
            raise OptionError(
                f"--shape {shape}",
                expected="whole numbers such as 512,512",
                todo="write lines, then pixels in a line, or leave --shape out",
            )
        sides = tuple(int(part) for part in parts)
    return Wanted(channels, planes, flyback, dataset, sides, dtype, salvage)


def scan_geometry(
    scan: LayoutChoice,
    first: DirectionChoice,
    unmirrored: bool,
    unidirectional: bool,
    line_phase: LinePhasePolicy = "auto",
) -> ScanGeometry:
    """Return the scan geometry that the options describe.

    Raises
    ------
    StreamError
        When the options contradict each other.
    OptionError
        When an option says something about backward lines, and there are none.
    """
    geometry = ScanGeometry(scan.value, not unidirectional, first.value, not unmirrored)
    about_backward_lines = {
        f"--first {first.value}": first is not DirectionChoice.FORWARD,
        "--unmirrored": unmirrored,
        # "off" and 0 are accepted: nothing is moved, as asked.
        f"--line-phase {line_phase}": not isinstance(line_phase, str) and line_phase != 0,
    }
    for option, asked in about_backward_lines.items():
        require_effect(
            option,
            asked,
            not unidirectional,
            why="with --unidirectional, as there are no backward lines",
            expected="a bidirectional scan",
            todo="leave --unidirectional out",
        )
    return geometry


def check_page_options(http: str | None, http_token: str | None) -> None:
    """Raise `OptionError` when a token is given and there is no page.

    A token in the environment is accepted: it is set once, for all sessions of a user.
    """
    require_effect(
        "--http-token",
        http_token and http_token != os.environ.get(HTTP_TOKEN_VARIABLE),
        http,
        why="without --http",
        expected="--http HOST:PORT beside it",
        todo="add --http",
    )


def check_overwrite(out: Path, overwrite: bool) -> None:
    """Raise `FileError` when a file would be replaced that nobody asked to replace."""
    if out.exists() and not overwrite:
        raise FileError(f"{out} exists already", expected="a new name", todo="choose another name, or add --overwrite")


def check_bind(bind: str, insecure_lan: bool, keys: Path | None) -> None:
    """Raise `OptionError` when ``--insecure-lan`` is given for a loopback address, or beside keys."""
    check_access([End(bind, keys)], keys=keys, server_keys={}, insecure_lan=insecure_lan, binds=True)


def check_connect(endpoint: str, insecure_lan: bool, keys: Path | None, server_key: Path | None) -> None:
    """Raise `OptionError` when an option about access to another computer cannot take effect."""
    check_access(
        [End(endpoint, server_key)],
        keys=keys,
        server_keys={"--server-key": server_key},
        insecure_lan=insecure_lan,
        binds=False,
    )


def check_lossless(lossless: bool, drop: float) -> None:
    """Raise `OptionError` when frames are to be lost on purpose of a stream that loses none."""
    require_effect(
        f"--drop {drop:g}",
        drop,
        not lossless,
        why="with --lossless, which loses no frame",
        expected="one of the two",
        todo="leave --lossless out",
    )


def check_restart(restart: int | None, frames: int) -> None:
    """Raise `OptionError` when a movie of so many frames ends before the restart."""
    require_effect(
        f"--restart {restart}",
        restart,
        restart is None or restart < frames,
        why=f"in a movie of {frames} frames",
        expected=f"less than {frames}",
        todo="choose a smaller number",
    )
