"""Options that cannot take effect are refused, before anything is opened, bound or written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer
from typer.testing import CliRunner

from deepbid_rt.cli import app, options
from deepbid_rt.errors import EngineError, OptionError, RefusedError, StreamError

# The commands below name inputs that do not exist, and places that cannot be written. A command that did more than
# check its options would end with another error.
STARTS = {
    "demo": ("--engine", "echo", "--out", "{tmp}/file/demo"),
    "serve": ("--engine", "echo", "--source", "nowhere"),
    "status": ("nowhere",),
    "checkup": ("--engine", "echo"),
    "doctor": ("{tmp}/none.tif",),
    "info": ("{tmp}/none.tif",),
    "denoise": ("{tmp}/none.tif", "{tmp}/out.tif", "--engine", "echo"),
    "recover": ("{tmp}/none",),
    "simulate": ("--size", "16", "--frames", "2", "--bind", "tcp://127.0.0.1:*", "--truth", "{tmp}/none/truth.tif"),
    "synth": ("--size", "16", "--frames", "2", "--out", "{tmp}/file/movie"),
    "replay": ("{tmp}/none.tif", "--bind", "tcp://127.0.0.1:*"),
    "keys": ("{tmp}/file/keys",),
    "view": (),
    "train": ("{tmp}/none.tif", "--out", "{tmp}/run"),
    "convert": ("{tmp}/none.tif", "-o", "{tmp}/out.ome.tif"),
    "export": ("{tmp}/last.pt", "-o", "{tmp}/out.onnx"),
    "quantize": ("nowhere", "--like", "{tmp}/none.tif", "-o", "{tmp}/out.onnx"),
    "evaluate": ("{tmp}/none.tif",),
    "build": ("nowhere", "-o", "{tmp}/out.plan"),
    "bench": ("--engine", "nowhere", "--out", "{tmp}/out"),
}
NO_NETWORK = "for engine 'echo', which has no network"
NO_BACKWARD_LINES = "with --unidirectional, as there are no backward lines"
ONLY_HERE = "with tcp://127.0.0.1:*, which only this computer can reach"


@dataclass(frozen=True)
class Refused:
    """A command with an option that cannot take effect."""

    command: str
    option: str
    arguments: tuple[str, ...]
    """After those in `STARTS`; a later value replaces an earlier one."""
    message: str
    error: type[RefusedError] = OptionError
    needs: str = ""
    """Package without which the test is skipped."""


def engine_options(command: str, *more: Refused) -> list[Refused]:
    return [
        Refused(command, "--precision", ("--precision", "f32"), f"precision f32 {NO_NETWORK}"),
        Refused(command, "--threads", ("--threads", "2"), f"threads 2 {NO_NETWORK}"),
        Refused(command, "--stabilize", ("--stabilize",), "registration with engine 'echo'", EngineError),
        *more,
    ]


def file_engine_options(command: str) -> list[Refused]:
    plan, onnx = ("--engine", "{tmp}/m.plan"), ("--engine", "{tmp}/m.onnx")
    by_plan, by_torch = "for the plan {tmp}/m.plan, which TensorRT runs as it was built", ("--runtime", "torch")
    return engine_options(
        command,
        Refused(command, "--precision", (*plan, "--precision", "bf16"), f"precision bf16 {by_plan}"),
        Refused(command, "--threads", (*plan, "--threads", "2"), f"threads 2 {by_plan}"),
        Refused(command, "--runtime", (*plan, "--runtime", "openvino"), f"runtime openvino {by_plan}"),
        Refused(command, "--runtime", by_torch, f"runtime torch {NO_NETWORK}"),
        Refused(command, "--threads", (*onnx, *by_torch, "--threads", "2"), "threads 2 for runtime torch"),
        Refused(command, "--trust", (*onnx, "--trust"), "trust for {tmp}/m.onnx, which is no .plan"),
        Refused(command, "--trust", ("--engine", "default", "--trust"), "trust for "),
        Refused(command, "--trust", ("--trust",), f"trust {NO_NETWORK}"),
    )


def scan_options(command: str, *line_phase: str) -> list[Refused]:
    one_way = ("--scan", "ordinary", "--unidirectional")
    found = [
        Refused(command, "--first", (*one_way, "--first", "backward"), f"--first backward {NO_BACKWARD_LINES}"),
        Refused(command, "--unmirrored", (*one_way, "--unmirrored"), f"--unmirrored {NO_BACKWARD_LINES}"),
        Refused(
            command,
            "--unidirectional",
            ("--scan", "collinear", "--unidirectional"),
            "a collinear scan that is not bidirectional",
            StreamError,
        ),
    ]
    return found + [
        Refused(command, "--line-phase", (*one_way, "--line-phase", px), f"--line-phase {px} {NO_BACKWARD_LINES}")
        for px in line_phase
    ]


def movie_options(command: str, movie: str = "none.tif") -> list[Refused]:
    """Options about formats that the movie, a TIFF file that is there, is none of."""
    given = (("--dataset", "/frames"), ("--shape", "8,8"), ("--dtype", "int16"))
    return [Refused(command, option, (option, value), f"{option} for {{tmp}}/{movie}") for option, value in given]


def connecting(command: str, address: str, server_key: str) -> list[Refused]:
    return [
        Refused(command, "--keys", ("--keys", "{tmp}/k"), "--keys without --server-key"),
        Refused(command, server_key, (server_key, "{tmp}/s.pub"), f"{server_key} without --keys"),
        Refused(command, "--insecure-lan", ("--insecure-lan",), f"--insecure-lan with {address}"),
    ]


def publishing(command: str) -> list[Refused]:
    protected = ("--insecure-lan", "--bind", "tcp://0.0.0.0:*", "--keys", "{tmp}/k")
    return [
        Refused(command, "--insecure-lan", ("--insecure-lan",), f"--insecure-lan {ONLY_HERE}"),
        Refused(command, "--insecure-lan", protected, "--insecure-lan with tcp://0.0.0.0:*, which keys protect"),
        Refused(command, "--drop", ("--lossless", "--drop", "0.5"), "--drop 0.5 with --lossless"),
    ]


PAGE = ("--http-token", "twelve-letters-long"), "--http-token without --http"
FOREIGN = "an offset rule or exact windows for {tmp}/last.pt, a checkpoint of deepbid-rt"
PRINT = ("--size", "16x16", "--print-trtexec")
REFUSED = [
    Refused("status", "--timeout", ("--timeout", "3"), "--timeout without --once"),
    Refused("checkup", "--trust", ("--trust",), "--trust for engine 'echo', which is no .plan"),
    *(
        Refused("doctor", option, given, f"{option} for a recording")
        for option, given in (
            ("--seconds", ("--seconds", "1")),
            ("--timeout", ("--timeout", "1")),
            ("--keys", ("--keys", "{tmp}/k")),
            ("--source-key", ("--source-key", "{tmp}/s.pub")),
            ("--insecure-lan", ("--insecure-lan",)),
        )
    ),
    Refused("doctor", "--overwrite", ("--overwrite",), "--overwrite without --write"),
    *scan_options("doctor"),
    *engine_options("demo"),
    *(case for command in ("info", "denoise", "doctor", "replay", "train") for case in movie_options(command)),
    Refused("info", "--shape", ("--shape", "8"), "--shape 8"),
    Refused("demo", "--http-token", *PAGE),
    *file_engine_options("serve"),
    Refused("serve", "--record-raw", ("--record-raw",), "--record-raw without --record"),
    Refused("serve", "--roll-frames", ("--roll-frames", "9"), "--roll-frames 9 without --record"),
    Refused("serve", "--name", ("--name", "mouse7"), "--name mouse7 without --record"),
    Refused("serve", "--sync", ("--sync", "0"), "--sync 0 without --record"),
    Refused("serve", "--http-token", *PAGE),
    *(
        Refused("serve", "--insecure-lan", ("--source", "tcp://127.0.0.1:9", "--insecure-lan", *more), message)
        for more, message in (
            ((), "--insecure-lan with tcp://127.0.0.1:9, which only this computer can reach"),
            (("--publish", "tcp://127.0.0.1:*"), "--insecure-lan with tcp://127.0.0.1:9 and tcp://127.0.0.1:*, which "),
            (
                ("--publish", "tcp://0.0.0.0:*", "--keys", "{tmp}/k"),
                "--insecure-lan with tcp://127.0.0.1:9 and tcp://0.0.0.0:*, which keys protect",
            ),
        )
    ),
    Refused("serve", "--keys", ("--keys", "{tmp}/k"), "--keys without --source-key"),
    Refused("serve", "--source-key", ("--source-key", "{tmp}/s.pub"), "--source-key without --keys"),
    Refused("serve", "--lossless", ("--lossless",), "--lossless with --max-latency 200, which skips frames"),
    *connecting("status", "nowhere", "--server-key"),
    *connecting("view", "tcp://127.0.0.1:5591", "--server-key"),
    *connecting("view", "tcp://127.0.0.1:5591", "--raw-server-key"),
    Refused("serve", "--gap", ("--gap", "hold"), "--gap hold for engine 'echo', which has no temporal state"),
    *file_engine_options("denoise"),
    *scan_options("denoise", "0.7"),
    *(
        Refused("denoise", "--merge", ("--merge", merge), f"--merge {merge} for an ordinary scan")
        for merge in ("forward", "backward", "interleave")
    ),
    *scan_options("simulate", "1.5"),
    *publishing("simulate"),
    Refused("simulate", "--restart", ("--restart", "2"), "--restart 2 in a movie of 2 frames"),
    *scan_options("synth", "-1.5"),
    *scan_options("replay"),
    *publishing("replay"),
    Refused("keys", "--name", ("--show", "--name", "x"), "--name with --show, which writes nothing"),
    Refused("keys", "--allow", ("--show", "--allow", "{tmp}/x.pub"), "--allow with --show, which writes nothing"),
    Refused("replay", "--restart", ("--restart", "8", "--loop", "2"), "--restart 8 in a movie of 8 frames"),
    *scan_options("train", "0.7"),
    Refused("train", "--preset", ("--preset", "fast", "--recipe", "{tmp}/none.toml"), "--preset with --recipe"),
    *movie_options("convert"),
    Refused("convert", "--format", ("--format", "nwb"), "the format nwb for out.ome.tif"),
    Refused("convert", "--nwb", ("--nwb", "location=V1"), "--nwb for out.ome.tif, which is no NWB file"),
    Refused("export", "--offset", ("--offset", "minimum"), FOREIGN, EngineError, "torch"),
    Refused("export", "--scale", ("--scale", "10"), FOREIGN, EngineError, "torch"),
    Refused("export", "--exact", ("--exact",), FOREIGN, EngineError, "torch"),
    *scan_options("quantize"),
    Refused("evaluate", "--denoised", ("--denoised", "{tmp}/b.tif"), "two movies to evaluate", StreamError),
    Refused("evaluate", "--traces", ("--truth", "{tmp}/t.tif", "--traces", "{tmp}/t.csv"), "--traces without --cells"),
    Refused("evaluate", "--cells", ("--raw", "{tmp}/r.tif", "--cells", "{tmp}/c.tif"), "--cells without --truth and "),
    Refused("build", "--timing-cache", (*PRINT, "--timing-cache", "{tmp}/t"), "--timing-cache with --print-trtexec"),
    Refused("build", "--frames", (*PRINT, "--frames", "{tmp}/none.tif"), "--frames with --print-trtexec"),
    Refused("build", "--precision", (*PRINT, "--precision", "fp16"), "--precision with --print-trtexec and without "),
    Refused("bench", "--compiled", ("--tiny", "--compiled"), "--compiled with --tiny"),
]
TAKE_EFFECT = {
    "demo": "--engine --seconds --size --rate --out --http --view --json",
    # A stream states its scan only when it begins, and --merge is checked then (`merged_geometry`). --scan is for
    # streams that do not state theirs. Both are accepted before: the next stream may be one that they are for.
    "serve": "--source --engine --publish --record --scan --merge --line-phase --frames --idle-timeout --lag-frames"
    " --denoise-channels"
    " --max-latency --http --config --json",
    "status": "--once --json",
    "checkup": "--engine --size --rate --record --json",
    # Options about the reading of files are refused for a stream, see tests/cli/test_doctor.py.
    "doctor": "--source --scan --channels --planes --flyback --salvage --pictures --write --json",
    "view": "--connect --raw --history --out --rois --seconds --json",
    "info": "--channels --planes --flyback --salvage --json",
    "denoise": "--engine --scan --channels --planes --flyback --rate --denoise-channels --salvage --config --json",
    "recover": "--json",
    "simulate": "--bind --frames --size --rate --scan --photons --motion --seed --stamped --truth --raw --wait"
    " --jitter --keys --lossless --json",
    "synth": "--out --preset --frames --size --seed --scan --bits --photons --motion --sinusoidal --json",
    "replay": "--bind --rate --scan --channels --planes --flyback --loop --wait --jitter --keys --lossless --json",
    "keys": "--show --json",
    # --from has no effect when a run is continued. But a run is continued by the command that began it.
    "train": "--out --mode --recipe --steps --minutes --from --scan --channels --planes --flyback --tensorboard"
    " --config --json",
    "convert": "--out --channels --planes --flyback --rate --salvage --overwrite --json",
    "export": "--out --name --overwrite --json",
    # The last three are refused by the same code as for the commands above, once the engine is found.
    "quantize": "--like --out --scan --channels --planes --flyback --overwrite --dataset --shape --dtype --json",
    "evaluate": "--truth --raw --reference --channels --report --json",
    # --size and --source are refused together, see tests/e2e/test_plans.py.
    "build": "--out --size --source --level --workspace --keep-onnx --print-trtexec --json",
    "bench": "--engine --window-engine --out --tiny",
}
"""Options that take effect whatever the others are, as far as a command can know before it runs."""


def run(tmp_path: Path, command: str, *arguments: str) -> BaseException | None:
    """Run a command with its start; return the exception that it ends with."""
    given = [argument.replace("{tmp}", str(tmp_path)) for argument in (*STARTS[command], *arguments)]
    return CliRunner().invoke(app, [command, *given]).exception


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, which cannot be used as a folder."""
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case.command} {case.message}")
def test_an_option_that_cannot_take_effect_is_refused(
    case: Refused, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(options.HTTP_TOKEN_VARIABLE, raising=False)
    arguments = case.arguments
    if case.needs:
        pytest.importorskip(case.needs, reason="the train extra is not installed")
        save_checkpoint_of_this_package(folder)
    # Only the file says how many frames there are, and which options its format takes.
    if (case.command, case.option) == ("replay", "--restart") or case.option in ("--dataset", "--shape", "--dtype"):
        tifffile.imwrite(folder / "none.tif", np.zeros((4, 8, 8), np.int16), photometric="minisblack")
    if (case.command, case.option) == ("replay", "--restart"):
        arguments = (*arguments, "--bind", "tcp://192.0.2.1:9")  # no address of this computer
    before = sorted(folder.rglob("*"))
    error = run(folder, case.command, *arguments)
    assert isinstance(error, case.error), repr(error)
    assert str(error).startswith(case.message.replace("{tmp}", str(folder)))
    assert sorted(folder.rglob("*")) == before
    if case.error is OptionError:
        assert str(error).count("; ") == 2
        assert ", or leave " in error.todo


def save_checkpoint_of_this_package(folder: Path) -> None:
    from deepbid_rt.train.checkpoint import LAST, Checkpoint, save_checkpoint
    from deepbid_rt.train.network import make_net
    from tests.training import TINY

    weights = make_net(TINY).state_dict()
    save_checkpoint(folder / LAST, Checkpoint(TINY, ("x collinear",), 12, weights, weights, {}, 0.5, 0.5, 12))


def test_every_option_takes_effect_or_has_a_test_of_its_refusal() -> None:
    """A new option must be put into one of the two lists."""
    commands = typer.main.get_command(app).commands
    for name, command in commands.items():
        declared = {next(o for o in p.opts if o.startswith("--")) for p in command.params if p.opts[0].startswith("-")}
        refused = {case.option for case in REFUSED if case.command == name}
        effective = set(TAKE_EFFECT[name].split())
        assert refused | effective == declared, name
        assert not refused & effective, name
    assert set(TAKE_EFFECT) == set(commands)


ACCEPTED: list[tuple[str, tuple[str, ...]]] = [
    ("serve", ("--roll-frames", "0", "--threads", "0", "--precision", "auto", "--merge", "mean", "--gap", "auto")),
    ("serve", ("--record", "{tmp}/s", "--record-raw", "--roll-frames", "9", "--merge", "interleave")),
    ("serve", ("--publish", "tcp://0.0.0.0:*", "--insecure-lan", "--scan", "ordinary")),
    ("serve", ("--source", "tcp://192.0.2.1:9", "--insecure-lan", "--publish", "tcp://0.0.0.0:*", "--keys", "{tmp}/k")),
    ("serve", ("--source", "tcp://192.0.2.1:9", "--keys", "{tmp}/k", "--source-key", "{tmp}/s.pub")),
    ("serve", ("--publish", "tcp://127.0.0.1:*", "--keys", "{tmp}/k", "--lossless", "--max-latency", "none")),
    ("replay", ("--bind", "tcp://0.0.0.0:*", "--keys", "{tmp}/k", "--lossless", "--drop", "0")),
    ("status", ("tcp://192.0.2.1:9", "--keys", "{tmp}/k", "--server-key", "{tmp}/s.pub")),
    ("serve", ("--engine", "average", "--gap", "reset", "--stabilize")),
    ("denoise", ("--unidirectional", "--first", "forward", "--line-phase", "off")),
    ("denoise", ("--unidirectional", "--line-phase", "0")),
    ("denoise", ("--engine", "average", "--threads", "1")),
    ("denoise", ("--scan", "collinear", "--merge", "interleave", "--first", "backward", "--unmirrored")),
    ("denoise", ("--engine", "{tmp}/m.plan", "--trust")),
    ("denoise", ("--engine", "{tmp}/m.onnx", "--threads", "1", "--precision", "f32", "--runtime", "openvino")),
    ("simulate", ("--restart", "1", "--line-phase", "1", "--scan", "ordinary")),
    ("replay", ("--restart", "1", "--bind", "tcp://0.0.0.0:*", "--insecure-lan")),
    ("train", ("--recipe", "{tmp}/none.toml", "--mode", "tp")),
    ("evaluate", ("--raw", "{tmp}/r.tif", "--cells", "{tmp}/c.tif", "--traces", "{tmp}/t.csv")),
    ("evaluate", ("--truth", "{tmp}/t.tif", "--cells", "{tmp}/c.tif")),
    ("build", (*PRINT, "--keep-onnx", "{tmp}/n.onnx", "--precision", "bf16", "--level", "2")),
    ("bench", ("--tiny", "--no-compiled")),
]


@pytest.mark.parametrize(("command", "arguments"), ACCEPTED)
def test_options_that_take_effect_and_defaults_that_scripts_pass_are_accepted(
    command: str, arguments: tuple[str, ...], folder: Path
) -> None:
    error = run(folder, command, *arguments)
    assert error is not None  # the inputs do not exist
    assert not isinstance(error, OptionError), str(error)


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_token_in_the_environment_may_be_there_without_a_page(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(options.HTTP_TOKEN_VARIABLE, "twelve-letters-long")
    stopped = RuntimeError("stop here")

    def stop(*_: object, **__: object) -> None:
        raise stopped

    monkeypatch.setattr(f"deepbid_rt.cli.{command}.load_engine", stop)
    start = {"serve": ("--source", "tcp://127.0.0.1:9"), "demo": ("--out", str(folder))}[command]
    assert CliRunner().invoke(app, [command, *start]).exception is stopped
    refused = CliRunner().invoke(app, [command, *start, "--http-token", "another-token-as-long"]).exception
    assert isinstance(refused, OptionError)


@pytest.mark.parametrize(("text", "channels"), [(None, None), ("0", (0,)), ("2,0", (2, 0)), (" 1 , 3 ", (1, 3))])
def test_channels_to_denoise_are_a_list_of_numbers(text: str | None, channels: tuple[int, ...] | None) -> None:
    assert options.parse_channels(text) == channels


@pytest.mark.parametrize("text", ["", "a", "0;1", "-1", "1,", "0 1", "1.5"])
def test_anything_else_than_channels_to_denoise_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="such as 0 or 0,2"):
        options.parse_channels(text)
