"""Denoises a whole recording as fast as possible, with the same `Denoiser` as the live path but without threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Frame, Gap, StreamInfo
from deepbid_rt.ports import FrameSource


def denoise(source: FrameSource, make_denoiser: Callable[[StreamInfo], Denoiser]) -> tuple[StreamInfo, Iterator[Frame]]:
    """Denoise the first series of a source.

    Parameters
    ----------
    source : FrameSource
        Open. It must not make its reader wait: a file or a simulation.
    make_denoiser : callable
        Called with the `StreamInfo` of the series.

    Returns
    -------
    info : StreamInfo
        Description of the denoised series.
    frames : iterator of Frame
        The denoised frames in order. The source is read as the iterator advances.

    Raises
    ------
    StreamError
        When the source does not begin with a series.
    """
    info = source.read(0.0)
    if not isinstance(info, StreamInfo):
        raise StreamError(f"a source that begins with {info!r}", expected="a StreamInfo", todo="open the source first")
    denoiser = make_denoiser(info)
    return denoiser.info, _frames(source, denoiser)


def _frames(source: FrameSource, denoiser: Denoiser) -> Iterator[Frame]:
    while (event := source.read(0.0)) is not None:
        if isinstance(event, Frame):
            yield from denoiser.push(event)
        elif isinstance(event, Gap):
            yield from denoiser.skip(event.count)
        else:
            break
    yield from denoiser.flush()
