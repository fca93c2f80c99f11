"""The raw and the denoised image of one frame number, laid out alike so that they can be shown side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.frame import FrameFlag, ScanGeometry
from deepbid_rt.live.frame_pairing import FramePair
from deepbid_rt.scan.directions import merge_views, split_scan, to_image_order


@dataclass(frozen=True, slots=True, eq=False)
class ImagePair:
    """The images of one frame number: (C, Y, X) in image order, both of the same shape."""

    index: int
    plane: int
    t_ns: int
    """When the microscope sent the frame, nanoseconds since the Unix epoch; 0 when unknown."""
    raw: NDArray[Any] | None
    """None when the raw frame was not received."""
    denoised: NDArray[Any] | None
    """None when there is no denoised stream."""
    not_denoised: bool = False
    """True when `denoised` holds raw pixels, because the session's engine had failed."""
    arrived_ns: int = 0
    """When the raw frame arrived at this computer, nanoseconds since the Unix epoch; when only the denoised frame is
    known, its time of arrival, see `raw_seen`. 0 when unknown."""
    raw_seen: bool = False
    """True when `arrived_ns` is that of the raw frame."""

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels of both images."""
        return sum(pixels.nbytes for pixels in (self.raw, self.denoised) if pixels is not None)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, Y, X)."""
        pixels = self.raw if self.denoised is None else self.denoised
        return (0, 0, 0) if pixels is None else pixels.shape


def raw_image(pixels: NDArray[Any], scan: ScanGeometry, lines: int | None) -> NDArray[Any]:
    """Lay a raw frame out like its denoised frame.

    Parameters
    ----------
    pixels : ndarray
        (C, Y, X) as scanned.
    scan : ScanGeometry
        How the frame was scanned.
    lines : int or None
        Lines of the denoised frame. If it has half as many lines as were scanned, the result is the mean of the two
        scan directions; otherwise the lines are only put in image order. None when the number is not known: the result
        is then the mean for a collinear scan.

    Returns
    -------
    ndarray
        (C, Y', X) of the same dtype, or float32 for a mean.
    """
    scanned = pixels.shape[-2]
    halved = lines == -(-scanned // 2) if lines is not None else scan.layout == "collinear"
    if not halved or lines == scanned:
        return to_image_order(pixels, scan)
    forward, backward = (np.asarray(view, np.float32) for view in split_scan(pixels, scan))
    return merge_views([forward, backward], scan, "mean") if backward.size else forward


def image_pair(frames: FramePair, scan: ScanGeometry, lines: int | None, raw_arrived_ns: int = 0) -> ImagePair:
    """Return the images of a pair of frames.

    Parameters
    ----------
    frames : FramePair
    scan : ScanGeometry
        How the raw frame was scanned.
    lines : int or None
        Lines of the denoised stream; None when they are not known.
    raw_arrived_ns : int
        When the raw frame arrived, if that is known without the frame itself; else 0.

    Returns
    -------
    ImagePair
        Without the raw image if its shape differs from that of the denoised image: such a raw frame belongs to a
        series that has just ended.

    Raises
    ------
    ValueError
        When the pair has no frame at all.
    """
    raw, denoised = frames.raw, frames.denoised
    named = denoised or raw
    if named is None:
        raise ValueError("a pair needs a frame")
    image = None if raw is None else raw_image(raw.pixels, scan, lines if denoised else None)
    if image is not None and denoised is not None and image.shape != denoised.pixels.shape:
        image = None
    sent_ns = raw.t_ns if raw is not None and image is not None else 0
    return ImagePair(
        named.index,
        named.plane,
        named.t_ns or sent_ns,
        image,
        denoised.pixels if denoised else None,
        not_denoised=denoised is not None and FrameFlag.NOT_DENOISED in denoised.flags,
        arrived_ns=(raw.arrived_ns if raw else raw_arrived_ns) or named.arrived_ns,
        raw_seen=bool(raw or raw_arrived_ns),
    )
