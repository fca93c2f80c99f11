"""`DeviceWindow` on a simulated GPU: uploads, addresses of the input, and answers equal to the host's."""

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.denoising.denoiser import Denoiser  # noqa: E402  # after the check for torch
from deepbid_rt.denoising.frame_window import FrameWindow  # noqa: E402
from deepbid_rt.errors import EngineError, StageError  # noqa: E402
from deepbid_rt.frame import ScanGeometry  # noqa: E402
from deepbid_rt.runtimes.gpu.device_window import DeviceWindow  # noqa: E402
from deepbid_rt.runtimes.gpu.host_memory import HostMemory  # noqa: E402
from deepbid_rt.runtimes.openvino import OpenVinoEngine  # noqa: E402
from deepbid_rt.runtimes.tensorrt.engine import TensorRtEngine  # noqa: E402
from deepbid_rt.runtimes.torch import TorchEngine  # noqa: E402
from tests.fakes import stamped_frames, stream  # noqa: E402
from tests.simulated_gpu import SimulatedMemory, SimulatedTensorRt, simulated_host  # noqa: E402

SHAPE = (8, 16)


def doubling(memory, used):
    """A network that doubles its window and appends the number of each place to `used`."""

    def bind(places, answer):
        def run(place):
            used.append(place)

            def work():
                memory.at(answer.address)[: 4 * 5 * 128].view(np.float32)[:] = 2 * memory.at(places[place].address)[
                    : 4 * 5 * 128
                ].view(np.float32)

            memory.push(work)

        return run

    return bind


def test_only_new_frames_are_uploaded():
    memory, used = SimulatedMemory(), []
    window, plain = DeviceWindow(5, SHAPE, memory, doubling(memory, used)), FrameWindow(5, SHAPE)
    uploads = []
    upload = memory.upload
    memory.upload = lambda buffer, array: (uploads.append((buffer.address, array.nbytes)), upload(buffer, array))
    rng = np.random.default_rng(0)
    for number in range(13):
        frame = rng.normal(size=SHAPE).astype(np.float32)
        window.push(frame)
        plain.push(frame)
        frame.fill(np.nan)  # neither window keeps the array
        pushed = uploads[-2:]
        assert [size for _, size in pushed] == [512, 512]
        assert pushed[1][0] - pushed[0][0] == 5 * 512
        before = len(uploads)
        answer = window.infer(None)
        assert np.array_equal(answer, 2 * plain.view())
        assert len(uploads) - before == (number < 4)  # the host uploads the whole window while it is not full
    assert used == [(n + 1) % 5 for n in range(13)]


def test_reset_empties_the_window():
    memory = SimulatedMemory()
    window = DeviceWindow(5, SHAPE, memory, doubling(memory, []))
    for value in range(7):
        window.push(np.full(SHAPE, value, np.float32))
    window.reset()
    assert window.filled == 0
    window.push(np.full(SHAPE, 9, np.float32))
    assert np.array_equal(window.infer(None), np.full((5, *SHAPE), 18))


@pytest.mark.parametrize("runtime", ["torch", "tensorrt"])
def test_a_movie_equals_the_host_s(tiny_onnx, simulated_plans, runtime):
    """With two views and a gap; a plan has one context per view, whose input address moves."""
    trt = SimulatedTensorRt()
    if runtime == "torch":
        engine = TorchEngine(tiny_onnx, precision="f32", device="cpu")
    else:
        engine = TensorRtEngine(simulated_plans["window"], trust=True, host=simulated_host(trt))
    reference = OpenVinoEngine(tiny_onnx, precision="f32")
    info = stream((1, 32, 24), np.uint16, ScanGeometry("collinear"))
    frames = [frame for frame in stamped_frames(info, 70) if frame.index not in (50, 51)]
    outs = []
    for one in (engine, reference):
        denoiser = Denoiser(one, info, gap="hold")
        outs.append([out for frame in frames for out in denoiser.push(frame)] + denoiser.flush())
        one.close()
    assert [out.index for out in outs[0]] == [frame.index for frame in frames]
    for got, expected in zip(*outs, strict=True):
        assert np.abs(got.pixels.astype(float) - expected.pixels).max() <= 1
    if runtime == "tensorrt":
        assert [context.runs > 2 for context in trt.contexts] == [False, True, True]


def test_a_refused_address_is_a_stage_error(simulated_plans):
    trt = SimulatedTensorRt()
    engine = TensorRtEngine(simulated_plans["window"], trust=True, host=simulated_host(trt))
    window = engine.open_window(40, (16, 24))
    window.push(np.zeros((16, 24), np.float32))
    trt.contexts[-1].set_tensor_address = lambda name, memory: False
    with pytest.raises(StageError, match="the GPU failed in the middle of the session"):
        window.infer(None)
    engine.close()


def test_a_window_of_another_size_than_the_plan_is_refused(simulated_plans):
    engine = TensorRtEngine(simulated_plans["window"], trust=True, host=simulated_host(SimulatedTensorRt()))
    for length, size in ((40, (16, 32)), (32, (16, 24))):
        with pytest.raises(EngineError, match=re.escape(f"views of (K, Y, X) = {(length, *size)}, and a plan for (40")):
            engine.open_window(length, size)
    engine.close()


def test_parts_of_a_buffer_share_its_memory():
    memory = HostMemory()
    whole = memory.allocate(1024)
    part = memory.part(whole, 256, 512)
    assert part.address == whole.address + 256
    memory.upload(whole, np.zeros(256, np.float32))
    memory.upload(part, np.ones(128, np.float32))
    back = memory.pinned((256,), np.float32)
    memory.download(back, whole)
    assert np.array_equal(back, np.repeat([0, 1, 0], [64, 128, 64]))
