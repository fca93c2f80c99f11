"""What a run wrote down: one line of JSON for each step and each held-out check, and TensorBoard where asked for.

Knows nothing of training.
"""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import TracebackType
from typing import Any

from deepbid_rt.errors import EngineError
from deepbid_rt.train.checkpoint import replace_text

LOG = "log.jsonl"
BOARD = "tensorboard"


class RunLog:
    """Appends to a run's log.

    Parameters
    ----------
    run_dir : Path
        An existing folder.
    step : int
        Steps that are done: what a killed run logged after them is dropped, because those steps will be done again.
    board : bool
        Write for TensorBoard too, into a folder of that name.

    Raises
    ------
    OSError
        When the folder cannot be written.
    EngineError
        When TensorBoard is asked for and not installed.
    """

    def __init__(self, run_dir: Path, step: int, board: bool = False) -> None:
        self._board: Any = None
        if board:
            require_board()
        path = run_dir / LOG
        if path.exists():
            kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= step]
            replace_text(path, "".join(line + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8", newline="\n")
        if board:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(run_dir / BOARD, purge_step=step + 1)

    def write(self, step: int, **values: float) -> None:
        """Note values of a step."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._file.close()
        if self._board:
            self._board.close()


def require_board() -> None:
    """Raise `EngineError` when TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise EngineError(
            "a log for TensorBoard without the package tensorboard",
            expected="the extra 'tensorboard' to be installed",
            todo='run pip install "deepbid-rt[tensorboard]", or leave --tensorboard out',
        )


def read_curve(run_dir: Path, name: str) -> tuple[list[int], list[float]]:
    """Return steps and values of ``loss``, ``learning_rate``, ``held_out`` or ``response`` that are finite."""
    entries = [json.loads(line) for line in _whole_lines(run_dir / LOG)]
    points = [(e["step"], e[name]) for e in entries if name in e and math.isfinite(e[name])]
    return [step for step, _ in points], [value for _, value in points]


def _whole_lines(path: Path) -> list[str]:
    """Return the lines that a kill did not tear."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
