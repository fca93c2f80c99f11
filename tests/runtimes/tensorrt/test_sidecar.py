import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.runtimes.tensorrt.plan_facts import golden_input
from deepbid_rt.runtimes.tensorrt.sidecar import read_facts, read_plan, rebuild_command, sidecar_path, write_plan
from tests.runtimes.tensorrt.test_plan_facts import FACTS, PLAN


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "m.plan"
    write_plan(path, PLAN, FACTS)
    return path


def test_written_facts_and_plan_are_read_back(plan):
    assert read_facts(plan) == FACTS
    assert read_plan(plan, FACTS) == PLAN
    assert sorted(path.name for path in plan.parent.iterdir()) == ["m.plan", "m.plan.json"]


def test_the_rebuild_command_has_file_size_and_precision(plan):
    assert rebuild_command(plan, FACTS) == (
        f"deepbid-rt build 'my engine.onnx' -o {plan} --size 16x24 --precision fp16"
    )


def test_a_missing_plan_is_refused(tmp_path):
    path = tmp_path / "m.plan"
    with pytest.raises(EngineError) as refused:
        read_facts(path)
    assert str(refused.value) == (
        f"no plan at {path}; expected a plan written by deepbid-rt build; "
        f"build the plan again: deepbid-rt build ENGINE.onnx -o {path} --size LINESxPIXELS."
    )


def test_a_missing_sidecar_is_refused(plan):
    sidecar_path(plan).unlink()
    with pytest.raises(EngineError) as refused:
        read_facts(plan)
    assert str(refused.value).startswith(
        f"{plan}.json, the sidecar of the plan, cannot be read (No such file or directory); "
        "expected the file that deepbid-rt build wrote; build the plan again: deepbid-rt build "
    )


def change(plan, **changes):
    data = json.loads(sidecar_path(plan).read_text())
    sidecar_path(plan).write_text(json.dumps(data | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": None},
        {"version": "of two\nlines"},
        {"tensors": []},
        {"tensors": [{"name": "x"}]},
        {"tensors": 5},
        {"golden": None},
        {"golden": {"seed": 1}},
        {"card": {"name": "x"}},
        {"card": 7},
        {"unknown": 1},
        {"onnx": 5},
        {"plan_sha256": None},
        {"capability": 9.0},
        {"tensors": [{"name": "x", "mode": "input", "shape": [1, 5, 16, 24], "dtype": "float32"}]},
        {"golden": {"seed": "x", "values": [1.0], "tolerance": 0.1}},
        {"golden": {"seed": -1, "values": [1.0], "tolerance": 0.1}},
        {"golden": {"seed": 0, "values": [None], "tolerance": 0.1}},
        {"golden": {"seed": 0, "values": [1.0], "tolerance": math.inf}},
        {"golden": {"seed": 0, "values": [1.0], "tolerance": 10**400}},
    ],
)
def test_a_sidecar_with_wrong_facts_is_refused(plan, changes):
    change(plan, **changes)
    refused_whole(plan)


@pytest.mark.parametrize(
    "changes",
    [
        *({"name": 5}, {"mode": 5}, {"dtype": None}, {"mode": "other"}),
        *(
            {"shape": shape}
            for shape in ([5, 16, 24], [1, 5, 0, 24], [1, 5, -16, 24], [1, 5, 16, "24"], [1, 5, 16, 24.0])
        ),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_sidecar_with_wrong_tensors_is_refused(plan, changes, place):
    tensors = json.loads(sidecar_path(plan).read_text())["tensors"]
    tensors[place] |= changes
    change(plan, tensors=tensors)
    refused_whole(plan)


def refused_whole(plan):
    with pytest.raises(EngineError) as refused:
        read_facts(plan)
    message = str(refused.value)
    assert message.startswith(f"{plan}.json is no sidecar of a plan (")
    assert "expected the facts that deepbid-rt build writes, version 1; build the plan again: " in message
    assert "\n" not in message


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe\x00", b"null", b"[" * 100_000])
def test_a_sidecar_that_is_not_a_json_object_is_refused(plan, text):
    sidecar_path(plan).write_bytes(text)
    with pytest.raises(EngineError, match=r"sidecar of (a|the) plan"):
        read_facts(plan)


@pytest.mark.parametrize("damage", ["cut", "changed", "exchanged"])
def test_a_plan_with_another_digest_is_refused(plan, damage):
    changed = bytearray(PLAN)
    changed[40] ^= 1
    plan.write_bytes({"cut": PLAN[:-1], "changed": bytes(changed), "exchanged": b"ftrt" + bytes(90)}[damage])
    with pytest.raises(EngineError) as refused:
        read_plan(plan, FACTS)
    assert str(refused.value) == (
        f"the plan {plan} has SHA-256 {hashlib.sha256(plan.read_bytes()).hexdigest()[:12]}…; "
        f"expected {FACTS.plan_sha256[:12]}… as its sidecar says: plan or sidecar was changed, cut or exchanged; "
        f"build it again: {rebuild_command(plan, FACTS)}."
    )


def test_a_missing_folder_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(FileError, match="cannot be written"):
        write_plan(tmp_path / "absent" / "m.plan", PLAN, FACTS)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_no_file(tmp_path):
    (tmp_path / "m.plan").mkdir()
    with pytest.raises(FileError, match="cannot be written"):
        write_plan(tmp_path / "m.plan", PLAN, FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["m.plan"]


def test_a_plan_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(EngineError, match=r"the plan .* cannot be read \(.*; build it again: "):
        read_plan(tmp_path, FACTS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
def test_any_sidecar_is_refused_or_can_be_used(tmp_path_factory, data):
    """One value anywhere in the sidecar is replaced; the facts that are read are then used as loading uses them."""
    plan = tmp_path_factory.getbasetemp() / "any.plan"
    write_plan(plan, PLAN, FACTS)
    facts = json.loads(sidecar_path(plan).read_text())
    place = facts
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(json_values)
    sidecar_path(plan).write_text(json.dumps(facts))
    message = ""
    try:
        read = read_facts(plan)
        read_plan(plan, read)
    except EngineError as refused:
        message = str(refused)
    assert "\n" not in message
    if message:
        return
    assert rebuild_command(plan, read).startswith("deepbid-rt build ")
    assert np.isfinite([*read.golden.values, read.golden.tolerance]).all()
    assert golden_input(read.golden.seed, (1, 2, 2)).shape == (1, 2, 2)
    assert all(side > 0 for side in read.shape)
