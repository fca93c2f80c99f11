"""`specialize`: fixes the input size of an ONNX network and writes the precision of each layer into it.

TensorRT 11 takes precision from the network only, and TensorRT 10 can be set to do so; no other module decides it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deepbid_rt.card import METADATA_KEY, ModelCard
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.engine_file import check_engine_file

PlanPrecision = Literal["fp16", "bf16", "fp32"]
LIMIT = 1024.0
"""Largest input of an fp16 network, standard deviations of the noise. Up to it no layer of the shipped networks leaves
the range of fp16 (``tests/runtimes/tensorrt/test_onnx_specialize.py``), and no signal is 1024 times its noise."""
_TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_LOW = frozenset(
    {"Conv", "ConvTranspose", "Relu", "LeakyRelu", "Clip", "MaxPool", "AveragePool", "Pad", "Resize", "Concat"}
    | {"Add", "Sub", "Mul", "DepthToSpace"}
)
"""Operators that compute in the low precision. All others, and those that add the input to the answer, stay fp32."""
_EXACT = {"fp16": frozenset[str](), "bf16": frozenset({"ConvTranspose"})}
"""Operators for which NVIDIA's builder has no kernel in a precision (found with TensorRT-RTX 1.7)."""
_DATA = {"Resize": 1, "Pad": 1}
"""Number of an operator's inputs that are data; the others are sizes."""
_BF16_OPSET = 22
"""First opset whose Conv accepts bf16."""


def read_onnx(path: Path) -> tuple[onnx.ModelProto, ModelCard]:
    """Read an engine file and its card.

    Raises
    ------
    EngineError
        When it is missing, damaged, not ONNX, or has no card.
    """
    todo = "name an .onnx file written by deepbid-rt export, or a shipped engine"
    check_engine_file(path)
    try:
        model = onnx.load(str(path))
    except OSError as error:
        raise EngineError(f"no engine file at {path}", expected="an .onnx file", todo=todo) from error
    except Exception as error:  # protobuf has an exception of its own for each of its back ends
        raise EngineError(
            f"{path} cannot be read as a network ({str(error).splitlines()[0]})", expected="an .onnx file", todo=todo
        ) from error
    cards = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if not cards:
        raise EngineError(f"{path} carries no model card", expected=f"the entry {METADATA_KEY}", todo=todo)
    return model, ModelCard.from_json(cards[0])


def weights_of(model: onnx.ModelProto) -> list[tuple[NDArray[Any], NDArray[Any] | None]]:
    """Return weight and bias of every convolution, in the order in which they run.

    Names do not identify them: the exporter stores equal weights once, under one of their names.
    """
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            weight, *bias = (numpy_helper.to_array(values[name]) for name in node.input[1:])
            found.append((weight, bias[0] if bias else None))
    return found


def specialize(model: onnx.ModelProto, shape: tuple[int, ...], precision: PlanPrecision) -> onnx.ModelProto:
    """Return the network for one input shape and precision; inputs and outputs stay float32.

    Parameters
    ----------
    model : ModelProto
        A float32 network with one input and one output of the same rank; not changed.
    shape : tuple of int
        Of the input: (1, K, Y, X) for a stream engine, (1, 1, T, Y, X) for a window engine.
    precision : {"fp16", "bf16", "fp32"}
        Of the convolutions and the operators between them.

    Raises
    ------
    EngineError
        When the network has other inputs or outputs, or does not accept this shape.
    """
    special = onnx.ModelProto()
    special.CopyFrom(model)
    graph = special.graph
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise EngineError(
            f"a network with {len(graph.input)} inputs and {len(graph.output)} outputs",
            expected="one of each",
            todo="export the engine again",
        )
    answer = (*shape[:1], 1, *shape[2:])
    for value, sizes in ((graph.input[0], shape), (graph.output[0], answer)):
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, sizes))
    del graph.value_info[:]
    if precision != "fp32":
        _cast(graph, precision)
        if precision == "bf16":
            del special.opset_import[:]
            special.opset_import.append(helper.make_opsetid("", _BF16_OPSET))
    try:
        onnx.checker.check_model(special, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise EngineError(
            f"a network that cannot take inputs of {shape} in {precision} ({str(error).strip().splitlines()[0]})",
            expected="sides in multiples of the card's grid",
            todo="choose another size or precision",
        ) from error
    return special


def _cast(graph: Any, precision: PlanPrecision) -> None:
    """Insert casts so that operators of `_LOW` compute in the low precision."""
    low = _TYPES[precision]
    types = {value.name: TensorProto.FLOAT for value in graph.input}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    exact = _bypass(graph)
    nodes: list[Any] = []
    made: dict[tuple[str, int], str] = {}

    def cast(name: str, to: int) -> str:
        if (name, to) not in made:
            made[name, to] = f"{name}_{TensorProto.DataType.Name(to).lower()}"
            given = name
            if to == TensorProto.FLOAT16 and name == graph.input[0].name:
                given = f"{name}_limited"
                nodes.append(helper.make_node("Clip", [name, "limit_low", "limit_high"], [given], f"limit_{name}"))
            nodes.append(helper.make_node("Cast", [given], [made[name, to]], f"cast_{made[name, to]}", to=to))
        return made[name, to]

    for node in list(graph.node):
        wanted = low if node.op_type in _LOW - _EXACT[precision] and node.name not in exact else TensorProto.FLOAT
        data = _DATA.get(node.op_type, len(node.input))
        for index, name in enumerate(node.input[:data]):
            if name in weights:
                if wanted == low:
                    node.input[index] = _low_weights(graph, weights, name, precision)
            elif name and types[name] != wanted:
                node.input[index] = cast(name, wanted)
        types.update(dict.fromkeys(node.output, wanted))
        nodes.append(node)
    final = graph.output[0].name
    if types[final] != TensorProto.FLOAT:
        for node in nodes:
            node.output[:] = [f"{final}_low" if name == final else name for name in node.output]
            node.input[:] = [f"{final}_low" if name == final else name for name in node.input]
        nodes.append(helper.make_node("Cast", [f"{final}_low"], [final], "cast_answer", to=TensorProto.FLOAT))
    if any(node.op_type == "Clip" for node in nodes):
        for name, value in (("limit_low", -LIMIT), ("limit_high", LIMIT)):
            graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _bypass(graph: Any) -> set[str]:
    """Return the names of the nodes that add the weighted input to the answer; they set brightness, so stay fp32."""
    makers = {name: node for node in graph.node for name in node.output}
    last = makers.get(graph.output[0].name)
    if last is None or last.op_type != "Add":
        return set()
    straight = [makers[n] for n in last.input if n in makers and graph.input[0].name in makers[n].input]
    return {last.name, *(node.name for node in straight)} if straight else set()


def _low_weights(graph: Any, weights: dict[str, Any], name: str, precision: PlanPrecision) -> str:
    """Add weights in the low precision to the graph; return their name."""
    low = f"{name}_{precision}"
    if low not in weights:
        values = numpy_helper.to_array(weights[name])
        if precision == "fp16":
            tensor = numpy_helper.from_array(values.astype(np.float16), low)
        else:
            bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
            rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")  # to nearest, ties to even
            tensor = helper.make_tensor(low, TensorProto.BFLOAT16, values.shape, rounded.tobytes(), raw=True)
        graph.initializer.append(tensor)
        weights[low] = tensor
    return low
