"""Detects a collapsed network: one that returns the same picture whatever its input is."""

from __future__ import annotations

from deepbid_rt.errors import EngineError, StageError

MIN_RESPONSE = 1e-3
"""A network whose outputs vary by less has collapsed; in standard deviations of the noise of one view.

To distinguish so faint a picture from its noise takes the mean of a million pixels, more than any network here sees at
once. So a working network stays above this even on a dark recording. Measurements of both are in
docs/lab-notes/2026-11-21-paper-table.md.
"""
_EXPECTED = f"outputs that vary by {MIN_RESPONSE:g} standard deviations of the noise or more"
_TODO = "train again into an empty folder, at a lower learning_rate, with another seed or on brighter recordings"


def has_collapsed(response: float) -> bool:
    """Return whether outputs that vary by ``response`` are all the same. False if it is infinite: not measured yet."""
    return response < MIN_RESPONSE


def describe_collapse(response: float) -> str:
    """Return the words for a collapsed network, for messages."""
    return f"a network that collapsed: its outputs on held-out frames vary by {response:.1g} of the noise"


def refuse_collapsed(response: float, source: object) -> None:
    """Raise `EngineError` when the network of ``source``, a file, has collapsed."""
    if has_collapsed(response):
        raise EngineError(f"{source}, {describe_collapse(response)}", expected=_EXPECTED, todo=_TODO)


def collapse_error(response: float, step: int, best_step: int) -> StageError:
    """Return the error for a run whose network collapsed.

    Parameters
    ----------
    response : float
        How much its outputs vary.
    step : int
        Steps of the run.
    best_step : int
        Step of the best checkpoint; 0 if there is none.
    """
    kept = f"export the best checkpoint, of step {best_step}, or " if best_step else ""
    return StageError(f"after {step} steps {describe_collapse(response)}", expected=_EXPECTED, todo=f"{kept}{_TODO}")
