"""``deepbid-rt doctor``: says what is wrong with the pictures of a stream or a recording, and which option sets it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from deepbid_rt.api.access import End, check_access
from deepbid_rt.cli import options as o
from deepbid_rt.cli.movie_facts import say_facts
from deepbid_rt.cli.output import print_json, say
from deepbid_rt.errors import OptionError, StageError, require_effect
from deepbid_rt.frame import ScanGeometry

_SIGNS = {"ok": "ok       ", "note": "note     ", "attention": "ATTENTION", "not known": "?        "}


def doctor_command(
    path: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Recording: a file, folder, or pattern with *.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="Address of a live stream instead, tcp://HOST:PORT; scanimage+tcp://HOST:PORT for ScanImage's.",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=600.0, help="How long to look at a live stream.")
    ] = 5.0,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the first frame of a live stream.")
    ] = 10.0,
    scan: Annotated[
        o.LayoutChoice | None,
        typer.Option(
            "--scan", help="Scan layout that is compared with the pictures; of a stream that does not state it."
        ),
    ] = None,
    first: o.FirstOption = o.DirectionChoice.FORWARD,
    unmirrored: o.UnmirroredOption = False,
    unidirectional: o.UnidirectionalOption = False,
    channels: o.MovieChannelsOption = None,
    planes: o.MoviePlanesOption = None,
    flyback: o.FlybackOption = None,
    dataset: o.DatasetOption = None,
    shape: o.RawShapeOption = None,
    dtype: o.RawTypeOption = None,
    salvage: o.SalvageOption = False,
    keys: o.KeysOption = None,
    source_key: Annotated[
        Path | None,
        typer.Option("--source-key", help="Public key (NAME.pub) of the computer at --source; needs --keys."),
    ] = None,
    insecure_lan: o.InsecureOption = False,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", metavar="DIR", help="Folder for small pictures of the evidence (PNG).")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE.toml", help="Keep the answers as options, for --config of the commands."),
    ] = None,
    overwrite: o.OverwriteOption = False,
    as_json: o.JsonOption = False,
) -> None:
    """Examine the pictures of a stream or a recording.

    For each question there is a line: what the pixels show, with figures, and the option that states it. The exit code
    is 1 when something needs attention, and 2 when there is nothing to look at. The computer is checked by checkup.
    """
    from deepbid_rt.doctor.collect import from_recording, from_stream
    from deepbid_rt.doctor.examination import examine
    from deepbid_rt.doctor.pictures import write_pictures
    from deepbid_rt.doctor.rig import rig_text, write_rig
    from deepbid_rt.movies.movie_source import MovieSource
    from deepbid_rt.zmq_io import ZmqSource

    if (path is None) == (source is None):
        raise OptionError(
            "neither a recording nor a stream to look at" if path is None else f"both {path} and --source {source}",
            expected="one of the two: FILE or --source ADDRESS",
            todo="name one; deepbid-rt checkup looks at this computer",
        )
    _check(path, {"--seconds": seconds != 5.0, "--timeout": timeout_s != 10.0}, file=False)
    of_streams = {"--keys": keys, "--source-key": source_key, "--insecure-lan": insecure_lan}
    _check(path, of_streams, file=False)
    of_files = {
        f"--first {first.value}": first is not o.DirectionChoice.FORWARD,
        "--unmirrored": unmirrored,
        "--unidirectional": unidirectional,
        "--channels": channels,
        "--planes": planes,
        "--flyback": flyback is not None,
        "--dataset": dataset,
        "--shape": shape,
        "--dtype": dtype,
        "--salvage": salvage,
    }
    _check(path, of_files, file=True)
    require_effect(
        "--overwrite",
        overwrite,
        write,
        why="without --write",
        expected="--write FILE.toml beside it",
        todo="add --write",
    )
    if write:
        o.check_overwrite(write, overwrite)
    if pictures and importlib.util.find_spec("PIL") is None:
        raise StageError(
            "the package Pillow, which draws pictures, is missing",
            expected="the extra 'http' to be installed",
            todo='run: pip install "deepbid-rt[http]", or leave --pictures out',
        )
    given: dict[str, str | bool | int | float] = {}
    if path is not None:
        geometry = o.scan_geometry(scan or o.LayoutChoice.ORDINARY, first, unmirrored, unidirectional)
        wanted = o.wanted(channels, planes, flyback, dataset, shape, dtype, salvage)
        with closing(MovieSource(path, wanted, scan=geometry)) as movie:
            movie.open()
            say_facts(path, movie.facts)
            sample = from_recording(movie)
        named = {
            "scan": scan.value if scan else None,
            "first": first.value if first is not o.DirectionChoice.FORWARD else None,
            "unidirectional": unidirectional or None,
            "channels": channels,
            "planes": planes,
            "flyback": flyback,
            "dataset": dataset,
        }
        given = {name: value for name, value in named.items() if value is not None}
        name = str(path)
    else:
        name = str(source)
        check_access(
            [End(name, source_key)],
            keys=keys,
            server_keys={"--source-key": source_key},
            insecure_lan=insecure_lan,
            binds=False,
        )
        # A stream that states no layout can be looked at too: the layout is one of the questions.
        live = ZmqSource(
            name,
            default_layout=scan.value if scan else "ordinary",
            keys=keys if source_key else None,
            server_key=source_key,
            insecure_lan=insecure_lan,
        )
        with closing(live):
            live.open()
            say(f"looking at {name} for {seconds:g} s; waiting {timeout_s:g} s for the first frame")
            sample = from_stream(live, name, seconds, timeout_s)
        given = {"source": name}
    examination = examine(sample, pictures=pictures is not None)
    for note in examination.notes if source else ():
        say(f"note: {note}")
    for finding in examination.findings:
        todo = f"\n           -> {finding.todo}" if finding.todo else ""
        say(f"{_SIGNS[finding.level]}  {finding.question}: {finding.answer}{todo}")
    scan_seen = examination.scan
    say(
        f"questions that need attention: {len(examination.attention)} of {len(examination.findings)}; "
        f"{examination.frames} frames were looked at, channel {examination.place[0]}, plane {examination.place[1]}"
    )
    files = write_pictures(examination.findings, pictures) if pictures else []
    for file in files:
        say(f"picture    {file}")
    if write:
        write_rig(write, rig_text(f"{name}, {examination.frames} frames", given, examination.findings))
        say(f"options    {write}: use them with --config {write}")
    if as_json:
        print_json(
            {
                **examination.summary(),
                "looked_at": name,
                "shape": list(sample.info.shape),
                "dtype": sample.info.dtype.name,
                "scan": _scan(scan_seen),
                "scan_stated": _scan(sample.info.scan),
                "pictures": [str(file) for file in files],
                "written": str(write) if write else None,
            }
        )
    if examination.attention:
        raise typer.Exit(1)


def _check(path: Path | None, options: Mapping[str, object], *, file: bool) -> None:
    """Refuse options about a recording for a stream, and the other way round."""
    for option, asked in options.items():
        require_effect(
            option,
            asked,
            (path is not None) == file,
            why="for a live stream, which states it itself" if file else "for a recording",
            expected="a recording" if file else "a live stream",
            todo="name a FILE" if file else "use --source ADDRESS",
        )


def _scan(scan: ScanGeometry) -> dict[str, str | bool]:
    return {
        "layout": scan.layout,
        "bidirectional": scan.bidirectional,
        "first": scan.first,
        "mirrored": scan.mirrored,
    }
