"""A whole recording through the denoiser, as fast as it goes: the same `Denoiser` as the live path, without threads."""

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
        Open; a file, which never lets its reader wait.
    make_denoiser : callable
        Called with the series' `StreamInfo`.

    Returns
    -------
    info : StreamInfo
        What comes out.
    frames : iterator of Frame
        In order; reads the source as it is advanced.

    Raises
    ------
    StreamError
        When the source does not begin with a series.
    """
    info = source.read(0.0)
    if not isinstance(info, StreamInfo):
        raise StreamError(f"a source that begins with {info!r}", expected="a StreamInfo", todo="open the source before")
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
