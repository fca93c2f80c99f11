"""`trtexec_commands`: the commands of NVIDIA's trtexec closest to a build, for comparison and for reports to NVIDIA."""

from __future__ import annotations

import shlex
from pathlib import Path

from deepbid_rt.runtimes.tensorrt.builder import BuildEffort


def trtexec_commands(network: Path, plan: Path, effort: BuildEffort, major: int) -> tuple[str, str]:
    """Return two commands: one builds a plan, one times it.

    Parameters
    ----------
    network : Path
        The specialised ONNX (``--keep-onnx``).
    plan : Path
        The plan to write.
    effort : BuildEffort
        Level and workspace.
    major : int
        Major version of TensorRT; 10 needs an option to take types from the network.
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
