"""The tests, in the tree of the package; what they share lies here and in modules beside this one."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""
DATA = ROOT.parent / "shared" / "data"
"""Real recordings, where they are there."""
