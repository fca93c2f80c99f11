"""NVIDIA's own commands that come closest to a build, for comparing and for reports to NVIDIA."""

from __future__ import annotations

import shlex
from pathlib import Path

from deepbid_rt.runtimes.tensorrt.builder import Effort


def trtexec_commands(network: Path, plan: Path, effort: Effort, major: int) -> tuple[str, str]:
    """Return the commands that build and that time a plan.

    Parameters
    ----------
    network : Path
        The specialised ONNX (``--keep-onnx``).
    plan : Path
        The plan to write.
    effort : Effort
        Level and workspace.
    major : int
        Of TensorRT; 10 must be told to take types from the network.
    """
    build = [
        "trtexec",
        f"--onnx={network}",
        f"--saveEngine={plan}",
        *(["--stronglyTyped"] if major < 11 else []),
        f"--builderOptimizationLevel={effort.level}",
        f"--memPoolSize=workspace:{effort.workspace_bytes >> 20}",
        "--maxAuxStreams=0",
        f"--timingCacheFile={plan.with_suffix('.cache')}",
        "--profilingVerbosity=detailed",
        f"--exportLayerInfo={plan.with_suffix('.layers.json')}",
        "--skipInference",
    ]
    time = ["trtexec", f"--loadEngine={plan}", "--useCudaGraph", "--useSpinWait", "--noDataTransfers"]
    return shlex.join(build), shlex.join([*time, "--warmUp=500", "--duration=10"])
