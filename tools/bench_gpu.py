"""Check and time the torch runtime on a CUDA GPU: the network, and the whole way from a raw to a denoised frame.

    python tools/bench_gpu.py [--out DIR] [--tiny]

One command for a machine that has nothing but torch, numpy, scipy and onnx: parity of f32, f16 and bf16 with float64;
the whole way (pinned raw frame in, pinned denoised frame out: split, normalise, stabilise, cache_motion_history, infer, merge,
round) with latency, missed deadlines at fixed rates and the highest rate; both graphs against work queued operation by
operation, and against the denoiser of the live path; the network alone eager, as a CUDA graph and compiled; memory and
versions. Without a GPU the same code runs on the CPU and says so; its times mean nothing then. The last line on stdout
is one JSON object; with --out it also stands in DIR/bench_gpu.json. Exit code 1 when a part failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from deepbid_rt.benchmark.gpu import Settings, run, smallest
from deepbid_rt.runtimes import find_engine


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="default", help="stream engine, name or file")
    parser.add_argument("--window-engine", default="window", help="window engine, name or file")
    parser.add_argument("--tiny", action="store_true", help="only see that everything runs")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    parser.add_argument("--out", type=Path, help="folder for bench_gpu.json")
    parser.add_argument("--json", action="store_true", help="accepted for symmetry: JSON is always printed")
    options = parser.parse_args()
    engines = find_engine(options.engine), find_engine(options.window_engine)
    settings = Settings(*engines, compiled=not options.no_compile)
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
