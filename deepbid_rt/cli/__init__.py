"""The command line. Only this folder prints and exits.

Exit codes: 0 done; 1 failed while running (the message names what was written); 2 the input or an option was refused;
130 interrupted before the work was done.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import typer

from deepbid_rt.cli.bench import bench_command
from deepbid_rt.cli.build import build_command
from deepbid_rt.cli.checkup import checkup_command
from deepbid_rt.cli.convert import convert_command
from deepbid_rt.cli.demo import demo_command
from deepbid_rt.cli.denoise import denoise_command
from deepbid_rt.cli.doctor import doctor_command
from deepbid_rt.cli.evaluate import evaluate_command
from deepbid_rt.cli.export import export_command
from deepbid_rt.cli.info import info_command
from deepbid_rt.cli.interrupts import EXIT_CODE, INTERRUPTS
from deepbid_rt.cli.keys import keys_command
from deepbid_rt.cli.output import (
    background_output,
    in_background,
    logs,
    print_error,
    restore_terminal,
    say,
    set_up_logging,
)
from deepbid_rt.cli.quantize import quantize_command
from deepbid_rt.cli.recover import recover_command
from deepbid_rt.cli.replay import replay_command
from deepbid_rt.cli.serve import serve_command
from deepbid_rt.cli.simulate import simulate_command
from deepbid_rt.cli.status import status_command
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
    "status": status_command,
    "checkup": checkup_command,
    "doctor": doctor_command,
    "view": view_command,
    "info": info_command,
    "denoise": denoise_command,
    "convert": convert_command,
    "recover": recover_command,
    "simulate": simulate_command,
    "synth": synth_command,
    "replay": replay_command,
    "keys": keys_command,
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
    context: typer.Context,
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Also log information, not only warnings."),
    log_file: Path | None = typer.Option(
        None, "--log-file", help="Append the log to this file too, information included."
    ),
    log_json: bool = typer.Option(
        False, "--log-json", help="Write each line of the log, and each message on stderr, as a JSON object."
    ),
) -> None:
    set_up_logging(verbose, log_file, log_json)
    if not in_background():  # else the log is open until `main` has printed the error
        context.call_on_close(logs.close)


def main() -> None:
    """Run the command line and exit with its code."""
    code: int | str | None = 1
    INTERRUPTS.leave = _leave
    if hasattr(signal, "SIGTTOU"):
        # A terminal may stop programs in the background that write to it: a status line would stop a recording.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with background_output(), INTERRUPTS.caught():
        try:
            app()
            code = 0
        except RefusedError as error:
            print_error(error)
            code = 2
        except FailedError as error:
            print_error(error)
        except SystemExit as end:
            code = end.code
        except KeyboardInterrupt:  # outside of a command
            code = EXIT_CODE
        # A fault of the program. Its report must be written before stderr's thread ends.
        except Exception:
            traceback.print_exc()
        if code == EXIT_CODE:
            say("interrupted")
    sys.exit(code)


def _leave(code: int) -> None:
    """End the process without clean-up."""
    restore_terminal()
    os._exit(code)
