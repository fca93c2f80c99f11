"""The arrays of one frame on the device, from raw counts to the denoised image, and the kernels' `Frame` struct.

Reference implementation: `deepbid_rt.scan.splitter`, `deepbid_rt.scan.normalizer`, `deepbid_rt.scan.line_offset`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import DTYPES, StreamInfo
from deepbid_rt.runtimes.gpu import kernel_structs as structs
from deepbid_rt.runtimes.gpu.device_arrays import DeviceArrays
from deepbid_rt.scan.directions import MERGE_MODES, MergeMode, first_backward_line, merged_line_count
from deepbid_rt.scan.line_offset import LineOffset
from deepbid_rt.scan.normalizer import Normalizer
from deepbid_rt.scan.splitter import ScanSplitter


class FrameArrays:
    """The arrays of one plane's frame on the device.

    Parameters
    ----------
    info : StreamInfo
        The series.
    merge : {"mean", "forward", "backward", "interleave"}
        What becomes of the two views of a collinear frame.
    padded : tuple of int
        (Y, X) of the network's inputs.
    inferences : int
        Runs of the network for each channel of a frame.
    arrays : DeviceArrays
        Allocates and keeps them.

    Raises
    ------
    EngineError
        When the device has no room.
    """

    def __init__(
        self, info: StreamInfo, merge: MergeMode, padded: tuple[int, int], inferences: int, arrays: DeviceArrays
    ) -> None:
        channels, lines, pixels = info.shape
        views = ScanSplitter(info, merge)
        self._arrays = arrays
        self._no_offset = LineOffset(info.scan, pixels, 0.0)
        self._sources = arrays.empty(4, pixels, dtype=np.int32)
        self._source_weights = arrays.empty(4, pixels)
        self._scales = arrays.empty(4, channels)
        self.raw = arrays.empty(*info.shape, dtype=info.dtype)
        """(C, Y, X) as scanned."""
        merged = merged_line_count(lines, info.scan, merge)
        self.image = arrays.empty(channels, merged, pixels, dtype=info.dtype)
        """(C, Y', X), denoised."""
        tables = [
            arrays.copy_of(np.pad(np.arange(n, dtype=np.int32), (0, p - n), mode="symmetric"))
            for n, p in zip(views.size, padded, strict=True)
        ]
        offset, inverse, scale, bias = (self._scales.address + 4 * channels * n for n in range(4))
        self.frame = structs.Frame(
            raw=self.raw.address,
            image=self.image.address,
            sources=self._sources.address,
            source_weights=self._source_weights.address,
            offset=offset,
            inverse=inverse,
            scale=scale,
            bias=bias,
            units=arrays.empty(channels, views.count, *views.size).address,
            mean=arrays.empty(channels, *views.size).address,
            together=arrays.empty(*views.size).address,
            padded_rows=tables[0].address,
            padded_columns=tables[1].address,
            type=DTYPES.index(info.dtype.str),
            channels=channels,
            lines=lines,
            rows=views.size[0],
            columns=pixels,
            views=views.count,
            first_backward=first_backward_line(info.scan),
            aligned=views.count == 2 or info.scan.bidirectional,
            turned=info.scan.bidirectional and not info.scan.mirrored,
            passes=inferences,
            merge=MERGE_MODES.index(merge),
            merged_lines=merged,
            padded_height=padded[0],
            padded_width=padded[1],
        )
        """Argument of the kernels. The owner sets ``given``, ``answers`` and ``excess``."""
        self.set_scale([Normalizer(0.0, 1.0)] * channels, None)
        self.set_line_offset(None)

    def set_scale(self, normalizers: Sequence[Normalizer], bias: NDArray[np.float64] | None) -> None:
        """Set offset and scale of each channel, and the constant error of the engine's mean in network units (C,)."""
        offsets, scales = ([getattr(n, name) for n in normalizers] for name in ("offset", "scale"))
        table = [offsets, [1 / s for s in scales], scales, np.zeros(len(scales)) if bias is None else bias]
        self._arrays.fill(self._scales, np.array(table, np.float32))

    def set_line_offset(self, line_offset: LineOffset | None) -> None:
        """Set by how much backward lines are moved; None: not at all."""
        chosen = line_offset or self._no_offset
        self._arrays.fill(self._sources, chosen.columns.astype(np.int32))
        self._arrays.fill(self._source_weights, chosen.weights)
