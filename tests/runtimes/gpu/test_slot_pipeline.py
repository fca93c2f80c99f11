"""Whole frames on the device against the `Denoiser`: torch on the CPU, and the kernels on the stand-in GPU."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402  # after the check for torch

from deepbid_rt.denoising.denoiser import Denoiser  # noqa: E402
from deepbid_rt.errors import StageError  # noqa: E402
from deepbid_rt.frame import Frame, FrameFlag, ScanGeometry  # noqa: E402
from deepbid_rt.runtimes.gpu import kernels  # noqa: E402
from deepbid_rt.runtimes.gpu.driver import CudaProgram  # noqa: E402
from deepbid_rt.runtimes.gpu.kernel_pipeline import KernelPipeline  # noqa: E402
from deepbid_rt.runtimes.gpu.slots import SLOTS  # noqa: E402
from deepbid_rt.runtimes.gpu.tensor_pipeline import TensorPipeline  # noqa: E402
from deepbid_rt.runtimes.gpu.torch_device import HostDevice  # noqa: E402
from deepbid_rt.runtimes.torch import TorchEngine  # noqa: E402
from deepbid_rt.runtimes.torch_net import MixedPrecision, bind_net, load_net  # noqa: E402
from deepbid_rt.scan.line_phase_corrector import LinePhaseCorrector  # noqa: E402
from deepbid_rt.scan.normalizer import Normalizer  # noqa: E402
from tests import jagged  # noqa: E402
from tests.fakes import STREAM_CARD, stream  # noqa: E402
from tests.runtimes.gpu.test_tensor_history import tissue  # noqa: E402
from tests.stand_in_cuda import StandInMemory, library  # noqa: E402
from tests.stand_in_cuda.engine import StandInEngine, bind_stand_in  # noqa: E402


class SimulatedGraphs(HostDevice):
    """The CPU as if it captured graphs. A replay costs nothing, so only the time of this project's Python is left."""

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
def net(tiny_stream_onnx):
    return load_net(tiny_stream_onnx)


