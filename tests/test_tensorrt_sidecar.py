import dataclasses
import hashlib
import json

import numpy as np
import pytest

from deepbid_rt.errors import EngineError, FileError
from deepbid_rt.runtimes.tensorrt.sidecar import (
    Golden,
    PlanFacts,
    Tensor,
    golden_input,
    golden_values,
    read_facts,
    read_plan,
    rebuild_command,
    sidecar_path,
    write_plan,
)
from tests.fakes import STREAM_CARD

PLAN = b"ftrt" + bytes(60)
FACTS = PlanFacts(
    plan_sha256=hashlib.sha256(PLAN).hexdigest(),
    onnx="my engine.onnx",
    onnx_sha256="ab" * 32,
    tensorrt="10.13.3.9",
    gpu="simulated GPU",
    capability="9.0",
    driver="580.1 (CUDA 13.0)",
    precision="fp16",
    tensors=(
        Tensor("inputs", "input", (1, 5, 16, 24), "float32"),
        Tensor("denoised", "output", (1, 1, 16, 24), "float32"),
    ),
    card=STREAM_CARD,
    golden=Golden(0, (0.5, -0.25), 0.05),
    parity={"correlation": 0.99999},
    layers={"Half": 12},
)


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "m.plan"
    write_plan(path, PLAN, FACTS)
    return path


def test_facts_are_read_back_as_they_were_written(plan):
    assert read_facts(plan) == FACTS
    assert read_plan(plan, FACTS) == PLAN
    assert sorted(path.name for path in plan.parent.iterdir()) == ["m.plan", "m.plan.json"]


def test_the_shape_is_that_of_the_input():
    assert FACTS.shape == (5, 16, 24)


def test_the_rebuild_command_names_everything_that_matters(plan):
    assert rebuild_command(plan, FACTS) == (
        f"deepbid-rt build 'my engine.onnx' -o {plan} --size 16x24 --precision fp16"
    )


def test_no_plan_is_refused(tmp_path):
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


def lie(plan, **changes):
    data = json.loads(sidecar_path(plan).read_text())
    sidecar_path(plan).write_text(json.dumps(data | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": None},
        {"tensors": []},
        {"tensors": [{"name": "x"}]},
        {"tensors": 5},
        {"golden": None},
        {"golden": {"seed": 1}},
        {"card": {"name": "x"}},
        {"card": 7},
        {"unknown": 1},
    ],
)
def test_a_sidecar_that_is_none_is_refused(plan, changes):
    lie(plan, **changes)
    with pytest.raises(EngineError) as refused:
        read_facts(plan)
    message = str(refused.value)
    assert message.startswith(f"{plan}.json is no sidecar of a plan (")
    assert "expected the facts that deepbid-rt build writes, version 1; build the plan again: " in message
    assert "\n" not in message


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe\x00", b"null"])
def test_a_sidecar_that_is_no_json_object_is_refused(plan, text):
    sidecar_path(plan).write_bytes(text)
    with pytest.raises(EngineError, match=r"sidecar of (a|the) plan"):
        read_facts(plan)


@pytest.mark.parametrize("damage", ["cut", "changed", "exchanged"])
def test_a_plan_that_is_not_the_one_described_is_refused(plan, damage):
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


def test_a_folder_that_is_absent_is_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(FileError, match="cannot be written"):
        write_plan(tmp_path / "absent" / "m.plan", PLAN, FACTS)
    assert not list(tmp_path.iterdir())


def test_golden_noise_is_always_the_same_and_few_values_are_kept():
    given = golden_input(3, (5, 16, 24))
    assert np.array_equal(given, golden_input(3, (5, 16, 24)))
    assert not np.array_equal(given, golden_input(4, (5, 16, 24)))
    assert len(golden_values(np.zeros((1, 512, 512), np.float32))) == 256
    assert golden_values(np.arange(3, dtype=np.float32)) == (0.0, 1.0, 2.0)


def test_states_and_all_other_facts_survive_json():
    facts = dataclasses.replace(FACTS, states=("h",), built_utc="2026-11-21T00:00:00+00:00")
    assert PlanFacts.from_dict(json.loads(facts.to_json())) == facts
