"""Options that several commands share, each defined once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.runtimes import DEFAULT_ENGINE
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy


class Layout(StrEnum):
    """How the lines of a frame lie."""

    COLLINEAR = "collinear"
    ORDINARY = "ordinary"


class Direction(StrEnum):
    """Direction of the first line."""

    FORWARD = "forward"
    BACKWARD = "backward"


class Merge(StrEnum):
    """What becomes of the two views of a collinear frame."""

    MEAN = "mean"
    FORWARD = "forward"
    BACKWARD = "backward"
    INTERLEAVE = "interleave"


class Gap(StrEnum):
    """What missing frames do to the temporal state."""

    AUTO = "auto"
    RESET = "reset"
    HOLD = "hold"


class Precision(StrEnum):
    """Arithmetic of the network."""

    AUTO = "auto"
    BF16 = "bf16"
    F32 = "f32"


class Runtime(StrEnum):
    """What runs an .onnx file."""

    AUTO = "auto"
    OPENVINO = "openvino"
    TORCH = "torch"


EngineOption = Annotated[
    str, typer.Option("--engine", help="Engine file (.onnx, .plan), shipped engine, average, or echo.")
]
RuntimeOption = Annotated[Runtime, typer.Option(help="What runs an .onnx file; auto is openvino.")]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Take a .plan from any folder; a plan is a program and runs as you.")
]
ENGINE_DEFAULT = DEFAULT_ENGINE
PrecisionOption = Annotated[Precision, typer.Option(help="Arithmetic; auto takes bf16 where the processor has it.")]
ThreadsOption = Annotated[int, typer.Option(min=0, help="CPU threads of the engine; 0 lets the runtime decide.")]
MergeOption = Annotated[Merge, typer.Option(help="What becomes of the two views of a collinear frame.")]
GapOption = Annotated[
    Gap, typer.Option(help="What missing frames do to the temporal state; auto: memories hold, windows reset.")
]
StabilizeOption = Annotated[
    bool, typer.Option("--stabilize", help="Register the denoised movie to where the tissue lay first.")
]
HttpOption = Annotated[
    str | None, typer.Option("--http", help="Show a read-only page to browsers at HOST:PORT, such as 127.0.0.1:8080.")
]
HttpTokenOption = Annotated[
    str | None,
    typer.Option(
        "--http-token", envvar="DEEPBID_RT_HTTP_TOKEN", help="What browsers must know; needed beyond this computer."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]
ScanOption = Annotated[
    Layout, typer.Option("--scan", help="collinear: lines 2k and 2k+1 scan the same place; ordinary: each line once.")
]
FirstOption = Annotated[Direction, typer.Option("--first", help="Direction of the first line.")]
UnmirroredOption = Annotated[
    bool, typer.Option("--unmirrored", help="Backward lines still stand in the order of their sampling.")
]
UnidirectionalOption = Annotated[bool, typer.Option("--unidirectional", help="All lines are scanned in one direction.")]
ChannelsOption = Annotated[int, typer.Option(min=1, max=8, help="Channels that alternate as pages of the file.")]
PlanesOption = Annotated[int, typer.Option(min=1, help="Planes that are scanned in turn.")]
FramesOption = Annotated[int, typer.Option("--frames", min=1, help="Length of the movie.")]
SizeOption = Annotated[int, typer.Option("--size", min=8, max=2048, help="Lines and pixels of the field of view.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Draws tissue, activity, motion and noise.")]
BindOption = Annotated[str, typer.Option("--bind", help="Address to publish on; port 0 takes a free one.")]
RateOption = Annotated[float, typer.Option("--rate", min=0.001, help="Frames per second.")]
InsecureOption = Annotated[
    bool, typer.Option("--insecure-lan", help="Publish beyond this computer, without encryption.")
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait for a first subscriber before the first frame.")]
DropOption = Annotated[float, typer.Option(min=0.0, max=1.0, help="Rehearsal: share of frames lost on the wire.")]
JitterOption = Annotated[float, typer.Option("--jitter", min=0.0, help="Rehearsal: frames late by up to this, ms.")]
ScannedPhaseOption = Annotated[
    float, typer.Option("--line-phase", help="Rehearsal: backward lines lie so many pixels further right.")
]
LinePhaseOption = Annotated[
    str,
    typer.Option(
        "--line-phase",
        metavar="auto|off|PX",
        help="Backward lines lie this many pixels too far right and are moved back; auto: as measured.",
    ),
]
RestartOption = Annotated[
    int | None, typer.Option("--restart", min=1, help="Rehearsal: begin a new series after this many frames.")
]


def line_phase(text: str) -> LinePhasePolicy:
    """Read what is to be done about the line phase. Raises `StreamError` when it says nothing known."""
    words: dict[str, LinePhasePolicy] = {"auto": "auto", "off": "off"}
    try:
        return words[text] if text in words else float(text)
    except ValueError as error:
        raise StreamError(
            f"line phase {text!r}", expected="auto, off, or a number of pixels", todo="write it as auto, off or 0.7"
        ) from error


def geometry(scan: Layout, first: Direction, unmirrored: bool, unidirectional: bool) -> ScanGeometry:
    """Put the options on scanning together. Raises `StreamError` when they contradict each other."""
    return ScanGeometry(scan.value, not unidirectional, first.value, not unmirrored)
