"""Raw frames in, denoised frames out, on the device: against the `Denoiser`, with torch on the CPU."""

import time
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.denoiser import Denoiser  # noqa: E402  # after the check for torch
from deepbid_rt.errors import StageError  # noqa: E402
from deepbid_rt.frame import Frame, ScanGeometry  # noqa: E402
from deepbid_rt.normalize import Normalizer  # noqa: E402
from deepbid_rt.runtimes.gpu.device import HostDevice  # noqa: E402
from deepbid_rt.runtimes.gpu.pipeline import SLOTS, GpuPipeline  # noqa: E402
from deepbid_rt.runtimes.torch import Mixed, TorchEngine, bind_net, load_net  # noqa: E402
from tests.fakes import stream  # noqa: E402
from tests.test_gpu_past import tissue  # noqa: E402


class SimulatedGraphs(HostDevice):
    """The host as if it captured graphs: `replay` costs nothing, so that what is left is our own Python."""

    name = "simulated"

    def __init__(self):
        super().__init__()
        self.captured, self.fails = 0, False

    def prepare(self, work):
        work()
        self.captured += 1

        def replay():
            if self.fails:
                raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")

        return replay, True


@pytest.fixture(scope="module")
def net(request, tiny_stream_onnx):
    return load_net(tiny_stream_onnx)


