"""What `deepbid-rt train` checks before it begins."""

from __future__ import annotations

import sys

import pytest

from deepbid_rt.cli.train import _load_trainer
from deepbid_rt.errors import EngineError


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "matplotlib"])
def test_a_package_that_is_needed_at_the_end_is_missed_at_the_start(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _load_trainer()
    monkeypatch.setitem(sys.modules, package, None)
    message = f"^training without {package}; expected the extra 'train' to be installed; run pip install "
    with pytest.raises(EngineError, match=message):
        _load_trainer()
