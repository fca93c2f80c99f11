"""The command line. Only this folder prints and exits.

Exit codes: 0 done; 1 failed while running (the message names what was written); 2 the input or an option was refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from deepbid_rt.cli.bench import bench_command
from deepbid_rt.cli.build import build_command
from deepbid_rt.cli.demo import demo_command
from deepbid_rt.cli.denoise import denoise_command
from deepbid_rt.cli.evaluate import evaluate_command
from deepbid_rt.cli.export import export_command
from deepbid_rt.cli.output import print_error, set_up_logging
from deepbid_rt.cli.quantize import quantize_command
from deepbid_rt.cli.replay import replay_command
from deepbid_rt.cli.serve import serve_command
from deepbid_rt.cli.simulate import simulate_command
from deepbid_rt.cli.synth import synth_command
from deepbid_rt.cli.train import train_command
from deepbid_rt.cli.view import view_command
from deepbid_rt.errors import FailedError, RefusedError

app = typer.Typer(
    name="deepbid-rt",
    help="Denoise two-photon movies while they are being scanned.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo_command,
    "serve": serve_command,
    "view": view_command,
    "denoise": denoise_command,
    "simulate": simulate_command,
    "synth": synth_command,
    "replay": replay_command,
    "train": train_command,
    "export": export_command,
    "quantize": quantize_command,
    "evaluate": evaluate_command,
    "build": build_command,
    "bench": bench_command,
}
for name, command in COMMANDS.items():
    app.command(name=name)(command)


@app.callback()
def _options(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Also log information, not only warnings."),
) -> None:
    set_up_logging(verbose)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        app()
    except RefusedError as error:
        print_error(error)
        sys.exit(2)
    except FailedError as error:
        print_error(error)
        sys.exit(1)
