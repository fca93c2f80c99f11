"""The log of a training run: one line of JSON for each step and each validation, and optionally TensorBoard."""

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
TENSORBOARD = "tensorboard"


class RunLog:
    """Appends to the log of a run.

    Parameters
    ----------
    run_dir : Path
        An existing folder.
    step : int
        Number of finished steps. Entries of later steps, logged before the process was killed, are deleted, because
        those steps are repeated.
    tensorboard : bool
        Also write a TensorBoard log, into a folder of that name.

    Raises
    ------
    OSError
        When the folder cannot be written.
    EngineError
        When a TensorBoard log is requested and TensorBoard is not installed.
    """

    def __init__(self, run_dir: Path, step: int, tensorboard: bool = False) -> None:
        self._summary_writer: Any = None
        if tensorboard:
            require_tensorboard()
        path = run_dir / LOG
        if path.exists():
            kept = [line for line in _complete_lines(path) if json.loads(line)["step"] <= step]
            replace_text(path, "".join(line + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8", newline="\n")
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._summary_writer = SummaryWriter(run_dir / TENSORBOARD, purge_step=step + 1)

    def write(self, step: int, **values: float) -> None:
        """Append values of a step."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._summary_writer:
            for name, value in values.items():
                self._summary_writer.add_scalar(name, value, step)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._file.close()
        if self._summary_writer:
            self._summary_writer.close()


def require_tensorboard() -> None:
    """Raise `EngineError` when TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise EngineError(
            "a log for TensorBoard without the package tensorboard",
            expected="the extra 'tensorboard' to be installed",
            todo='run pip install "deepbid-rt[tensorboard]", or leave --tensorboard out',
        )


def read_curve(run_dir: Path, name: str) -> tuple[list[int], list[float]]:
    """Return the steps and the finite values of ``loss``, ``learning_rate``, ``held_out`` or ``response``."""
    entries = [json.loads(line) for line in _complete_lines(run_dir / LOG)]
    points = [(e["step"], e[name]) for e in entries if name in e and math.isfinite(e[name])]
    return [step for step, _ in points], [value for _, value in points]


def _complete_lines(path: Path) -> list[str]:
    """Return the lines without a last one that is incomplete because the process was killed."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
