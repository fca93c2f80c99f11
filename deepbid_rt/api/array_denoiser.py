"""The denoiser for arrays: it opens its engine, numbers the frames, and takes numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike, NDArray

from deepbid_rt.api.arguments import (
    DEFAULT_ENGINE,
    DEFAULT_RATE_HZ,
    EngineLike,
    Precision,
    Runtime,
    Scan,
    as_channels,
    as_dtype,
    as_engine,
    as_frame_pixels,
    as_frame_shape,
    as_scan,
    check_count,
    check_denoising,
    check_gap,
    check_merge,
    check_number,
)
from deepbid_rt.denoising import denoiser as core
from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Frame, StreamInfo
from deepbid_rt.ports import Engine
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy


class Denoiser(core.Denoiser):
    """Denoises frames one by one, as the live session does. Make one with `for_array`; use it in a ``with`` block.

    One thread at a time may use it. A frame is copied where it has to be kept, so that a camera may reuse its buffer.
    """

    _own_engine: Engine | None = None
    _next_index = 0
    _closed = False

    @classmethod
    def for_array(
        cls,
        engine: EngineLike = DEFAULT_ENGINE,
        *,
        shape: tuple[int, ...],
        dtype: DTypeLike = "int16",
        rate_hz: float = DEFAULT_RATE_HZ,
        scan: Scan = "ordinary",
        planes: int = 1,
        merge: MergeMode = "mean",
        gap: core.GapPolicy = "auto",
        stabilize: bool = False,
        line_phase: LinePhasePolicy = "auto",
        denoise_channels: Sequence[int] | None = None,
        precision: Precision = "auto",
        threads: int = 0,
        runtime: Runtime = "auto",
        trust: bool = False,
    ) -> Denoiser:
        """Make a denoiser for frames of one shape and type.

        Parameters
        ----------
        engine : str, Path or Engine
            Name of a shipped engine (``light``, ``default``, ``best``, ``window``, ``average``, ``echo``), path of an
            engine file, or an open engine, which `close` leaves open. An open engine serves one denoiser at a time.
        shape : tuple of int
            (Y, X) or (C, Y, X) of a frame as scanned; Y counts both lines of each place in a collinear scan.
        dtype : dtype
            uint8, uint16, int16 or float32.
        rate_hz : float
            Frames per second, all planes counted; the line phase is averaged over time by it.
        scan : {"ordinary", "collinear"} or ScanGeometry
            How lines are scanned.
        planes : int
            Planes that are scanned in turn: frame ``n`` is of plane ``n % planes``.
        merge : {"mean", "forward", "backward", "interleave"}
            What becomes of the two denoised views of a collinear frame.
        gap : {"auto", "reset", "hold"}
            What missing frames (see `skip`) do to the temporal state.
        stabilize : bool
            Register the denoised frames to where the tissue lay in the first one.
        line_phase : float, "auto" or "off"
            Pixels by which backward lines lie too far right; ``auto`` measures them.
        denoise_channels : sequence of int, optional
            Channels to denoise; the others are passed through in the same geometry. By default all.
        precision : {"auto", "bf16", "f32"}
            Arithmetic of the network; ``auto`` takes bf16 where the processor has it.
        threads : int
            CPU threads of the network; 0 lets the runtime decide.
        runtime : {"auto", "openvino", "torch"}
            What runs an ``.onnx`` file; ``auto`` is OpenVINO.
        trust : bool
            Take a TensorRT plan from any folder; a plan is a program and runs with your rights.

        Raises
        ------
        EngineError
            When there is no such engine, or it cannot take frames of this size.
        StreamError
            When shape, type, rate, scan or channels are impossible, or the engine was not trained for this scan.
        OptionError
            When an argument cannot take effect: `merge` for an ordinary scan, `gap` for ``echo``, `precision`,
            `threads`, `runtime` or `trust` for this engine.
        """
        check_denoising(merge=merge, gap=gap, stabilize=stabilize, line_phase=line_phase, planes=planes)
        check_number("rate_hz", rate_hz)
        check_merge(f"merge={merge!r}", merge, as_scan(scan).layout)
        check_gap(f"gap={gap!r}", gap, engine)
        info = StreamInfo(
            shape=as_frame_shape(shape), dtype=as_dtype(dtype), rate_hz=rate_hz, scan=as_scan(scan), planes=planes
        )
        opened, own = as_engine(engine, precision=precision, threads=threads, runtime=runtime, trust=trust)
        try:
            denoiser = cls(
                opened,
                info,
                merge=merge,
                gap=gap,
                stabilize=stabilize,
                line_phase=line_phase,
                channels=as_channels(denoise_channels),
            )
        except BaseException:
            if own:
                opened.close()
            raise
        denoiser._own_engine = opened if own else None
        return denoiser

    def push(self, frame: Frame | NDArray[Any]) -> list[Frame]:
        """Take one frame and return the frames that became ready, in order of their number.

        Parameters
        ----------
        frame : ndarray or Frame
            (Y, X) or (C, Y, X) in raw counts. Arrays are numbered from 0 on.

        Returns
        -------
        list of Frame
            Often empty or of one frame; ``pixels`` is (C, Y', X) in the type of the input, Y' half of Y for a merged
            collinear scan. The first frames come together, once offset and noise are calibrated on them.

        Raises
        ------
        StreamError
            When shape or type are not those announced. The state stays as it was.
        """
        if self._closed:
            raise StreamError("a frame after close", expected="frames before it", todo="make another denoiser")
        if not isinstance(frame, Frame):
            pixels = as_frame_pixels(frame, self._info)
            frame = Frame(self._next_index, pixels, plane=self._next_index % self.info.planes)
        done = super().push(frame)
        self._next_index = frame.index + 1
        return done

    def skip(self, count: int) -> list[Frame]:
        """Say that the next `count` frames will never come; return the frames that became ready by it."""
        check_count("count", count, 0)
        self._next_index += count
        return super().skip(count)

    def reset(self) -> int:
        """Forget all frames and the calibration, number from 0 again, and return how many frames were inside."""
        self._next_index = 0
        return super().reset()

    def close(self) -> None:
        """Release the engine if it was opened here; frames inside are lost unless `flush` returned them before."""
        self._closed = True
        if self._own_engine is not None:
            self._own_engine.close()

    def __enter__(self) -> Denoiser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
