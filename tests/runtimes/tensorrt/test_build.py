"""`build` from an engine file to a checked plan, on the simulated GPU."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the train extra is not installed")
from deepbid_rt.errors import EngineError, FileError, StageError  # after the check for onnx
from deepbid_rt.runtimes.tensorrt.build import BuildEffort, BuildProgress, BuildSpec, build, read_onnx
from deepbid_rt.runtimes.tensorrt.parity import _fit
from deepbid_rt.runtimes.tensorrt.sidecar import read_facts
from tests.simulated_gpu import SimulatedTensorRt, simulated_host


def spec_of(onnx, folder, precision="fp16", **changes):
    return dataclasses.replace(BuildSpec(onnx, folder / "m.plan", (5, 24, 32), precision, BuildEffort()), **changes)


def movie(count=14, value=None):
    rng = np.random.default_rng(0)
    return [np.full((20, 30), value or 0, np.int16) if value else rng.poisson(40, (20, 30)).astype(np.int16)] * count


def built(spec, trt=None, progress=None, frames=None):
    progress = progress or BuildProgress(lambda *_: None)
    return build(spec, *read_onnx(spec.onnx), frames or movie(), progress, simulated_host(trt))


def test_a_plan_is_written_with_its_facts(tiny_stream_onnx, tmp_path):
    facts = built(spec_of(tiny_stream_onnx, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.cache", "m.plan", "m.plan.json"]
    assert read_facts(tmp_path / "m.plan") == facts
    assert facts.plan_sha256 == hashlib.sha256((tmp_path / "m.plan").read_bytes()).hexdigest()
    assert facts.onnx_sha256 == hashlib.sha256(Path(tiny_stream_onnx).read_bytes()).hexdigest()
    assert (facts.gpu, facts.capability, facts.tensorrt) == ("simulated GPU", "9.0", "10.13.3.9")
    assert [(t.name, t.mode, t.shape) for t in facts.tensors] == [
        ("inputs", "input", (1, 5, 24, 32)),
        ("denoised", "output", (1, 1, 24, 32)),
    ]
    assert facts.parity["correlation"] >= 0.9995
    assert 0 < facts.parity["relative_error"] < 0.01
    assert facts.layers == {"simulated": 1, "not told": 1}
    assert len(facts.golden.values) == 256
    assert facts.golden.tolerance > 0


def test_the_timing_cache_of_the_last_build_is_used(tiny_stream_onnx, tmp_path):
    built(spec_of(tiny_stream_onnx, tmp_path))
    trt = SimulatedTensorRt()
    built(spec_of(tiny_stream_onnx, tmp_path), trt)
    assert trt.configs[0].caches == [b"simulated cache"]


@pytest.mark.parametrize("gain", [np.nan, -1.0])
def test_a_plan_with_wrong_answers_is_not_written(tiny_stream_onnx, tmp_path, gain):
    trt = SimulatedTensorRt()
    trt.gain = np.float32(gain)
    with pytest.raises(EngineError, match=r"not finite|correlate with those of the ONNX file by") as refused:
        built(spec_of(tiny_stream_onnx, tmp_path), trt)
    assert "nothing was written" in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_stopped_build_writes_nothing(tiny_stream_onnx, tmp_path):
    progress = BuildProgress(lambda *_: None)
    progress.stop()
    with pytest.raises(StageError, match=r"^the build was stopped"):
        built(spec_of(tiny_stream_onnx, tmp_path), progress=progress)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_refused(tiny_stream_onnx, tmp_path):
    with pytest.raises(FileError, match="cannot be written"):
        built(spec_of(tiny_stream_onnx, tmp_path, plan=tmp_path / "absent" / "m.plan"))


def test_a_size_off_the_grid_is_refused_before_anything_is_built(tiny_stream_onnx, tmp_path):
    trt = SimulatedTensorRt()
    with pytest.raises(EngineError, match="multiples of the card's grid"):
        built(spec_of(tiny_stream_onnx, tmp_path, shape=(5, 20, 30)), trt)
    assert not trt.configs


@pytest.mark.parametrize("size", [(8, 8), (20, 30), (24, 32), (100, 31)])
def test_frames_are_cropped_or_mirrored_to_the_plan_s_size(size):
    image = movie(1)[0]
    fitted = _fit(image, size)
    assert fitted.shape == size
    rows, columns = min(size[0], 20), min(size[1], 30)
    assert np.array_equal(fitted[:rows, :columns], image[:rows, :columns])