def frames_of(info, count, seed=0):
    rng = np.random.default_rng(seed)
    channels, lines, pixels = info.shape
    image = tissue((lines // 2 + 1, pixels), seed)
    for n in range(count):
        y, x = (int(v) for v in rng.integers(38, 43, 2))
        cut = np.repeat(image[y : y + lines // 2 + 1, x : x + pixels], 2, axis=0)[:lines]
        yield n, np.stack([rng.poisson(20 * (cut + 0.5) * (c + 1)) for c in range(channels)]).astype(info.dtype)


@pytest.mark.parametrize(
    ("shape", "dtype", "scan", "merge"),
    [
        ((1, 80, 48), "<i2", ScanGeometry("collinear"), "mean"),
        ((2, 75, 41), "<u2", ScanGeometry("collinear", mirrored=False), "mean"),
        ((1, 81, 40), "|u1", ScanGeometry("collinear", first="backward"), "interleave"),
        ((1, 44, 40), "<f4", ScanGeometry("ordinary"), "mean"),
    ],
)
def test_frames_come_out_as_from_the_denoiser(net, tiny_stream_onnx, shape, dtype, scan, merge):
    info = stream(shape, dtype, scan)
    engine = TorchEngine(tiny_stream_onnx, precision="f32", device="cpu")
    module, card = net
    if scan.layout == "ordinary":
        card = engine.card = replace(card, views="mean")  # the device has no passes with masked lines
    denoiser = Denoiser(engine, info, merge=merge)
    pipeline = GpuPipeline(bind_net(Mixed(module, torch.float32)), card, info, HostDevice(), merge)
    expected, given = [], []
    for n, pixels in frames_of(info, 20):
        given.append(pixels)
        expected += denoiser.push(Frame(n, pixels))
    lane = denoiser._lanes[0]
    pipeline.scale(lane.normalizers, lane._calibration._bias)
    for pixels, frame in zip(given, expected, strict=True):
        image, _ = pipeline.step(pixels)
        assert image.dtype == info.dtype
        assert image.shape == frame.pixels.shape
        difference = np.abs(image.astype(np.float64) - frame.pixels)
        assert difference.max() <= (1 if info.dtype.kind != "f" else 0.02)
        assert np.mean(difference > 0.5) < 0.01
    engine.close()


def test_two_frames_on_their_way_give_what_one_gives(net):
    info = stream((1, 64, 40), "<i2", ScanGeometry("collinear"))
    module, card = net
    bind = bind_net(Mixed(module, torch.float32))
    one, two = (GpuPipeline(bind, card, info, HostDevice()) for _ in range(2))
    for pipeline in (one, two):
        pipeline.scale([Normalizer(10, 3)])
    movie = [pixels for _, pixels in frames_of(info, 9)]
    expected = [one.step(pixels)[0].copy() for pixels in movie]
    got = []
    for n, pixels in enumerate(movie):
        two.submit(pixels)
        if n:
            got.append(two.collect()[0].copy())
    got.append(two.collect()[0].copy())
    assert np.array_equal(got, expected)


def test_a_slot_too_many_is_an_error(net):
    info = stream((1, 16, 16), "<i2")
    pipeline = GpuPipeline(bind_net(Mixed(net[0], torch.float32)), net[1], info, HostDevice())
    for _ in range(SLOTS):
        pipeline.submit(np.zeros(info.shape, info.dtype))
    with pytest.raises(RuntimeError, match="collect a frame"):
        pipeline.submit(np.zeros(info.shape, info.dtype))


def test_what_is_told_by_the_notes(net):
    info = stream((1, 64, 40), "<i2", ScanGeometry("collinear"))
    pipeline = GpuPipeline(bind_net(lambda x: x[:, :1] + 0.5), net[1], info, HostDevice())
    pipeline.scale([Normalizer(10, 3)])
    notes = [pipeline.step(pixels)[1].copy() for _, pixels in frames_of(info, 3)]
    assert notes[0][3] == 3  # restarted: the first frame
    assert np.allclose([n[4] for n in notes], 0.5, atol=1e-5)


def test_resetting_and_warming_up_leave_no_trace(net):
    info = stream((1, 64, 40), "<i2", ScanGeometry("collinear"))
    pipeline = GpuPipeline(bind_net(Mixed(net[0], torch.float32)), net[1], info, HostDevice())
    pipeline.scale([Normalizer(10, 3)])
    movie = [pixels for _, pixels in frames_of(info, 4)]
    first = [pipeline.step(pixels)[0].copy() for pixels in movie]
    pipeline.reset()
    assert np.array_equal([pipeline.step(pixels)[0].copy() for pixels in movie], first)


@pytest.mark.parametrize("value", [-32768, 0, 32767])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dark_and_saturated_frames_give_pixels(net, value, dtype):
    info = stream((1, 64, 40), "<i2", ScanGeometry("collinear"))
    pipeline = GpuPipeline(bind_net(Mixed(net[0], dtype)), net[1], info, HostDevice())
    pipeline.scale([Normalizer(100, 4)])
    for n, pixels in frames_of(info, 6):
        image, notes = pipeline.step(np.full_like(pixels, value) if n == 4 else pixels)
        assert np.isfinite(notes).all()
    assert image.std() > 0


def test_each_slot_is_captured_once_and_an_error_is_named(net):
    info = stream((1, 64, 40), "<i2", ScanGeometry("collinear"))
    device = SimulatedGraphs()
    pipeline = GpuPipeline(bind_net(Mixed(net[0], torch.float32)), net[1], info, device)
    assert (device.captured, pipeline.captured) == (SLOTS, True)
    pipeline.step(np.zeros(info.shape, info.dtype))
    device.fails = True
    with pytest.raises(StageError, match=r"^the GPU failed in the middle of the session \(CUDA error: an ill"):
        pipeline.step(np.zeros(info.shape, info.dtype))


def host_ms(size=512, frames=200):
    """Python's share of one collinear frame of size x size after merging; network and GPU cost nothing."""
    from tests.fakes import STREAM_CARD

    info = stream((1, 2 * size, size), "<i2", ScanGeometry("collinear"))
    pipeline = GpuPipeline(bind_net(lambda x: x[:, :1]), STREAM_CARD, info, SimulatedGraphs())
    pixels = np.ones(info.shape, info.dtype)
    times = []
    for _ in range(frames):
        begun = time.perf_counter()
        pipeline.step(pixels)
        times.append(1e3 * (time.perf_counter() - begun))
    return float(np.median(times))


def test_the_host_s_share_can_be_measured():
    assert host_ms(32, 5) > 0
