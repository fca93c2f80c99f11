"""A simulated two-photon microscope: it scans living tissue line by line and adds the noise of its detector.

Every frame is a function of the settings and its number alone.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Event, Frame, Image, ScanGeometry, StreamEnd, StreamInfo
from deepbid_rt.scan.directions import merge_scan, split_scan
from deepbid_rt.simulator.frame_stamp import stamp
from deepbid_rt.simulator.raster import Raster
from deepbid_rt.simulator.tissue import SceneSettings, Tissue


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """Settings of the scanner and the detector."""

    size: tuple[int, int] = (128, 128)
    """Lines and pixels of the field of view; collinear frames hold twice as many lines."""
    rate_hz: float = 30.0
    """Frames per second."""
    scan: ScanGeometry = field(default_factory=lambda: ScanGeometry(layout="collinear"))
    line_us: float | None = None
    """Duration of a line, microseconds; the beam pauses for the rest of the frame period. None: there is no rest."""
    fill: float = 0.0
    """Share of the swing of a resonant mirror in which it samples, evenly in time; 0: evenly in space."""
    line_phase_px: float = 0.0
    """Pixels by which backward lines lie further right than forward lines, in image order; the truth has none."""
    photons: float = 0.4
    """Mean photons per pixel of one line, over space and time."""
    gain: float = 100.0
    """Counts per photon."""
    excess: float = 0.2
    """Excess noise: variance of the detector's response to one photon, in squared photons; 0 for a perfect counter."""
    dark: float = 0.0
    """Mean dark counts per pixel of one line, in photons; they have the noise of photons."""
    read_noise: float = 15.0
    """Standard deviation of the Gaussian noise, counts."""
    offset: float = 100.0
    """Counts without light."""
    x_correlation: float = 0.0
    """Noise correlation of neighbouring pixels in a line, 0 to 0.5 (limited bandwidth of the detector)."""
    vignette: float = 0.3
    """Share of the light that is lost in the corners of the field of view."""
    dtype: str = "<i2"
    """Pixel type, one of `deepbid_rt.frame.DTYPES`; integers are rounded and clipped to their range."""
    bits: int | None = None
    """Counts are clipped at 2**bits - 1, as those of a 12-bit digitiser in 16-bit pixels; None: at the type's limit."""
    seed: int = 0
    """Draws the noise and nothing else."""

    def __post_init__(self) -> None:
        amounts = (self.photons, self.dark, self.read_noise, self.excess)
        if not (min(amounts) >= 0 and self.gain > 0):
            raise StreamError(
                f"photons {self.photons}, gain {self.gain}, dark counts {self.dark}, read noise {self.read_noise}, "
                f"excess {self.excess}",
                expected="none of them negative and a gain above 0",
                todo="check the scan settings",
            )
        if not 0 <= self.vignette < 1:
            raise StreamError(
                f"a vignette of {self.vignette}",
                expected="at least 0 and less than 1, the share of light lost in the corners",
                todo="check the scan settings",
            )
        lines = self.size[0] * (2 if self.scan.layout == "collinear" else 1)
        if self.line_us is not None and not 0 < lines * self.line_us * self.rate_hz <= 1e6 + 1:
            raise StreamError(
                f"{lines} lines of {self.line_us} us at {self.rate_hz:g} frames per second",
                expected="lines that fit into the frame period",
                todo="lower the rate, the lines or their duration",
            )
        limit = {"u": 8 * np.dtype(self.dtype).itemsize, "i": 15}.get(np.dtype(self.dtype).kind, 0)
        if not 0 <= self.fill < 1 or (self.bits is not None and not 1 <= self.bits <= limit):
            raise StreamError(
                f"a mirror that samples in {self.fill} of its swing, {self.bits} bits in pixels of type {self.dtype}",
                expected=f"0 to less than 1 of the swing and, for this type, 1 to {limit} bits or none",
                todo="check the scan settings",
            )
        if not 0 <= self.x_correlation <= 0.5:
            raise StreamError(
                f"a noise correlation of {self.x_correlation}",
                expected="0 to 0.5, the largest possible in an average of two pixels",
                todo="check the scan settings",
            )


