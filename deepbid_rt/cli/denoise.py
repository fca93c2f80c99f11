"""``deepbid-rt denoise``: denoises a recording into a new file."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.api.arguments import check_merge
from deepbid_rt.cli import options as o
from deepbid_rt.cli.config import ConfigOption
from deepbid_rt.cli.movie_facts import say_facts
from deepbid_rt.cli.output import print_json, progress_bar, say
from deepbid_rt.denoising.denoiser import Denoiser, check_stabilizes
from deepbid_rt.denoising.offline import denoise
from deepbid_rt.errors import FileError
from deepbid_rt.frame import StreamInfo
from deepbid_rt.live.line_phase_monitor import NO_LINE_PHASE, LinePhaseReading
from deepbid_rt.live.motion_stats import MotionStats
from deepbid_rt.movies.constant import check_not_constant
from deepbid_rt.movies.movie_source import MovieSource
from deepbid_rt.recording.acquisition_facts import page_facts
from deepbid_rt.recording.tiff_writer import SOFTWARE, TiffMovieWriter
from deepbid_rt.runtimes import engine_digest, load_engine


def denoise_command(
    source_path: Annotated[
        Path, typer.Argument(metavar="IN", help="Recording to denoise: a file, folder, or pattern with *.")
    ],
    out_path: Annotated[
        Path, typer.Argument(metavar="OUT.tif", help="Denoised recording to write; must not exist yet.")
    ],
    engine_name: o.EngineOption = o.ENGINE_DEFAULT,
    scan: o.ScanOption = o.LayoutChoice.ORDINARY,
    first: o.FirstOption = o.DirectionChoice.FORWARD,
    unmirrored: o.UnmirroredOption = False,
    unidirectional: o.UnidirectionalOption = False,
    channels: o.MovieChannelsOption = None,
    planes: o.MoviePlanesOption = None,
    flyback: o.FlybackOption = None,
    dataset: o.DatasetOption = None,
    shape: o.RawShapeOption = None,
    dtype: o.RawTypeOption = None,
    rate_hz: o.MovieRateOption = None,
    merge: o.MergeOption = o.MergeChoice.MEAN,
    stabilize: o.StabilizeOption = False,
    line_phase: o.LinePhaseOption = "auto",
    denoise_channels: o.DenoiseChannelsOption = None,
    precision: o.PrecisionOption = o.PrecisionChoice.AUTO,
    threads: o.ThreadsOption = 0,
    runtime: o.RuntimeOption = o.RuntimeChoice.AUTO,
    trust: o.TrustOption = False,
    salvage: o.SalvageOption = False,
    config: ConfigOption = None,
    as_json: o.JsonOption = False,
) -> None:
    """Denoise a recording. OUT has the pixel type and frames that `info IN` shows (collinear scans: half its lines)."""
    policy = o.parse_line_phase(line_phase)
    chosen = o.parse_channels(denoise_channels)
    geometry = o.scan_geometry(scan, first, unmirrored, unidirectional, policy)
    check_merge(f"--merge {merge.value}", merge.value, scan.value)
    engine = load_engine(engine_name, precision=precision.value, threads=threads, runtime=runtime.value, trust=trust)
    wanted = o.wanted(channels, planes, flyback, dataset, shape, dtype, salvage)
    source = MovieSource(source_path, wanted, scan=geometry, rate_hz=rate_hz)
    if out_path.exists():
        raise FileError(
            f"{out_path} exists already",
            expected="a new name, since recordings are never overwritten",
            todo="choose another name or move that file away",
        )
    part = out_path.with_name(out_path.name + ".part")
    with ExitStack() as stack:
        stack.callback(engine.close)
        if stabilize:
            check_stabilizes(engine)
        source.open()
        stack.callback(source.close)
        say_facts(source_path, source.facts)
        if source.movie is not None:
            check_not_constant(source.movie)
        if source.problem and source.info:
            say(f"{source_path} is damaged ({source.problem}); its {source.info.n_expected} whole frames are denoised")

        def make(info: StreamInfo) -> Denoiser:
            return Denoiser(engine, info, merge=merge.value, stabilize=stabilize, line_phase=policy, channels=chosen)

        info, results = denoise(source, make)
        registered = " and registered to its first frame" if stabilize else ""
        facts: dict[str, object] = {"channels": info.shape[0], "planes": info.planes, **page_facts(info)}
        if rate_hz is not None or (source.facts is not None and source.facts.rate_hz is not None):
            facts["rate_hz"] = info.rate_hz
        else:
            say(f"{source_path} states no frame rate; {info.rate_hz:g} Hz is assumed for time stamps and line phase")
        facts["processed"] = f"denoised by {SOFTWARE} with {engine.card.name}{registered}, not raw data"
        motion, line_phase_reading = MotionStats(), NO_LINE_PHASE
        writer = stack.enter_context(closing(TiffMovieWriter(part, facts=facts)))
        bar = stack.enter_context(progress_bar())
        task = bar.add_task("denoising", total=info.n_expected, note=engine.description)
        begun = time.perf_counter()
        try:
            for frame in results:
                writer.append(frame.pixels, *source.stamp(frame.index))
                if frame.motion is not None:
                    motion.add(frame.motion)
                line_phase_reading = LinePhaseReading(frame.line_phase_px, frame.aligned_px)
                bar.update(task, completed=writer.frames)
        except BaseException:
            say(f"stopped: the first {writer.frames} denoised frames are in {part}")
            raise
    part.replace(out_path)
    seconds, count = time.perf_counter() - begun, writer.frames
    say(f"{count} frames in {seconds:.1f} s ({count / seconds:.1f} frames/s), engine {engine.card.name}: {out_path}")
    if as_json:
        print_json(
            {
                "frames_in": info.n_expected,
                "frames_out": count,
                "fps": round(count / seconds, 2),
                "shape": list(info.shape),
                "dtype": info.dtype.str,
                "motion": motion.summary(),
                "line_phase_px": line_phase_reading.px,
                "aligned_px": line_phase_reading.aligned_px,
                "engine": engine.card.name,
                "runtime": engine.description,
                "sha256": engine_digest(engine_name),
                "problem": source.problem,
                "out": str(out_path),
            }
        )
