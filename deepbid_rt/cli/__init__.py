"""The command line: the only place that wires parts together, prints and exits.

Exit codes: 0 done, 1 failed mid-way (what was written is named), 2 refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from deepbid_rt.cli.bench import run as bench
from deepbid_rt.cli.build import run as build
from deepbid_rt.cli.demo import run as demo
from deepbid_rt.cli.denoise import run as denoise
from deepbid_rt.cli.evaluate import run as evaluate
from deepbid_rt.cli.export import run as export
from deepbid_rt.cli.output import print_error, set_up_logging
from deepbid_rt.cli.quantize import run as quantize
from deepbid_rt.cli.replay import run as replay
from deepbid_rt.cli.serve import run as serve
from deepbid_rt.cli.simulate import run as simulate
from deepbid_rt.cli.synth import run as synth
from deepbid_rt.cli.train import run as train
from deepbid_rt.cli.view import run as view
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
    "demo": demo,
    "serve": serve,
    "view": view,
    "denoise": denoise,
    "simulate": simulate,
    "synth": synth,
    "replay": replay,
    "train": train,
    "export": export,
    "quantize": quantize,
    "evaluate": evaluate,
    "build": build,
    "bench": bench,
}
for name, command in COMMANDS.items():
    app.command(name=name)(command)


@app.callback()
def _options(verbose: bool = typer.Option(False, "--verbose", "-v", help="Log more than warnings.")) -> None:
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
