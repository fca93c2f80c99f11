"""Entry point of ``deepbid-rt`` and of ``python -m deepbid_rt``: the command line."""

import os
import signal
from types import FrameType


def main() -> None:
    """Import the command line and run it. A signal in the meantime ends the process at once, with exit code 130."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        os._exit(130)  # nothing has begun, and imports that are cut short only print a traceback

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)
    from deepbid_rt.cli import main as run

    run()


if __name__ == "__main__":
    main()