def frames_of(info, count, seed=0):
    rng = np.random.default_rng(seed)
    channels, lines, pixels = info.shape
    image = tissue((lines // 2 + 1, pixels), seed)
    for n in range(count):
        y, x = (int(v) for v in rng.integers(38, 43, 2))
        cut = np.repeat(image[y : y + lines // 2 + 1, x : x + pixels], 2, axis=0)[:lines]
        yield n, np.stack([rng.poisson(20 * (cut + 0.5) * (c + 1)) for c in range(channels)]).astype(info.dtype)


def run(denoiser, movie):
    return [out for n, pixels in movie for out in denoiser.push(Frame(n, pixels))]


def compare(device_engine, host_engine, info, frames, merge="mean", rate=0.01):
    """Send frames through a denoiser of either kind and compare the results; return the pairs of frames."""
    on_device, on_host = (Denoiser(engine, info, merge=merge) for engine in (device_engine, host_engine))
    outs = [[out for frame in frames for out in d.push(frame)] + d.flush() for d in (on_device, on_host)]
    assert [out.index for out in outs[0]] == [out.index for out in outs[1]]
    assert on_device.info.shape == on_host.info.shape
    for got, expected in zip(*outs, strict=True):
        assert got.pixels.dtype == info.dtype
        assert got.pixels.shape == expected.pixels.shape
        difference = np.abs(got.pixels.astype(np.float64) - expected.pixels)
        assert np.mean(difference > (1 if info.dtype.kind != "f" else 0.05)) < rate, got.index
        assert got.motion.status == expected.motion.status, got.index
        assert (got.motion.dy, got.motion.dx) == pytest.approx((expected.motion.dy, expected.motion.dx), abs=5e-3)
        assert got.motion.strip_dy == pytest.approx(expected.motion.strip_dy, abs=1e-2)
        assert got.motion.strip_dx == pytest.approx(expected.motion.strip_dx, abs=1e-2)
    assert on_device.normalizers == on_host.normalizers
    return list(zip(*outs, strict=True))


def on_host(onnx, **rest):
    return TorchEngine(onnx, precision="f32", device="cpu", **rest)


@pytest.fixture(params=["torch", "kernels"])
def engines(request, tiny_stream_onnx):
    """The same network with whole frames on the device, and with views prepared on the host."""
    if request.param == "kernels":
        pair = [StandInEngine(tiny_stream_onnx, precision="f32", device="cpu"), on_host(tiny_stream_onnx)]
    else:
        pair = [on_host(tiny_stream_onnx, tensors=HostDevice()), on_host(tiny_stream_onnx)]
    yield pair
    for engine in pair:
        engine.close()


@pytest.fixture
def torch_engines(tiny_stream_onnx):
    pair = [on_host(tiny_stream_onnx, tensors=HostDevice()), on_host(tiny_stream_onnx)]
    yield pair
    for engine in pair:
        engine.close()


def in_torch(net, card, info, **rest):
    return TensorPipeline(bind_net(net), card, info, HostDevice(), **rest)


def in_kernels(net, card, info, **rest):
    memory = StandInMemory()
    return KernelPipeline(bind_stand_in(net, memory), card, info, memory, memory.program(kernels.program()), **rest)


@pytest.fixture(params=[in_torch, in_kernels], ids=["torch", "kernels"])
def pipeline_of(request):
    return request.param


@pytest.mark.parametrize("views", ["each", "mean"])
@pytest.mark.parametrize(
    ("shape", "dtype", "scan", "merge"),
    [
        ((1, 144, 80), "<i2", ScanGeometry("collinear"), "mean"),
        ((2, 75, 41), "<u2", ScanGeometry("collinear", mirrored=False), "mean"),
        ((1, 81, 40), "|u1", ScanGeometry("collinear", first="backward"), "interleave"),
        ((1, 72, 80), "<f4", ScanGeometry("ordinary"), "mean"),
        ((1, 72, 72), "<i2", ScanGeometry("ordinary", mirrored=False), "interleave"),
    ],
)
def test_frames_equal_those_of_the_host(engines, shape, dtype, scan, merge, views):
    for engine in engines:
        engine.card = replace(engine.card, views=views)
    info = stream(shape, dtype, scan)
    frames = [Frame(n, pixels) for n, pixels in frames_of(info, 20)]
    pairs = compare(*engines, info, frames, merge)
    if scan.mirrored:  # the movie is; with another scan, every other line would stand the wrong way round
        assert any(expected.motion.strip_dy for _, expected in pairs) == (min(pairs[0][1].pixels.shape[1:]) >= 64)


@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
def test_line_offsets_equal_those_of_the_host(engines, layout):
    # A block of the measurement is one frame here: the offset is known, and changes, while the first frames wait.
    info = jagged.info_of((72, 80), ScanGeometry(layout))
    offsets = [0.0, 1.3, 1.3, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, -2.5, -2.5, -2.5, 0.0, 0.0, 0.0]
    frames = [Frame(n, pixels) for n, px in enumerate(offsets) for pixels in jagged.frames(info, px, 1, seed=1)]
    pairs = compare(*engines, info, frames)
    moved = [expected.aligned_px for _, expected in pairs]
    assert [got.aligned_px for got, _ in pairs] == moved
    assert moved == pytest.approx(offsets, abs=0.1)
    assert len(set(moved)) >= 4


def test_planes_gaps_flyback_and_dark_frames_equal_those_of_the_host(engines):
    info = stream((1, 144, 72), "<u2", ScanGeometry("collinear"), planes=2)
    frames = []
    for n, pixels in frames_of(info, 60):
        flags = FrameFlag.FLYBACK if n == 31 else FrameFlag.NONE
        if n not in (24, 25, 40):
            frames.append(Frame(n, pixels * (n != 36), plane=n % 2, flags=flags))
    statuses = {expected.motion.status for _, expected in compare_some(engines, info, frames)}
    assert statuses >= {"tracked", "foreign", "restarted"}


def compare_some(engines, info, frames):
    """As `compare`, for frames of which some are not denoised."""
    outs = [[out for f in frames for out in d.push(f)] + d.flush() for d in (Denoiser(e, info) for e in engines)]
    for got, expected in zip(*outs, strict=True):
        assert (got.index, got.motion is None) == (expected.index, expected.motion is None)
        assert np.mean(np.abs(got.pixels.astype(float) - expected.pixels) > 1) < 0.01, got.index
    return [(got, expected) for got, expected in zip(*outs, strict=True) if expected.motion]


def test_the_constant_bias_of_a_network_is_taken_off(engines):
    info = stream((1, 40, 48), "<f4", ScanGeometry("collinear"))
    for engine in engines:
        bias = engine._net.low.skip.bias if engine._net.skip is None else engine._net.skip.bias
        with torch.no_grad():
            bias += 0.5
    frames = [Frame(n, pixels) for n, pixels in frames_of(info, 12)]
    pairs = compare(*engines, info, frames)
    given = np.mean([frame.pixels.mean() for frame in frames])
    assert np.mean([got.pixels.mean() for got, _ in pairs]) == pytest.approx(given, rel=0.02)


def test_a_short_series_calibrates_on_its_own_frames_and_the_next_anew(engines):
    info = stream((1, 40, 48), "<i2")
    frames = [Frame(n, pixels) for n, pixels in frames_of(info, 30)]
    denoisers = [Denoiser(engine, info) for engine in engines]
    for part in (frames[:3], frames[3:20], frames[20:]):
        outs = [[out for f in part for out in d.push(f)] + d.flush() for d in denoisers]
        for got, expected in zip(*outs, strict=True):
            assert np.abs(got.pixels.astype(float) - expected.pixels).max() <= 1
        assert denoisers[0].normalizers == denoisers[1].normalizers
    for denoiser in denoisers:
        denoiser.reset()
    assert denoisers[0].normalizers == [None]
    outs = [[out for f in frames for out in d.push(f)] for d in denoisers]
    assert all(np.abs(a.pixels.astype(float) - b.pixels).max() <= 1 for a, b in zip(*outs, strict=True))


def test_the_runtime_says_where_frames_are_prepared(torch_engines, caplog):
    caplog.set_level("INFO")
    engines = torch_engines
    info = stream((1, 40, 48), "<i2")
    denoiser = Denoiser(engines[0], info)
    assert denoiser.runtime == f"{engines[0].description}, whole frames on CPU, no CUDA graph"
    assert f"engine stream: {denoiser.runtime}" in caplog.messages
    fallback = Denoiser(engines[1], info)
    assert fallback.runtime.endswith(", frames prepared on the host: the network runs on the CPU")
    registered = Denoiser(engines[0], info, stabilize=True)
    assert registered.runtime.endswith(", frames prepared on the host: they are registered there")
    [out] = [out for n, p in frames_of(info, 8) for out in registered.push(Frame(n, p))][-1:]
    assert out.flags & FrameFlag.MOTION_CORRECTED


def test_pipelines_are_kept_for_series_of_the_same_kind_and_closed_with_the_next(engines):
    info = stream((1, 40, 48), "<i2", planes=2)
    first = engines[0].open_planes(info, "mean")
    assert len(first) == 2
    assert engines[0].open_planes(replace(info, series="next"), "mean") is first
    closed = list(first)
    other = engines[0].open_planes(stream((1, 40, 56), "<i2"), "mean")
    assert len(other) == 1
    assert not any(vars(pipeline) for pipeline in closed)
    engines[0].close()


def test_answers_that_are_not_finite_end_the_session(engines):
    info = stream((1, 40, 48), "<i2")
    with torch.no_grad():
        engines[0]._net.low.skip.weight.fill_(float("nan"))
    denoiser = Denoiser(engines[0], info)
    with pytest.raises(StageError, match="returned values that are not finite, before frame 8 of"):
        run(denoiser, frames_of(info, 8))


def test_without_room_on_the_gpu_the_host_prepares_frames(torch_engines, monkeypatch):
    def refuse(*_args, **_rest):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr("deepbid_rt.runtimes.gpu.tensor_pipeline.TensorHistory", refuse)
    denoiser = Denoiser(torch_engines[0], stream((1, 40, 48), "<i2"))
    assert denoiser.runtime.endswith("frames prepared on the host: the GPU has no room for frames of this size")


def test_two_frames_on_their_way_give_the_same_images(net, pipeline_of):
    info = stream((1, 64, 40), "<i2", ScanGeometry("collinear"))
    module, card = net
    one, two = (pipeline_of(MixedPrecision(module, torch.float32), card, info) for _ in range(2))
    for pipeline in (one, two):
        pipeline.set_scale([Normalizer(10, 3)])
    movie = [pixels for _, pixels in frames_of(info, 9)]
    expected = [one.push(pixels)[0].copy() for pixels in movie]
    got = []
    for n, pixels in enumerate(movie):
        two.submit(pixels)
        if n:
            got.append(two.collect()[0].copy())
    got.append(two.collect()[0].copy())
    assert np.array_equal(got, expected)


def test_submitting_more_frames_than_slots_raises(net, pipeline_of):
    info = stream((1, 16, 16), "<i2")
    pipeline = pipeline_of(MixedPrecision(net[0], torch.float32), net[1], info)
    for _ in range(SLOTS):
        pipeline.submit(np.zeros(info.shape, info.dtype))
    with pytest.raises(RuntimeError, match="collect a frame"):
        pipeline.submit(np.zeros(info.shape, info.dtype))


def test_stats_hold_motion_and_mean_bias(net, pipeline_of):
    info = stream((1, 64, 40), "<i2", ScanGeometry("collinear"))
    pipeline = pipeline_of(lambda x: x[:, :1] + 0.5, net[1], info)
    pipeline.set_scale([Normalizer(10, 3)])
    stats = [pipeline.push(pixels)[1] for _, pixels in frames_of(info, 3)]
    assert stats[0].motion.status == "restarted"
    assert stats[0].motion.strip_dy == ()
    assert np.allclose([one.mean_bias for one in stats], 0.5, atol=1e-5)


def test_reset_forgets_all_frames(net, pipeline_of):
    info = stream((1, 64, 40), "<i2", ScanGeometry("collinear"))
    pipeline = pipeline_of(MixedPrecision(net[0], torch.float32), net[1], info)
    pipeline.set_scale([Normalizer(10, 3)])
    movie = [pixels for _, pixels in frames_of(info, 4)]
    first = [pipeline.push(pixels)[0].copy() for pixels in movie]
    pipeline.reset()
    assert np.array_equal([pipeline.push(pixels)[0].copy() for pixels in movie], first)


@pytest.mark.parametrize("value", [-32768, 0, 32767])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dark_and_saturated_frames_give_finite_stats(net, pipeline_of, value, dtype):
    info = stream((1, 64, 40), "<i2", ScanGeometry("collinear"))
    pipeline = pipeline_of(MixedPrecision(net[0], dtype), net[1], info)
    pipeline.set_scale([Normalizer(100, 4)])
    for n, pixels in frames_of(info, 6):
        image, stats = pipeline.push(np.full_like(pixels, value) if n == 4 else pixels)
        assert np.isfinite([*stats.mean_bias, stats.motion.dy, stats.motion.dx]).all()
    assert image.std() > 0


def test_each_slot_is_captured_once_and_an_error_is_a_stage_error(net):
    info = stream((1, 64, 40), "<i2", ScanGeometry("collinear"))
    device = SimulatedGraphs()
    pipeline = TensorPipeline(bind_net(MixedPrecision(net[0], torch.float32)), net[1], info, device)
    assert (device.captured, pipeline.captured) == (SLOTS, True)
    pipeline.push(np.zeros(info.shape, info.dtype))
    device.fails = True
    with pytest.raises(StageError, match=r"^the GPU failed in the middle of the session \(CUDA error: an ill"):
        pipeline.push(np.zeros(info.shape, info.dtype))


WAITS = r"\.item|_local_scalar|lift|nonzero|masked_select|unique|linalg|cholesky|aten\.equal"


class NoHostReads(TorchDispatchMode):
    """Refuses operations that read a value on the host, give a shape that depends on values, or cannot be captured."""

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        name = str(function)
        assert not re.search(WAITS, name), name
        if name.startswith("aten.index."):
            assert all(index is None or index.dtype != torch.bool for index in args[1]), "chosen by values"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("views", ["each", "mean"])
def test_nothing_between_a_raw_and_a_denoised_frame_waits_for_the_host(net, views):
    info = stream((2, 150, 72), "<u2", ScanGeometry("collinear"))
    card = replace(net[1], views=views)
    pipeline = TensorPipeline(bind_net(MixedPrecision(net[0], torch.float32)), card, info, HostDevice())
    pipeline.set_scale([Normalizer(10, 3)] * 2)
    for _, pixels in frames_of(info, 3):
        np.copyto(pipeline._host[0].raw, pixels)
        with NoHostReads():
            pipeline._launches[0]()
    for read in (lambda x: x.item(), float, bool, torch.linalg.inv, torch.nonzero, lambda x: torch.tensor(1.0) * x):
        with torch.inference_mode(), pytest.raises(AssertionError, match="aten"), NoHostReads():
            read(torch.ones(1, 1))


def compiled_error(frames=8):
    """Largest difference of compiled from plain functions: counts, share of pixels, px of shift and of strips.

    Compiling takes a CPU a minute, so no test does it.
    """
    info = stream((1, 2 * 72, 64), "<i2", ScanGeometry("collinear"))
    bind = bind_net(lambda x: x.mean(dim=1, keepdim=True))
    pair = [TensorPipeline(bind, STREAM_CARD, info, HostDevice(), **fuse) for fuse in ({}, {"fuse": torch.compile})]
    worst = np.zeros(4)
    for pipeline in pair:
        pipeline.set_scale([Normalizer(10, 3)])
    for _, pixels in frames_of(info, frames):
        (expected, plain), (got, stats) = (pipeline.push(pixels) for pipeline in pair)
        assert stats.motion.status == plain.motion.status
        off = np.abs(got.astype(float) - expected)
        strips = [np.array([m.strip_dy, m.strip_dx]) for m in (stats.motion, plain.motion)]
        shift = max(abs(stats.motion.dy - plain.motion.dy), abs(stats.motion.dx - plain.motion.dx))
        worst = np.maximum(worst, [off.max(), np.mean(off > 0), shift, np.abs(np.subtract(*strips)).max(initial=0)])
    return worst.tolist()


def tensors_in(thing):
    """Yield every tensor that an object of this project holds, at any depth."""
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, list | tuple | dict):
        for part in thing.values() if isinstance(thing, dict) else thing:
            yield from tensors_in(part)
    elif type(thing).__module__.startswith("deepbid_rt.runtimes"):
        yield from tensors_in(vars(thing))


def test_no_state_is_a_0_d_tensor(net):
    """Code that torch 2.13 compiles for a CPU loses writes to 0-d tensors silently."""
    bind = bind_net(MixedPrecision(net[0], torch.float32))
    pipeline = TensorPipeline(bind, net[1], stream((1, 144, 80)), HostDevice())
    held = list(tensors_in(pipeline))
    assert len(held) > 50
    assert all(tensor.dim() for tensor in held)


class Operations(TorchDispatchMode):
    """Counts operations that compute or copy; a view costs a GPU nothing."""

    count = 0

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        self.count += not any(a.alias_info and not a.alias_info.is_write for a in function._schema.returns)
        return function(*args, **(kwargs or {}))


def operations(lines=512, pixels=512):
    """Operations on the device for one collinear frame of lines x pixels after merging, without the network."""
    info = stream((1, 2 * lines, pixels), "<i2", ScanGeometry("collinear"))
    pipeline = TensorPipeline(bind_net(lambda x: x[:, :1]), STREAM_CARD, info, HostDevice())
    with Operations() as counted:
        pipeline._launches[0]()
    return counted.count


def test_a_frame_takes_at_most_730_operations():
    """Each operation of a replayed graph costs microseconds, however small it is."""
    assert 0 < operations(512, 64) <= 730


class IdleMemory(StandInMemory):
    """A GPU that does nothing, so only the time of this project's Python and of ctypes is left."""

    def upload(self, buffer, array):
        pass

    def download(self, array, buffer):
        pass

    def program(self, text):
        return CudaProgram(text, self.current, self.stream, self.cuda)


def idle_pipeline(info, in_kernels):
    if not in_kernels:
        return TensorPipeline(bind_net(lambda x: x[:, :1]), STREAM_CARD, info, SimulatedGraphs())
    memory = IdleMemory()
    pipeline = KernelPipeline(lambda *_: lambda: None, STREAM_CARD, info, memory, memory.program(kernels.program()))
    for arrays in pipeline._host:
        arrays.numbers.fill(0)
    return pipeline


def host_ms(size=512, frames=200, in_kernels=False):
    """Milliseconds of Python for one collinear frame of size x size after merging; network and GPU cost nothing.

    In two parts: measuring the line phase, and pushing the frame through the pipeline.
    """
    if in_kernels:
        library().stand_in_idle(1)
    try:
        info = stream((1, 2 * size, size), "<i2", ScanGeometry("collinear"))
        pipeline = idle_pipeline(info, in_kernels)
        pixels = np.random.default_rng(0).poisson(5, info.shape).astype(info.dtype)
        corrector, times = LinePhaseCorrector(info, "auto"), []
        for n in range(frames):
            begun = time.perf_counter()
            corrector.push(Frame(n, pixels))
            measured = time.perf_counter()
            pipeline.push(pixels)
            times.append((measured - begun, time.perf_counter() - measured))
    finally:
        if in_kernels:
            library().stand_in_idle(0)
    return tuple(1e3 * np.median(times, axis=0))


@pytest.mark.parametrize("in_kernels", [False, True])
def test_host_time_can_be_measured(in_kernels):
    assert all(ms > 0 for ms in host_ms(32, 5, in_kernels))
