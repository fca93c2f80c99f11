"""When a network has collapsed: it answers one and the same, whatever it is shown.

Knows nothing of recordings, of how the answers were had, or of torch.
"""

from __future__ import annotations

from deepbid_rt.errors import EngineError, StageError

LEAST_RESPONSE = 1e-3
"""A network whose answers vary by less has collapsed; in standard deviations of the noise of one view.

To tell so faint a picture from its noise takes the mean of a million pixels, more than any network here sees at once:
a dark recording alone brings no honest network below this. docs/reproduction.md has measured both.
"""
_EXPECTED = f"answers that vary by {LEAST_RESPONSE:g} standard deviations of the noise or more"
_TODO = "train again into an empty folder, at a lower learning_rate, with another seed or on brighter recordings"


def has_collapsed(response: float) -> bool:
    """Say whether answers that vary by ``response`` are one and the same; infinite, before it was measured: no."""
    return response < LEAST_RESPONSE


def collapse(response: float) -> str:
    """Return the words for a network that collapsed."""
    return f"a network that collapsed: its answers to held-out frames vary by {response:.1g} of the noise"


def refuse_collapsed(response: float, source: object) -> None:
    """Raise `EngineError` when the network of ``source``, a file, has collapsed."""
    if has_collapsed(response):
        raise EngineError(f"{source}, {collapse(response)}", expected=_EXPECTED, todo=_TODO)


def ended_by_collapse(response: float, step: int, best_step: int) -> StageError:
    """Return the error of a run that ended so after ``step`` steps; ``best_step``: of its best checkpoint, or 0."""
    kept = f"export still takes the checkpoint of step {best_step}, or " if best_step else ""
    return StageError(f"after {step} steps {collapse(response)}", expected=_EXPECTED, todo=f"{kept}{_TODO}")
