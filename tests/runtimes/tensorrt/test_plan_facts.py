import dataclasses
import hashlib
import json

import numpy as np

from deepbid_rt.runtimes.tensorrt.plan_facts import GoldenAnswer, PlanFacts, TensorFacts, golden_input, golden_values
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
        TensorFacts("inputs", "input", (1, 5, 16, 24), "float32"),
        TensorFacts("denoised", "output", (1, 1, 16, 24), "float32"),
    ),
    card=STREAM_CARD,
    golden=GoldenAnswer(0, (0.5, -0.25), 0.05),
    parity={"correlation": 0.99999},
    layers={"Half": 12},
)


def test_shape_is_that_of_the_input():
    assert FACTS.shape == (5, 16, 24)


def test_golden_input_is_reproducible_and_few_values_are_kept():
    given = golden_input(3, (5, 16, 24))
    assert np.array_equal(given, golden_input(3, (5, 16, 24)))
    assert not np.array_equal(given, golden_input(4, (5, 16, 24)))
    assert len(golden_values(np.zeros((1, 512, 512), np.float32))) == 256
    assert golden_values(np.arange(3, dtype=np.float32)) == (0.0, 1.0, 2.0)


def test_all_facts_survive_json():
    facts = dataclasses.replace(FACTS, states=("h",), built_utc="2026-11-21T00:00:00+00:00")
    assert PlanFacts.from_dict(json.loads(facts.to_json())) == facts
