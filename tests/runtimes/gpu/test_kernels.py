"""The CUDA kernels: their arguments, the PTX that ships, and that results do not depend on the order of threads.

Whole frames are compared with the denoiser in tests/runtimes/gpu/test_slot_pipeline.py.
"""

import ctypes
import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests import ROOT

pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.errors import EngineError, StageError
from deepbid_rt.frame import DTYPES, ScanGeometry
from deepbid_rt.motion.nonrigid import NONRIGID_SETTINGS, NonrigidMotionEstimator  # after the check for torch
from deepbid_rt.motion.temporal_averages import MARGIN, TemporalAverages
from deepbid_rt.runtimes.gpu import kernel_check, kernel_history, kernels, motion_numbers
from deepbid_rt.runtimes.gpu import kernel_structs as structs
from deepbid_rt.runtimes.gpu.driver import CudaProgram
from deepbid_rt.runtimes.gpu.kernel_pipeline import KernelPipeline
from deepbid_rt.runtimes.gpu.kernel_series import kernel_series
from deepbid_rt.scan.directions import MERGE_MODES
from tests.fakes import STREAM_CARD, stream
from tests.runtimes.gpu.test_tensor_history import GAINS, movie
from tests.runtimes.gpu.test_tensor_nonrigid import pair
from tests.stand_in_cuda import StandInMemory, library
from tests.stand_in_cuda.history import StandInHistory

C_TYPES = {"double": ctypes.c_double, "float": ctypes.c_float, "int": ctypes.c_int}


def structures():
    """Every structure of the header, as its fields and their types in C."""
    text = kernels.sources()["plane.cuh"]
    for name, body in re.findall(r"struct (\w+) \{(.*?)\n\};", text, re.DOTALL):
        fields = re.findall(r"^    (?:const )?(\w+) (\*?)(\w+);", body, re.MULTILINE)
        assert len(fields) == body.count(";"), f"one field a line in {name}"
        yield name, [(field, ctypes.c_void_p if star else C_TYPES[kind]) for kind, star, field in fields]


def constant(name):
    return int(re.search(rf"constexpr int {name} = (\d+);", kernels.sources()["plane.cuh"])[1])


def test_structs_equal_those_of_the_header():
    found = dict(structures())
    assert found.keys() == {"State", "Line", "Frame", "Stabilizer", "LineShifts", "Level", "Memory"}
    for name, fields in found.items():
        assert getattr(structs, name)._fields_ == fields, name


def test_constants_of_the_header_equal_those_of_python():
    assert constant("STRIPS") == NONRIGID_SETTINGS.strips
    assert (constant("THREADS"), constant("TILE")) == (kernel_history.THREADS, kernel_history.TILE)
    # A line may lie the limit off its frame, and rounding adds one pixel on either side.
    assert constant("MOST_LINES_OF_A_PLACE") == 2 * (NONRIGID_SETTINGS.limit_px + 1) + 1
    for name, words in {
        "Verdict": motion_numbers.MOTION_STATUSES,
        "PixelType": tuple(np.dtype(kind).name for kind in DTYPES),
        "Merge": MERGE_MODES,
    }.items():
        body = re.search(rf"enum {name} {{(.*?)}}", kernels.sources()["plane.cuh"])[1]
        assert tuple(word.strip().lower() for word in body.split(",")) == words


def entries(ptx):
    """Names of the kernels in a PTX and the bytes of each of their parameters."""
    return {
        name: [int(size) for size in re.findall(r"\.param \.align 8 \.b8 \w+\[(\d+)\]", parameters)]
        for name, parameters in re.findall(r"\.visible \.entry (\w+)\((.*?)\)", ptx, re.DOTALL)
    }


def test_shipped_ptx_belongs_to_the_sources_and_has_the_structs_as_parameters():
    ptx = kernels.program().decode()
    assert ptx.startswith(f"// sources: sha256 {kernels.digest()}\n"), "run tools/make_kernels.py"
    expected = {name: [ctypes.sizeof(kind) for kind in kinds] for name, kinds in structs.KERNELS.items()}
    assert entries(ptx) == expected
    assert re.search(r"^\.version 8\.1$", ptx, re.MULTILINE), "what driver 530 takes"
    assert re.search(r"^\.target sm_75$", ptx, re.MULTILINE)


