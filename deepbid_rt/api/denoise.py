"""A whole movie through the denoiser: array in, array out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.api.arguments import (
    DEFAULT_ENGINE,
    DEFAULT_RATE_HZ,
    ArrayLike,
    EngineLike,
    Precision,
    Runtime,
    Scan,
    as_movie_shape,
)
from deepbid_rt.api.array_denoiser import Denoiser
from deepbid_rt.api.movie import Movie
from deepbid_rt.frame import Frame
from deepbid_rt.scan.directions import MergeMode
from deepbid_rt.scan.line_phase_corrector import LinePhasePolicy


def denoise(
    movie: ArrayLike,
    engine: EngineLike = DEFAULT_ENGINE,
    scan: Scan | None = None,
    rate_hz: float | None = None,
    *,
    planes: int | None = None,
    merge: MergeMode = "mean",
    stabilize: bool = False,
    line_phase: LinePhasePolicy = "auto",
    denoise_channels: Sequence[int] | None = None,
    precision: Precision = "auto",
    threads: int = 0,
    runtime: Runtime = "auto",
    trust: bool = False,
) -> NDArray[Any]:
    """Denoise a whole movie; the same pixels as the live session gives.

    Parameters
    ----------
    movie : array
        (T, Y, X) or (T, C, Y, X) in raw counts, uint8, uint16, int16 or float32: a numpy array, a `Movie` from
        `deepbid_rt.open`, or anything that hands out a frame for ``movie[t]`` (memory maps, zarr, h5py). It is read
        frame by frame.
    engine : str, Path or Engine
        See `Denoiser.for_array`, as for all parameters below.
    scan : {"ordinary", "collinear"} or ScanGeometry, optional
        That of the `Movie`, or ordinary.
    rate_hz : float, optional
        Frames per second; that of the `Movie`, or 30.
    planes : int, optional
        Planes that were scanned in turn; those of the `Movie`, or 1.
    merge, stabilize, line_phase, denoise_channels, precision, threads, runtime, trust
        See `Denoiser.for_array`.

    Returns
    -------
    ndarray
        As many axes and the same type as the movie; collinear movies have half the lines unless `merge` is
        ``interleave``.

    Raises
    ------
    StreamError
        When the movie is no such array, or the engine was not trained for this scan.
    EngineError
        When there is no such engine, or it cannot take frames of this size.
    OptionError
        When an argument cannot take effect, see `Denoiser.for_array`.

    Examples
    --------
    >>> import numpy as np
    >>> import deepbid_rt as rt
    >>> noisy = np.random.default_rng(0).poisson(20, (40, 64, 64)).astype("uint16")
    >>> rt.denoise(noisy, engine="average").shape
    (40, 64, 64)
    """
    opened = movie if isinstance(movie, Movie) else None
    frames, channels, lines, pixels = as_movie_shape(movie)
    with Denoiser.for_array(
        engine,
        shape=(channels, lines, pixels),
        dtype=movie.dtype,
        rate_hz=rate_hz if rate_hz is not None else opened.rate_hz if opened else DEFAULT_RATE_HZ,
        scan=scan if scan is not None else opened.scan if opened else "ordinary",
        planes=planes if planes is not None else opened.planes if opened else 1,
        merge=merge,
        stabilize=stabilize,
        line_phase=line_phase,
        denoise_channels=denoise_channels,
        precision=precision,
        threads=threads,
        runtime=runtime,
        trust=trust,
    ) as denoiser:
        denoised = np.empty((frames, *denoiser.info.shape), movie.dtype)
        for frame in _denoised(movie, frames, denoiser):
            denoised[frame.index] = frame.pixels
    return denoised if len(movie.shape) == 4 else denoised[:, 0]


def _denoised(movie: ArrayLike, frames: int, denoiser: Denoiser) -> Iterator[Frame]:
    for t in range(frames):
        yield from denoiser.push(np.asarray(movie[t]))
    yield from denoiser.flush()
