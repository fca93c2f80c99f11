"""Check and time the torch runtime on a CUDA GPU: the network alone, and whole frames from raw to denoised.

    python tools/bench_gpu.py [--out DIR] [--tiny]

The machine needs torch, numpy, scipy and onnx only. Parts: parity of f32, f16 and bf16 with float64; whole frames
(pinned raw frame in, pinned denoised frame out) with latency, missed deadlines at fixed rates and the highest rate;
CUDA graphs against single operations and against the denoiser on the host; the network alone eager, as a CUDA graph and
compiled; memory and versions. Without a GPU the same code runs on the CPU, and the result says so; its times then mean
nothing. The last line on stdout is one JSON object; --out also writes it to DIR/bench_gpu.json. The exit code is 1 when
a part failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from deepbid_rt.benchmark.gpu import BenchmarkSettings, run, smallest
from deepbid_rt.runtimes import find_engine


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="default", help="stream engine, name or file")
    parser.add_argument("--window-engine", default="window", help="window engine, name or file")
    parser.add_argument("--tiny", action="store_true", help="only check that everything runs")
    parser.add_argument("--no-compile", action="store_true", help="skip torch.compile, which takes minutes")
    parser.add_argument("--out", type=Path, help="folder for bench_gpu.json")
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: JSON is always printed")
    options = parser.parse_args()
    engines = find_engine(options.engine), find_engine(options.window_engine)
    settings = BenchmarkSettings(*engines, compiled=not options.no_compile)
    result = run(
        smallest(settings) if options.tiny else settings, lambda name: print(name, file=sys.stderr, flush=True)
    )
    for name, figures in result.items():
        print(f"{name}: {figures}", file=sys.stderr)
    text = json.dumps(result)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "bench_gpu.json").write_text(text)
    print(text)
    if result["errors"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
