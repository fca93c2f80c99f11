"""What is refused of an engine file before a runtime reads it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from deepbid_rt.card import METADATA_KEY
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes import engine_file, load_engine
from deepbid_rt.runtimes.engine_file import DIGEST_KEY, check_engine_file, check_weights, seal
from tests import ROOT

SHIPPED = ("light", "default", "best", "window")
LIGHT = ROOT / "engines" / "light" / "model.onnx"


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def changed(path: Path, change) -> Path:
    """A file without a digest whose weights were changed."""
    model = onnx.load(LIGHT)
    kept = [entry for entry in model.metadata_props if entry.key != DIGEST_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).copy()
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(change(array) if array.dtype == np.float32 else array, tensor.name)
        )
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_engines_carry_their_digest(name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = ROOT / "engines" / name / "model.onnx"
    with caplog.at_level(logging.INFO):
        check_engine_file(path)
    assert "no digest" not in caplog.text
    properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert list(properties) == [METADATA_KEY, DIGEST_KEY]


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
@pytest.mark.parametrize("damage", ["zeroed weights", "one bit", "cut", "longer"])
def test_damage_is_refused(tmp_path: Path, damage: str, runtime) -> None:
    data = bytearray(LIGHT.read_bytes())
    if damage == "zeroed weights":
        data[20_000:60_000] = bytes(40_000)
    elif damage == "one bit":
        data[30_000] ^= 1
    elif damage == "cut":
        del data[-100:]
    else:
        data += data[-100:]
    path = written(tmp_path / "engine.onnx", bytes(data))
    with pytest.raises(EngineError) as refused:
        load_engine(str(path), runtime=runtime)
    assert str(path) in str(refused.value)
    assert str(refused.value).count("expected") == 1


def test_a_file_that_was_changed_and_saved_again_is_refused(tmp_path: Path) -> None:
    model = onnx.load(LIGHT)
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    onnx.save(model, tmp_path / "engine.onnx")
    with pytest.raises(EngineError, match="does not match its own digest: it was damaged or changed"):
        check_engine_file(tmp_path / "engine.onnx")
    entry = onnx.StringStringEntryProto(key="mine", value="1")
    model = onnx.load(LIGHT)
    model.metadata_props.append(entry)
    onnx.save(model, tmp_path / "engine.onnx")
    with pytest.raises(EngineError, match="something follows its digest"):
        check_engine_file(tmp_path / "engine.onnx")


def test_a_file_of_an_earlier_version_is_accepted_with_a_note(tmp_path: Path, caplog) -> None:
    path = changed(tmp_path / "old.onnx", lambda array: array)
    with caplog.at_level(logging.INFO):
        engine = load_engine(str(path))
    engine.close()
    assert f"{path} carries no digest, so damage would not be seen" in caplog.text


def test_the_digest_changes_nothing_but_itself() -> None:
    data = LIGHT.read_bytes()
    bare = data[: -len(engine_file._START) - 64]
    assert seal(bare) == data
    assert onnx.load_from_string(bare).graph == onnx.load_from_string(data).graph


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: np.zeros_like(array) if array.ndim == 4 else array, "all weights of "),
        (lambda array: np.where(array == array.max(), np.nan, array).astype("f4"), " holds weights that are NaN"),
        (lambda array: np.where(array == array.max(), np.inf, array).astype("f4"), " holds weights that are NaN"),
    ],
    ids=["zero", "NaN", "infinite"],
)
def test_weights_of_no_network_are_refused_without_a_digest_too(tmp_path: Path, runtime, change, message) -> None:
    path = changed(tmp_path / "engine.onnx", change)
    with pytest.raises(EngineError, match=message):
        load_engine(str(path), runtime=runtime)


def test_a_network_without_convolutions_may_hold_zeros() -> None:
    check_weights(Path("x.onnx"), [np.zeros((1, 1, 4, 4), np.float32)], convolves=False)


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
@pytest.mark.parametrize("place", ["weights.bin", "../secret.bin"])
def test_weights_in_other_files_are_refused(tmp_path: Path, place: str, runtime) -> None:
    folder = tmp_path / "engine"
    folder.mkdir()
    model = onnx.load(changed(tmp_path / "bare.onnx", lambda array: array))
    tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    (folder / place).write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, place)
    tensor.ClearField("raw_data")
    path = written(folder / "engine.onnx", model.SerializeToString())
    with pytest.raises(EngineError, match="refers to other files for its weights; expected one file"):
        load_engine(str(path), runtime=runtime)


def test_every_spelling_of_another_file_is_found() -> None:
    """Protobuf accepts a number with any amount of leading zeros."""
    for tag in (b"\x0a", b"\x8a\x00", b"\x8a\x80\x80\x00"):
        for length in (b"\x08", b"\x88\x00", b"\x88\x80\x00"):
            raw = tag + length + b"location" + b"\x12\x01x"
            entry = onnx.StringStringEntryProto.FromString(raw)
            assert entry.key == "location"
            assert engine_file._EXTERNAL.search(b"abc" + raw)


def test_a_huge_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "engine.onnx"
    path.touch()
    os.truncate(path, 2**33)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(EngineError, match=r"has 8,589,934,592 bytes; expected at most 536,870,912"):
        check_engine_file(path)


def test_a_folder_is_no_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        check_engine_file(tmp_path)