class SyntheticSource:
    """A `FrameSource` of simulated frames; it renders a frame whenever one is read, without pacing.

    Parameters
    ----------
    scene : SceneSettings
        The tissue.
    scan : ScanSettings
        The microscope.
    n_frames : int or None
        Length of the series; None for an endless one.
    stamped : bool
        Write each frame's number into its pixels, see `deepbid_rt.simulator.frame_stamp`.
    source : str
        Name of the sender.
    on_truth : callable, optional
        Called with (index, truth) for every frame that is read.
    """

    def __init__(
        self,
        scene: SceneSettings,
        scan: ScanSettings,
        n_frames: int | None = None,
        *,
        stamped: bool = False,
        source: str = "simulator",
        on_truth: Callable[[int, Image], None] | None = None,
    ) -> None:
        lines, pixels = scan.size
        self._collinear = scan.scan.layout == "collinear"
        self.info = StreamInfo(
            shape=(1, 2 * lines if self._collinear else lines, pixels),
            dtype=np.dtype(scan.dtype),
            rate_hz=scan.rate_hz,
            scan=scan.scan,
            source=source,
            n_expected=n_frames,
        )
        self._scene, self._scan, self._n_frames = scene, scan, n_frames
        share = None if scan.line_us is None else scan.line_us * 1e-6 * scan.rate_hz
        self._raster = Raster(scan.size, scan.scan, share, scan.fill, scan.line_phase_px)
        self._true_raster = Raster(scan.size, scan.scan, share, scan.fill) if scan.line_phase_px else self._raster
        self._upright = dataclasses.replace(scan.scan, mirrored=True)
        self._stamped, self._on_truth = stamped, on_truth
        self._next: int | None = None

    @functools.cached_property
    def tissue(self) -> Tissue:
        """The tissue under the objective; drawn when it is first needed."""
        return Tissue(self._scene, self._scan.size, self._scan.rate_hz, abs(self._scan.line_phase_px))

    def open(self) -> None:
        """Draw the tissue and start at the first frame."""
        _ = self.tissue
        self._next = -1

    def read(self, timeout_s: float) -> Event | None:
        """Return the stream's description, then each frame, then its end, then None; never waits."""
        if self._next is None:
            return None
        index, self._next = self._next, self._next + 1
        if index < 0:
            return self.info
        if index == self._n_frames:
            self._next = None
            return StreamEnd("done")
        pixels, truth = self.render(index)
        if self._on_truth is not None:
            self._on_truth(index, truth)
        return Frame(index, pixels)

    def close(self) -> None:
        """End the series; may be called twice."""
        self._next = None

    def render(self, index: int) -> tuple[NDArray[np.generic], Image]:
        """Return one frame and its noise-free truth; frames may be rendered in any order.

        Parameters
        ----------
        index : int
            Number of the frame, from 0.

        Returns
        -------
        pixels : ndarray, (1, Y, X), the stream's dtype
            Raw counts, lines in the order and direction of the scan.
        truth : ndarray, (1, N, X), float32
            Noise-free counts including gain, dark counts and offset, in image order, with the motion of the frame; for
            collinear frames the mean of both lines. It has no line phase: backward lines are in their place.
        """
        rng = np.random.Generator(np.random.SFC64([self._scan.seed, self._scene.seed, 37, index]))
        light, true = self._sample(index)
        pixels = self._detect(light, rng)
        clean = np.mean(split_scan(true, self._upright), axis=0) if self._collinear else true
        truth = (clean + np.float32(self._scan.dark)) * np.float32(self._scan.gain) + np.float32(self._scan.offset)
        if self._upright != self._scan.scan:
            pixels = merge_scan(*split_scan(pixels, self._upright), self._scan.scan)
        if self._stamped:
            stamp(pixels[None], index)
        return pixels[None], truth[None]

    def render_movie(self, n_frames: int) -> tuple[NDArray[np.generic], NDArray[np.float32]]:
        """Return frames 0 to ``n_frames - 1`` and their truth, (T, 1, Y, X) and (T, 1, N, X); see `render`."""
        pixels, truth = zip(*(self.render(index) for index in range(n_frames)), strict=True)
        return np.stack(pixels), np.stack(truth)

    def _sample(self, index: int) -> tuple[Image, Image]:
        """Return the expected photons of each pixel (Y, X), with the line phase and without it."""
        tissue, raster = self.tissue, self._raster
        clocks = [raster.clock(tissue.margin, view) for view in range(raster.views)]
        # Both lines of a pair see the same canvas, unless blood flows so fast that the second line sees other blood.
        canvases = [tissue.render(index, clock) for clock in (clocks if self._scene.flow_mm_s else [None])]
        shift = tissue.motion.displacement(index, raster.phase)
        warp = tissue.beat.displacement(index, raster.phase, raster.row) if tissue.beat else None
        rasters = [raster] if raster is self._true_raster else [raster, self._true_raster]
        lights = [each.sample(canvases, tissue.margin, shift, warp) * self._illumination for each in rasters]
        return lights[0], lights[-1]

    @functools.cached_property
    def _illumination(self) -> Image:
        """Return the expected photons of each pixel (Y, X) for tissue of brightness 1."""
        lines, pixels = self.info.shape[1:]
        y, x = np.linspace(-1, 1, lines)[:, None], np.linspace(-1, 1, pixels)[None, :]
        falloff = np.exp(math.log1p(-self._scan.vignette) * (y * y + x * x) / 2)
        return np.asarray(self._scan.photons * falloff / falloff.mean(), np.float32)

    def _detect(self, light: Image, rng: np.random.Generator) -> NDArray[np.generic]:
        """Convert expected photons (Y, X) to counts with photon noise, excess noise and read noise."""
        scan = self._scan
        light = light + np.float32(scan.dark)
        photons = rng.poisson(light).astype(np.float32)
        spread = np.sqrt(photons * np.float32(scan.excess) + np.float32((scan.read_noise / scan.gain) ** 2))
        noise = rng.standard_normal(light.shape, dtype=np.float32)
        noise *= spread
        noise += photons
        if scan.x_correlation:
            # An average of two pixels with weights a, b: a^2 + b^2 = 1 keeps the variance, a * b is the correlation.
            noise -= light
            angle = math.asin(min(2 * scan.x_correlation, 1.0)) / 2
            before = noise[:, :-1] * np.float32(math.sin(angle))
            noise[:, 1:] *= np.float32(math.cos(angle))
            noise[:, 1:] += before
            noise += light
        noise *= np.float32(scan.gain)
        noise += np.float32(scan.offset)
        if self.info.dtype.kind == "f":
            return noise.astype(self.info.dtype, copy=False)
        limits = np.iinfo(self.info.dtype)
        np.rint(noise, out=noise)
        np.clip(noise, limits.min, limits.max if scan.bits is None else 2**scan.bits - 1, out=noise)
        return noise.astype(self.info.dtype)