def test_shipped_ptx_is_what_nvrtc_makes(tmp_path):
    if importlib.util.find_spec("nvidia") is None:
        pytest.skip("no NVRTC (pip install nvidia-cuda-nvrtc-cu12==12.1.*)")
    made = tmp_path / "kernels.ptx"
    tool = ROOT / "tools" / "make_kernels.py"
    subprocess.run([sys.executable, tool, "--out", made], check=True, capture_output=True)
    assert made.read_bytes() == kernels.program()


@pytest.mark.parametrize("architecture", ["sm_75", "sm_90"])
def test_shipped_ptx_assembles_without_spilled_registers(tmp_path, architecture):
    ptxas = shutil.which("ptxas")
    if ptxas is None:
        pytest.skip("no ptxas, which comes with nvcc")
    command = [ptxas, f"-arch={architecture}", "-v", "-Werror", kernels.PTX, "-o", tmp_path / "kernels.cubin"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"(\d+) bytes spill", done.stderr)) == {"0"}


def test_nvcc_compiles_without_warnings(tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc")
    command = [nvcc, "-ptx", "-arch=compute_90", "-Werror", "all-warnings", kernels.FOLDER / kernels.MAIN]
    done = subprocess.run([*command, "-o", tmp_path / "kernels.ptx"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert entries((tmp_path / "kernels.ptx").read_text()) == entries(kernels.program().decode())


def bind_identity(memory):
    """A network whose answer is the view in its inputs."""

    def bind(inputs, answers, shape):
        views = memory.at(inputs.address).view("f4").reshape(shape)[:, 0]

        def compute():
            memory.at(answers.address).view("f4")[:] = views.ravel()

        return lambda: memory.push(compute)

    return bind


def pipeline_of(shape, dtype="<i2", scan=None, merge="mean", views="each", memory=None, **rest):
    memory = memory or StandInMemory()
    card = replace(STREAM_CARD, views=views, memories=GAINS)
    info = stream(shape, dtype, scan or ScanGeometry())
    program = memory.program(kernels.program())
    return memory, KernelPipeline(bind_identity(memory), card, info, memory, program, merge, **rest)


def agrees(found):
    return found.shift_px < 2e-3 and max(found.inputs, found.pixels) < 2e-3 and found.mean_bias < 1e-5


@pytest.mark.parametrize("rows", [1, 2, 31, 33, 63, 65])
def test_frames_of_many_sizes_equal_numpy(rows):
    """Sizes around the network's grid and around the least sizes for which motion is estimated."""
    for columns in (rows + 2, 64):
        memory, pipeline = pipeline_of((1, 2 * rows + rows % 2, columns), scan=ScanGeometry("collinear"))
        assert agrees(kernel_check.compare_with_numpy(pipeline)), columns
        assert memory.untouched()


@pytest.mark.parametrize("first", ["forward", "backward"])
@pytest.mark.parametrize("merge", ["mean", "forward", "backward", "interleave"])
@pytest.mark.parametrize(("channels", "dtype"), [(1, "|u1"), (2, "<u2"), (3, "<f4")])
def test_collinear_frames_equal_numpy(channels, dtype, merge, first):
    for scan in (ScanGeometry("collinear", first=first), ScanGeometry("collinear", first=first, mirrored=False)):
        _, pipeline = pipeline_of((channels, 67, 35), dtype, scan, merge)
        assert agrees(kernel_check.compare_with_numpy(pipeline)), scan


@pytest.mark.parametrize("views", ["each", "mean"])
def test_ordinary_frames_equal_numpy(views):
    for bidirectional, mirrored, first in (
        (True, True, "forward"),
        (True, False, "backward"),
        (False, True, "forward"),
    ):
        scan = ScanGeometry("ordinary", bidirectional=bidirectional, mirrored=mirrored, first=first)
        _, pipeline = pipeline_of((1, 35, 34), "<u2", scan, views=views)
        assert agrees(kernel_check.compare_with_numpy(pipeline)), scan


@pytest.mark.parametrize("shape", [(1, 512, 300), (1, 300, 530)])
def test_large_frames_equal_numpy(shape):
    _, pipeline = pipeline_of(shape, scan=ScanGeometry("ordinary", mirrored=False), views="mean")
    assert agrees(kernel_check.compare_with_numpy(pipeline))


ORDERS = {"ascending": 0, "descending": 1, "shuffled": 7, "shuffled otherwise": 8}


def test_results_do_not_depend_on_the_order_of_blocks_and_threads():
    """Bit by bit: a thread that reads what another one writes, without a barrier between, would change the result."""
    answers = {}
    try:
        for name, order in ORDERS.items():
            library().stand_in_order(order)
            _, pipeline = pipeline_of((2, 150, 140), "<u2", ScanGeometry("collinear"))
            pipeline.set_scale([kernel_check._NORMALIZER] * 2)
            steps = [pipeline.push(frame) for frame in kernel_check.simulated_frames(pipeline.info)]
            last = (*[steps[-1][0].tobytes(), pipeline.inputs().tobytes()], *(stats.motion for _, stats in steps))
            answers[name] = last, [stats.mean_bias.tolist() for _, stats in steps]
            assert steps[-1][1].motion.strip_dy
    finally:
        library().stand_in_order(0)
    assert all(answer == answers["ascending"] for answer in answers.values())


def test_a_frame_takes_few_launches():
    assert pipeline_of((1, 128, 64), scan=ScanGeometry("collinear"))[1].kernel_count == 21
    assert pipeline_of((1, 40, 64))[1].kernel_count == 11  # no strips
    assert pipeline_of((1, 24, 64))[1].kernel_count == 6  # no motion


@pytest.mark.parametrize("size", [(64, 80), (65, 131), (300, 280)])
def test_strip_shifts_and_learned_variance_equal_numpy(size):
    plain, device = NonrigidMotionEstimator(size), StandInHistory(GAINS, 1, 1, size)
    frame, history = device._frames.frame, device.history
    state = structs.State.from_buffer(device.memory.arrays[history._state.address])
    at, shifts = device.at, history._nonrigid
    program = device.memory.program(kernels.program())
    start = np.array([[0.3], [-0.4]])
    for seed in range(3):
        image, averages = pair(size, seed)
        expected = plain.push(image, averages, start)
        at(frame.together, size)[...], at(shifts.remembered, size)[...] = image, averages
        off = (image - averages).astype(np.float64)
        at(shifts.differences, (size[0], 2), "f8")[...] = np.stack([off.sum(1), (off**2).sum(1)], 1)
        at(shifts.strips, (16, 2), "f8")[...] = start.T
        state.verdict, state.place_y, state.place_x = 1, 2.3, -3.4
        coarse, fine = history._levels[0], history._levels[-1]
        across = -(-size[1] // 256)
        launches = [program.bind("smooth", (across, fine.rows, 4), (256, 1, 1), frame, shifts, coarse, fine)]
        for level in history._levels:
            launches += [program.bind("measure_slopes", (level.rows, 1, 1), (256, 1, 1), shifts, level)]
            launches += [program.bind("solve", (1, 1, 1), (256, 1, 1), frame, shifts, level)]
        with device.memory.current():
            for launch in launches:
                launch()
        device.memory.synchronize()
        assert np.abs(at(shifts.strips, (16, 2), "f8").T - expected).max() < 2e-3
        assert state.variance == pytest.approx(plain._variance, rel=1e-3)
        strips = at(shifts.note, (36,), "f8")[4:].reshape(2, 16)
        assert np.allclose(strips, at(shifts.strips, (16, 2), "f8").T - start, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_each_line_enters_and_is_recalled_at_its_own_shift(seed):
    """Lines that show the same place enter one after the other, and none is left out."""
    size, rng = (64, 20), np.random.default_rng(seed)
    plain, device = TemporalAverages(GAINS, size), StandInHistory(GAINS, 1, 1, size)
    frame, history = device._frames.frame, device.history
    state = structs.State.from_buffer(device.memory.arrays[history._state.address])
    rigid = rng.uniform(-20, 20, (2, 1))
    shifts = rigid + np.clip(np.cumsum(rng.uniform(-0.45, 0.45, (2, 64)), axis=1), -7, 7)
    shifts[0, 20:40] = shifts[0, 20] + 0.9 * np.arange(20) * (1 if shifts[0, 20] < rigid[0] else -1)
    shifts = np.clip(shifts, rigid - 7.5, rigid + 7.5)
    assert np.unique(np.floor(shifts[0] + 0.5) - np.arange(64)).size < 64
    program = device.memory.program(kernels.program())
    state.verdict, state.place_y, state.place_x = 1, *rigid[:, 0]
    for number in range(3):
        slot = number % 2
        image = rng.normal(size=size).astype(np.float32)
        moved = shifts if number % 2 else shifts[:, ::-1].copy()
        at = device.at
        lines = np.ctypeslib.as_array((structs.Line * size[0]).from_buffer(device.memory.arrays[history._rigid.places]))
        whole, place = np.floor(moved + 0.5), MARGIN - moved
        number_of = np.stack([np.arange(64), np.zeros(64)])
        lines["top"], lines["left"] = np.floor(place) + number_of
        lines["down"], lines["right"] = place - np.floor(place)
        lines["row"], lines["column"] = MARGIN - whole + number_of
        at(frame.mean, size)[...] = image
        memory, rigid_estimator = history._averages[slot], history._rigid
        expected = np.empty((4, *size), np.float32)
        plain.recall(moved, expected)
        plain.update(image, moved)
        with device.memory.current():
            recall = (frame.padded_height, 1, 1), (256, 1, 1), frame, memory, rigid_estimator
            program.bind("recall", *recall)()
            program.bind("update", (memory.height, 1, 1), (256, 1, 1), frame, memory, rigid_estimator)()
        inputs = device._arrays.read(device._inputs, *device._shape)[0, :, :64, :20]
        got = np.concatenate([np.where(inputs[2] > 0, inputs[3:], 0), inputs[2:3]])
        assert np.abs(got - expected).max() < 1e-4
        means = at(memory.next_means, plain.means.shape)
        known = plain.weights > 0
        assert np.abs(means - plain.means)[known].max() < 1e-5
        assert np.abs(at(memory.next_weights, plain.weights.shape) - plain.weights).max() < 1e-6
        assert known.any()


def test_a_foreign_frame_does_not_change_the_drift():
    device = StandInHistory(GAINS, 1, 1, (64, 72))
    state = structs.State.from_buffer(device.memory.arrays[device.history._state.address])
    for _, frame in movie((64, 72), 5, views=1, seed=3):
        device.push(frame)
    before = state.drift_y, state.drift_x
    assert any(before)
    assert motion_numbers.MOTION_STATUSES[int(device.push(np.zeros_like(frame)).motion[3])] == "foreign"
    assert (state.drift_y, state.drift_x) == before


def test_an_open_pipeline_allocates_nothing():
    """Allocating page-locked memory takes longer than copying a frame."""
    memory, pipeline = pipeline_of((1, 40, 48))
    asked = []
    memory.allocate = memory.pinned = lambda *_: asked.append(_)
    for pixels in kernel_check.simulated_frames(pipeline.info):
        pipeline.set_line_offset(None)
        pipeline.set_scale([kernel_check._NORMALIZER])
        pipeline.skip(2)
        pipeline.push(pixels)
    pipeline.submit(pixels)
    pipeline.reset()
    assert pipeline.push(pixels)[1].motion.status == "restarted"
    assert not asked


def test_kernels_with_other_results_than_numpy_are_refused(monkeypatch):
    """The session then prepares frames on the host."""
    memory = StandInMemory()
    series = kernel_series(bind_identity(memory), STREAM_CARD, memory)
    info = stream((1, 64, 64), "<i2")
    assert "whole frames on the GPU in 21 kernels" in series.open(info, "mean")[0].description
    monkeypatch.setattr(KernelPipeline, "set_line_offset", lambda *_: None)
    with pytest.raises(EngineError, match=r"^kernels whose results on this GPU differ from numpy's \(.*inputs by"):
        series.open(stream((1, 72, 64), "<i2"), "mean")
    monkeypatch.undo()
    assert series.open(stream((1, 72, 64), "<i2"), "mean")


def test_a_gpu_that_fails_during_the_check_is_refused():
    memory = StandInMemory()
    series = kernel_series(bind_identity(memory), STREAM_CARD, memory)
    memory.cuda.stand_in_fail_after(40)
    try:
        with pytest.raises(EngineError, match=r"CUDA error 719: unspecified launch failure"):
            series.open(stream((1, 64, 64), "<i2"), "mean")
    finally:
        memory.cuda.stand_in_fail_after(-1)


def test_a_driver_that_refuses_the_program_raises_engine_error():
    memory = StandInMemory()
    with pytest.raises(EngineError, match=r"^the NVIDIA driver does not take the kernels \(CUDA error 200: "):
        memory.program(b"not a program")
    program = memory.program(kernels.program())
    with pytest.raises(EngineError, match=r"^a program without kernel 'other'"):
        program.bind("other", (1, 1, 1), (1, 1, 1))
    on_default_stream = CudaProgram(kernels.program(), memory.current, 0, memory.cuda)
    launch = on_default_stream.bind("age", (1, 1, 1), (1, 1, 1), structs.Memory())
    with pytest.raises(StageError, match="kernel age: CUDA error 1"):  # 0 is the default stream, which is never used
        launch()
    for _ in range(2):
        program.close()


def test_a_missing_driver_raises_engine_error(monkeypatch):
    def nothing(_name):
        raise OSError("no such library")

    monkeypatch.setattr("deepbid_rt.runtimes.gpu.driver.driver_library", lambda: nothing(""))
    with pytest.raises(EngineError, match="no NVIDIA driver"):
        CudaProgram(b"", StandInMemory().current, 1)


def test_replayed_graphs_give_the_same_frames():
    one, two = (pipeline_of((1, 64, 64), memory=StandInMemory(graphs=graphs)) for graphs in (False, True))
    assert (one[1].captured, two[1].captured, two[0].captured) == (False, True, 2)
    for pixels in kernel_check.simulated_frames(one[1].info):
        expected, got = (pipeline.push(pixels) for _, pipeline in (one, two))
        assert np.array_equal(got[0], expected[0])
        assert got[1].motion == expected[1].motion
    assert two[0].replayed > 0


def faulty(name):
    """The results of a kernel with a mistake, in each order of threads."""
    memory = StandInMemory()
    where = memory.allocate(256)
    launch = memory.program(kernels.program()).bind(name, (1, 1, 1), (64, 1, 1), ctypes.c_void_p(where.address))
    for order in ORDERS.values():
        memory.cuda.stand_in_order(order)
        try:
            with memory.current():
                launch()
            memory.synchronize()
        finally:
            memory.cuda.stand_in_order(0)
        yield memory.at(where.address).tobytes()


def test_the_stand_in_finds_a_race_and_a_missed_barrier():
    """Shows that the test of the order of threads can fail."""
    assert len(set(faulty("reads_without_a_barrier"))) > 1
    with pytest.raises(StageError, match="CUDA error 719"):
        next(faulty("misses_a_barrier"))


def test_simulated_frames_differ_from_each_other():
    frames = list(kernel_check.simulated_frames(stream((1, 128, 64), "<i2")))
    assert len(frames) == kernel_check.FRAMES
    assert len({frame.tobytes() for frame in frames}) == kernel_check.FRAMES


def test_kernels_work_on_memory_owned_by_torch():
    """As `deepbid-rt bench` times them next to torch operations."""
    from deepbid_rt.benchmark import loop
    from tests.stand_in_cuda.engine import StandInTorchMemory

    info = loop.series(40, 48, collinear=True)
    memory = StandInTorchMemory()
    pipeline, frames = loop.make_kernel_pipeline(lambda x: x[:, :1], STREAM_CARD, info, memory)
    figures = loop.time_loop(pipeline, frames, 3)
    assert (pipeline.kernel_count, figures["captured"]) == (11, False)
