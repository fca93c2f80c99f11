"""``deepbid-rt replay``: publishes a recording as if it were live."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.cli import options as o
from deepbid_rt.cli.movie_facts import say_facts
from deepbid_rt.cli.output import print_json
from deepbid_rt.cli.publish import publish
from deepbid_rt.errors import OptionError
from deepbid_rt.movies.movie_facts import DEFAULT_RATE_HZ
from deepbid_rt.movies.movie_source import MovieSource
from deepbid_rt.simulator.publisher import Faults


def replay_command(
    path: Annotated[
        Path, typer.Argument(metavar="MOVIE", help="Recording to publish: a file, folder, or pattern with *.")
    ],
    bind: o.BindOption = "tcp://127.0.0.1:5590",
    rate_hz: o.MovieRateOption = None,
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
    loop: Annotated[int, typer.Option(min=1, help="How many times the recording is played.")] = 1,
    wait: o.WaitOption = False,
    drop: o.DropOption = 0.0,
    jitter_ms: o.JitterOption = 0.0,
    restart: o.RestartOption = None,
    keys: o.KeysOption = None,
    insecure_lan: o.InsecureOption = False,
    lossless: o.LosslessOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Publish a recording at its frame rate, as a microscope would."""
    o.check_bind(bind, insecure_lan, keys)
    o.check_lossless(lossless, drop)
    source = MovieSource(
        path,
        o.wanted(channels, planes, flyback, dataset, shape, dtype),
        scan=o.scan_geometry(scan, first, unmirrored, unidirectional),
        rate_hz=rate_hz,
        own_numbers=True,
    )
    source.open()  # refuse a bad file before binding anything
    say_facts(path, source.facts)
    if source.info and source.info.n_expected:
        try:
            o.check_restart(restart, source.info.n_expected * loop)
        except OptionError:
            source.close()
            raise
    summary = publish(
        source,
        bind,
        rate_hz=source.info.rate_hz if source.info else DEFAULT_RATE_HZ,
        rounds=loop,
        faults=Faults(drop, jitter_ms, restart),
        wait=wait,
        insecure_lan=insecure_lan,
        keys=keys,
        lossless=lossless,
    )
    if as_json:
        print_json(asdict(summary))
