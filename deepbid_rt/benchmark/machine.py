"""`describe_machine`: versions, GPU and clocks of the machine that figures are measured on."""

from __future__ import annotations

import platform
import shutil
import subprocess
from typing import Any

import numpy as np
import onnx
import torch


def describe_machine() -> dict[str, Any]:
    """Return versions, GPU, driver and clocks."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "onnx": onnx.__version__,
        "device": "CPU, times mean nothing",
    }
    if torch.cuda.is_available():
        facts |= {
            "device": torch.cuda.get_device_name(),
            "capability": ".".join(str(n) for n in torch.cuda.get_device_capability()),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]  # torch does not annotate it
        }
    if shutil.which("nvidia-smi"):
        query = "driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,memory.used"
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True, check=False
        )
        facts["nvidia-smi"] = {"query": query, "answer": done.stdout.strip()}
    return facts
