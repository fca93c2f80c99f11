"""Every shipped network in the precisions of a GPU, computed by torch on the CPU, against float32."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.cli.build import _movie  # noqa: E402
from deepbid_rt.denoising.network_inputs import padded_size  # noqa: E402  # after the check for torch
from deepbid_rt.runtimes import _SHIPPED, find_engine  # noqa: E402
from deepbid_rt.runtimes.openvino import OpenVinoEngine  # noqa: E402
from deepbid_rt.runtimes.tensorrt.parity import LEAST_CORRELATION, compare_engines, inputs_from  # noqa: E402
from deepbid_rt.runtimes.torch import TorchEngine  # noqa: E402
from deepbid_rt.runtimes.torch_net import load_net  # noqa: E402

ENGINES = sorted({path.parent.name for folder in _SHIPPED for path in folder.glob("*/model.onnx")})


def parity(name, precision, movie, view):
    """Compare an engine in one precision with itself in float32, on inputs from the denoiser."""
    path = find_engine(name)
    low, reference = TorchEngine(path, precision=precision, device="cpu"), OpenVinoEngine(path, precision="f32")
    try:
        size = padded_size(view, low.card.grid)
        return compare_engines(low, reference, inputs_from(reference, movie, size))
    finally:
        low.close()
        reference.close()


@pytest.mark.parametrize("precision", ["f16", "bf16"])
@pytest.mark.parametrize("name", ENGINES)
def test_low_precision_is_close_to_float32_and_finite_for_extreme_inputs(name, precision):
    """`compare_engines` raises for answers that are not finite and for less than `LEAST_CORRELATION`."""
    view = (16, 24) if load_net(find_engine(name))[1].kind == "window" else (40, 48)  # torch on a CPU is slow in f16
    figures = parity(name, precision, [image.astype(np.uint16) for image in _movie(None, view)], view)
    assert figures["correlation"] >= LEAST_CORRELATION
    assert figures["relative_error"] > 0
