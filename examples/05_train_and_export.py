"""An engine learned from a recording, without clean data, and exported. Needs the extra ``train``.

The example simulates a small recording and trains for a minute; give real recordings and half an hour instead. On the
command line the same is ``deepbid-rt train A.tif --from default --out RUN`` and ``deepbid-rt export RUN -o mine.onnx``.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import deepbid_rt as rt

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path, nargs="?", default=Path("trained"), help="for recording, run and engine")
parser.add_argument("--minutes", type=float, default=1.0)
parser.add_argument("--steps", type=int, default=2000)
options = parser.parse_args()


def deepbid_rt(*arguments: object) -> None:
    """Run one command of the package."""
    subprocess.run([sys.executable, "-m", "deepbid_rt", *map(str, arguments)], check=True)


simulated, run, engine = options.folder / "simulated", options.folder / "run", options.folder / "mine.onnx"
if not simulated.exists():
    deepbid_rt("synth", "--out", simulated, "--frames", 80, "--size", 192, "--scan", "ordinary")
recording = simulated / "raw.tif"
limits = ("--minutes", options.minutes, "--steps", options.steps)
deepbid_rt("train", recording, "--from", "default", "--out", run, *limits)
deepbid_rt("export", run, "-o", engine)

with rt.open(recording) as movie:
    denoised = rt.denoise(movie, engine=engine)
print(f"trained on {recording}, exported to {engine}; denoised {denoised.shape[0]} frames with it")
