"""`OpenVinoEngine`: runs engine files on the CPU; the default runtime."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from deepbid_rt.card import METADATA_KEY, ModelCard
from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.engine_file import check_engine_file, check_weights
from deepbid_rt.runtimes.openvino_core import core
from deepbid_rt.runtimes.precision import Precision

log = logging.getLogger(__name__)


class OpenVinoEngine:
    """Runs an ONNX engine file.

    Parameters
    ----------
    path : Path
        ONNX file with a model card in its metadata. Kind window: one input (1, 1, T, Y, X), one output of the same
        shape. Kind stream: one input (1, K, Y, X), one output (1, 1, Y, X).
    precision : {"auto", "bf16", "f32"}
        ``auto``: bfloat16 where the processor has instructions for it, float32 elsewhere.
    threads : int
        Threads of one inference; 0: OpenVINO chooses.

    Raises
    ------
    EngineError
        When the file is missing, damaged or has no valid card, when its weights are those of no network, or for bf16 on
        a processor without it.
    """

    def __init__(self, path: Path, *, precision: Precision = "auto", threads: int = 0) -> None:
        if not path.is_file():
            raise EngineError(
                f"no engine file at {path}",
                expected="an .onnx file written by deepbid-rt export",
                todo="check the path, or name a shipped engine",
            )
        check_engine_file(path)
        self._core = core()
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as error:
            raise EngineError(
                f"{path} cannot be read as a network ({_first_line(error)})",
                expected="an undamaged .onnx file written by deepbid-rt export",
                todo="export or copy the engine again",
            ) from error
        self.card = self._read_card(path)
        operators = self._model.get_ops()
        constants = (op.data for op in operators if op.get_type_name() == "Constant")
        check_weights(path, constants, convolves=any("Convolution" in op.get_type_name() for op in operators))
        self._stream = self.card.kind == "stream"
        self._config = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has_bf16:
            raise EngineError(
                "precision bf16 on a processor without bfloat16 instructions",
                expected="precision f32 or auto",
                todo="leave precision at auto",
            )
        self._precision = "bf16" if has_bf16 and precision != "f32" else "f32"
        quantized = any(op.get_type_name() == "FakeQuantize" for op in self._model.get_ops())
        arithmetic = f"int8 and {self._precision}" if quantized else self._precision
        processor = self._core.get_property("CPU", "FULL_DEVICE_NAME")
        self.description = f"OpenVINO {openvino.__version__.split('-')[0]} {arithmetic} on {processor.strip()}"
        self._shape: tuple[int, int, int] | None = None
        log.info("engine %s: %s", self.card.name, self.description)

    def _read_card(self, path: Path) -> ModelCard:
        place = ["framework", METADATA_KEY]
        if not self._model.has_rt_info(place):
            raise EngineError(
                f"{path} carries no model card",
                expected=f"the metadata entry {METADATA_KEY}",
                todo="export it with deepbid-rt export, which writes the card",
            )
        return ModelCard.from_json(self._model.get_rt_info(place).astype(str))

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Compile the network for inputs of shape (K, Y, X), K the card's depth, and run it once.

        Raises
        ------
        EngineError
            When the network cannot take this shape.
        """
        if shape == self._shape:
            return
        try:
            self._model.reshape([1, *shape] if self._stream else [1, 1, *shape])
            compiled = self._core.compile_model(
                self._model, "CPU", {**self._config, "INFERENCE_PRECISION_HINT": self._precision}
            )
            self._request = compiled.create_infer_request()
            self._shape = shape
            answer = self.infer(np.zeros(shape, np.float32))
        except RuntimeError as error:
            self._shape = None
            raise EngineError(
                f"engine {self.card.name!r} cannot take inputs of (K, Y, X) = {shape} ({_first_line(error)})",
                expected=f"{self.card.depth} arrays and sides in multiples of {self.card.grid}",
                todo="export the engine again with free sizes",
            ) from error
        if answer.shape != (expected := (1, *shape[1:]) if self._stream else shape):
            raise EngineError(
                f"engine {self.card.name!r} answers (K, Y, X) = {answer.shape} to inputs of {shape}",
                expected=f"an answer of {expected}",
                todo="export the engine again",
            )

    def infer(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Denoise an input (K, Y, X); the result is valid until the next call.

        Raises
        ------
        EngineError
            When the window's shape was not warmed up.
        """
        if window.shape != self._shape:
            raise EngineError(
                f"an input of shape {window.shape}", expected=f"{self._shape} as warmed up", todo="call warm_up first"
            )
        inputs = window[None] if self._stream else window[None, None]
        self._request.infer({0: inputs}, share_inputs=True, share_outputs=True)
        answer: NDArray[np.float32] = self._request.get_output_tensor(0).data
        axes = 1 if self._stream else 2
        if answer.shape[:axes] == (1,) * axes:
            answer = answer.reshape(answer.shape[axes:])
        return answer

    def close(self) -> None:
        """Release the compiled network."""
        self._request = None
        self._shape = None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
