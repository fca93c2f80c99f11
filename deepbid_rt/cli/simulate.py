"""``deepbid-rt simulate``: publishes the frames of a simulated microscope."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from deepbid_rt.cli import options as o
from deepbid_rt.cli.output import print_json, progress_bar
from deepbid_rt.cli.publish import publish
from deepbid_rt.frame import Event, Frame
from deepbid_rt.recording.tiff_writer import TiffMovieWriter
from deepbid_rt.simulator.publisher import Faults
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings

PREPARED_BYTES = 2**30
"""Movies up to this size are simulated before the first frame is sent, larger ones while they are sent."""


def simulate_command(
    bind: o.BindOption = "tcp://127.0.0.1:5590",
    frames: o.FramesOption = 900,
    size: o.SizeOption = 512,
    rate_hz: o.RateOption = 30.0,
    scan: o.ScanOption = o.LayoutChoice.COLLINEAR,
    first: o.FirstOption = o.DirectionChoice.FORWARD,
    unmirrored: o.UnmirroredOption = False,
    unidirectional: o.UnidirectionalOption = False,
    photons: Annotated[float, typer.Option(min=0.0, help="Mean photons per pixel of one line.")] = 0.4,
    motion_px: Annotated[float, typer.Option("--motion", min=0.0, help="Motion of the tissue, pixels rms.")] = 1.0,
    line_phase_px: o.ScannedPhaseOption = 0.0,
    seed: o.SeedOption = 1,
    stamped: Annotated[bool, typer.Option("--stamped", help="Write the number of each frame into its pixels.")] = False,
    truth: Annotated[Path | None, typer.Option(help="Write the clean movie to this new TIFF.")] = None,
    raw: Annotated[Path | None, typer.Option(help="Write the noisy movie to this new TIFF.")] = None,
    wait: o.WaitOption = False,
    drop: o.DropOption = 0.0,
    jitter_ms: o.JitterOption = 0.0,
    restart: o.RestartOption = None,
    keys: o.KeysOption = None,
    insecure_lan: o.InsecureOption = False,
    lossless: o.LosslessOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Publish a simulated two-photon movie. The clean movie can be written to a file."""
    o.check_bind(bind, insecure_lan, keys)
    o.check_lossless(lossless, drop)
    o.check_restart(restart, frames)
    geometry = o.scan_geometry(scan, first, unmirrored, unidirectional, line_phase_px)
    scene = SceneSettings(seed=seed, motion_px=motion_px)
    settings = ScanSettings(
        size=(size, size),
        rate_hz=rate_hz,
        scan=geometry,
        line_phase_px=line_phase_px,
        photons=photons,
        seed=seed,
    )
    with ExitStack() as stack:
        truth_file = stack.enter_context(closing(TiffMovieWriter(truth))) if truth else None
        raw_file = stack.enter_context(closing(TiffMovieWriter(raw))) if raw else None

        def write_truth(index: int, image: NDArray[np.float32]) -> None:
            if truth_file:
                truth_file.append(image, index, index / rate_hz)

        microscope = SyntheticSource(scene, settings, frames, stamped=stamped, on_truth=write_truth)
        source = _RecordedMicroscope(microscope, raw_file)
        prepared = microscope.info.frame_bytes * frames <= PREPARED_BYTES
        summary = publish(
            source,
            bind,
            rate_hz=rate_hz,
            rounds=1,
            faults=Faults(drop, jitter_ms, restart),
            wait=wait,
            insecure_lan=insecure_lan,
            keys=keys,
            lossless=lossless,
            prepare=source.prepare if prepared else None,
        )
    if as_json:
        print_json(asdict(summary))


class _RecordedMicroscope:
    """A simulated microscope that also writes its frames to a file, and can simulate all of them in advance."""

    def __init__(self, microscope: SyntheticSource, raw_file: TiffMovieWriter | None) -> None:
        self._microscope = microscope
        self._raw_file = raw_file
        self._ahead: deque[Event] = deque()

    def prepare(self) -> None:
        """Simulate all frames now, with a progress bar."""
        self._microscope.open()
        with progress_bar() as bar:
            task = bar.add_task("simulating", total=self._microscope.info.n_expected, note="")
            while (event := self._simulate()) is not None:
                self._ahead.append(event)
                bar.update(task, advance=isinstance(event, Frame))

    def open(self) -> None:
        """Start the microscope, unless its frames were simulated in advance."""
        if not self._ahead:
            self._microscope.open()

    def read(self, timeout_s: float) -> Event | None:
        """Return the next event; see `SyntheticSource.read`."""
        return self._ahead.popleft() if self._ahead else self._simulate()

    def close(self) -> None:
        """Stop the microscope."""
        self._microscope.close()

    def _simulate(self) -> Event | None:
        event = self._microscope.read(0.0)
        if isinstance(event, Frame) and self._raw_file:
            self._raw_file.append(event.pixels, event.index, event.index / self._microscope.info.rate_hz)
        return event
