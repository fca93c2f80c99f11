"""The viewer without its window: which pair is shown, what is drawn, what the keys do, and the facts for the display.

It needs no screen. Only the thread of the window uses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.live.age_limit import age_limit_ms
from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.viewer.camera import Camera, Rect, place_panels
from deepbid_rt.viewer.colors import REGIONS, count_not_finite
from deepbid_rt.viewer.controls import Controls
from deepbid_rt.viewer.feed import Feed
from deepbid_rt.viewer.hud import MAX_LATENCY_MS, Facts, LossWatch, is_frozen
from deepbid_rt.viewer.image_pair import ImagePair
from deepbid_rt.viewer.levels import Levels, subsample
from deepbid_rt.viewer.pair_history import RunningAverage
from deepbid_rt.viewer.panels import BLINK_S, NOT_DENOISED, NOT_LIVE, ImageSource, Layer, Panel, Scene, panels_of
from deepbid_rt.viewer.picture_cache import Images, PictureCache, thinning_step
from deepbid_rt.viewer.playback import Playback
from deepbid_rt.viewer.pointer import Pointer
from deepbid_rt.viewer.recent_events import RecentEvents
from deepbid_rt.viewer.roi import Roi, RoiShape, Vertex
from deepbid_rt.wire.beat_status import LOSS_CAUSES, BeatStatus
from deepbid_rt.wire.received_text import received_text


class ViewerModel:
    """Everything the viewer shows of a feed.

    Parameters
    ----------
    feed : Feed
        The source of the pairs.
    clock : callable, optional
        Returns monotonic seconds.
    wall_ns : callable, optional
        Returns nanoseconds since the Unix epoch.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.feed = feed
        self.controls, self.camera, self.levels, self.playback = Controls(), Camera(), Levels(), Playback()
        self.pointer = Pointer(self.controls, self.camera, self.add_region)
        self.images: dict[ImageSource, NDArray[Any]] = {}
        """Counts of the drawn channels (C', Y, X) of each source that was received."""
        self.samples: dict[str, dict[int, NDArray[np.float32]]] = {}
        """Some pixels of each drawn channel, for contrast and histogram."""
        self.size = (1, 1)
        """Width and height of the canvas in logical pixels."""
        self.displayed = 0
        """Number of frames that were displayed."""
        self.with_raw = 0
        """Number of displayed frames for which both images were there."""
        self.ages, self.all_ages = RecentEvents(10.0), LatencyHistogram()
        """Time from sending by the microscope to display: in ms for the last seconds, and in ns for all frames."""
        self.frozen = False
        """True while no new picture comes, so that the one on the screen is too old to be called live."""
        self._clock, self._wall_ns = clock, wall_ns
        self._loss_watch = LossWatch()
        self._displays = RecentEvents()
        self._series = self._last_number = self._not_finite = self._blink = 0
        self._picture_cache, self._average = PictureCache(), RunningAverage()
        self._unpainted: ImagePair | None = None
        self._seen_s: float | None = None
        self._seen_exactly = False
        self._image_size, self._drawn = (0, 0), [0]

    def poll(self) -> bool:
        """Take the newest pair of the feed; returns whether the picture must be drawn."""
        # The pair is taken before the series is compared: the feed sets the series first, so a pair taken here never
        # belongs to a series that the controls do not have yet.
        pair = self.feed.newest.take()
        if self.feed.series != self._series and self.feed.info is not None:
            self._series = self.feed.series
            self.controls.start_series(self.feed.info.shape[0], self.feed.info.planes)
            self.levels.reset()
        if pair is not None:
            self._note_arrival(pair)
        if pair is not None and self.playback.push(pair):
            self._unpainted = pair
            self.refresh()
            return True
        blink = int(self._clock() / BLINK_S)
        changed, self._blink = self.controls.mode == "blink" and blink != self._blink, blink
        return changed

    def refresh(self) -> None:
        """Compute the images and the contrast of the shown pair again."""
        pair = self.playback.shown
        if pair is None:
            return
        found: dict[ImageSource, NDArray[Any] | None] = {"raw": pair.raw}
        if self.controls.average > 1:
            earlier = self.playback.up_to_shown() or [p for p in self.feed.pairs() if p.index <= pair.index]
            found["average"] = self._average.of(earlier, self.controls.average)
        found["denoised"] = pair.denoised
        # A pair held while paused may belong to an earlier series with fewer channels.
        drawn = self._drawn = [channel for channel in self.controls.drawn if channel < pair.shape[0]] or [0]
        self.images, self.samples = {}, {}
        for source, pixels in found.items():
            if pixels is None or pixels.shape != pair.shape:
                continue
            self.samples[source] = {channel: subsample(pixels[channel]) for channel in drawn}
            self.images[source] = pixels if len(drawn) == len(pixels) else pixels[drawn]
        self._not_finite = max((count_not_finite(image) for image in self.images.values()), default=0)
        self.levels.update(self.samples, self._clock())
        self._image_size = (pair.shape[1], pair.shape[2])

    def painted(self) -> None:
        """Count the frame that was drawn last; the window calls this when it is on the screen."""
        pair, self._unpainted = self._unpainted, None
        if pair is None:
            return
        now_s = self._clock()
        self.displayed += 1
        self.with_raw += pair.raw is not None and pair.denoised is not None
        self._displays.add(now_s)
        age_ns = self._wall_ns() - pair.t_ns
        if pair.t_ns and age_ns >= 0 and self.feed.clock_usable:
            self.ages.add(now_s, age_ns / 1e6)
            self.all_ages.add(age_ns)

    # The picture.

    def panels(self) -> list[Panel]:
        """Return the panels, from left to right."""
        return panels_of(self.controls.mode, self.controls.average, self._clock())

    def panel_rects(self) -> list[Rect]:
        """Return the rectangle of each panel."""
        return place_panels(len(self.panels()), *self.size)

    def titles(self) -> list[str]:
        """Return the title of each panel; it says so when an image was not received, or was not denoised."""
        received, pair = {*self.images}, self.playback.shown
        raw = pair is not None and pair.not_denoised
        return [
            p.title
            + ("" if {*p.sources} <= received else ": not received")
            + (f" ({NOT_DENOISED})" if raw and "denoised" in p.sources else "")
            for p in self.panels()
        ]

    def scene(self) -> Scene:
        """Return what to draw. Until the user pans or zooms, the whole image is shown."""
        panels, rect = self.panels(), self.panel_rects()[0]
        if self.camera.fitted and all(self._image_size):
            self.camera.fit((rect.width, rect.height), self._image_size)
        layers = {layer: panel for panel in panels for layer in panel.layers if {*panel.sources} <= {*self.images}}
        pictures = {layer: self._picture(layer, panel) for layer, panel in layers.items()}
        marks = self._marks([*pictures])
        return Scene(panels, self.camera, self._image_size, pictures, self.controls.split, marks, self._outlines())

    def _marks(self, layers: list[Layer]) -> dict[Layer, str]:
        pair = self.playback.shown
        raw: tuple[Layer, ...] = ("denoised", "difference") if pair and pair.not_denoised else ()
        frozen = self.frozen and not self.playback.paused
        return {layer: NOT_DENOISED if layer in raw else NOT_LIVE for layer in layers if layer in raw or frozen}

    def _picture(self, layer: Layer, panel: Panel) -> NDArray[np.uint8]:
        sources = panel.sources if layer == "difference" else (layer,)
        images: Images = tuple(self.images[source] for source in sources)
        limits = [self.levels.of(sources[-1], channel) for channel in self._drawn]
        maps = [self.controls.maps[channel] for channel in self._drawn]
        step = thinning_step(self._image_size, self.camera.scale)
        return self._picture_cache.picture(layer, images, limits, maps, step)

    def _outlines(self) -> list[tuple[list[Vertex], tuple[float, float, float]]]:
        lines = [
            (roi.outline(), REGIONS[n % len(REGIONS)])
            for n, roi in enumerate(self.regions())
            if roi.plane == self.controls.plane
        ]
        points, tool = self.pointer.points, self.controls.tool
        if tool is not None and len(points) > 1:
            lines.append((Roi("", tool, tuple(points)).outline(), (1.0, 1.0, 1.0)))
        return lines

    # The user.

    def act(self, action: str) -> bool:
        """Do an action of `KEYS`; returns False, and does nothing, when the window must do it."""
        moves = {"back": -1, "on": 1, "oldest": -(2**31), "newest": 2**31}
        if action == "pause" and self.playback.paused:
            self.playback.resume()
        elif action == "pause":
            self.playback.pause(self.feed.pairs())
        elif action in moves:
            self.playback.pause(self.feed.pairs())
            self.playback.step(moves[action])
        elif action == "lock":
            self.levels.locked = not self.levels.locked
        elif action == "independent":
            self.levels.independent = not self.levels.independent
        elif action == "automatic":
            self.levels.automatic()
        elif action == "fit":
            self.camera.fitted = True
        elif action == "delete":
            self.set_regions(self.regions()[:-1])
        elif not self.controls.act(action):
            return False
        if action == "plane":
            self.feed.plane = self.controls.plane
            self.playback.resume()
        self.refresh()
        return True

    def regions(self) -> list[Roi]:
        """Return the regions of interest in the order in which they were drawn."""
        with self.feed.traces() as traces:
            return traces.rois

    def add_region(self, shape: RoiShape, points: tuple[Vertex, ...]) -> None:
        """Add a region of the plane that is shown."""
        self._last_number += 1
        self.feed.follow(Roi(f"roi {self._last_number}", shape, points, self.controls.plane))

    def set_regions(self, regions: list[Roi]) -> None:
        """Replace all regions; those in both lists keep their traces."""
        before = self.regions()
        with self.feed.traces() as traces:
            for roi in set(before) - set(regions):
                traces.unfollow(roi)
        for roi in (roi for roi in regions if roi not in before):
            self.feed.follow(roi)
        self._last_number = max(self._last_number, len(regions))

    # The head-up display.

    def _note_arrival(self, pair: ImagePair) -> None:
        """Note when the newest pair's frame arrived, on the monotonic clock, which alone counts from then on.

        Without the raw frame, the time of sending is used where the clocks agree. Otherwise the denoised frame's time
        of arrival is, and the picture is at least as old as that says.
        """
        now_ns = self._wall_ns()
        plausible = 0 < pair.t_ns <= now_ns < pair.t_ns + MAX_LATENCY_MS * 1e6
        sent = not pair.raw_seen and plausible and self.feed.clock_usable
        begin_ns = pair.t_ns if sent else pair.arrived_ns
        held_ns = now_ns - begin_ns if begin_ns else 0
        self._seen_s = self._clock() - max(0, held_ns) / 1e9
        self._seen_exactly = pair.raw_seen or sent

    def _picture_ms(self, now_s: float) -> float | None:
        """Return the age of the picture on the screen; None before the first, and while paused."""
        if self._seen_s is None or self.playback.paused:
            return None
        return (now_s - self._seen_s) * 1e3

    def _late_ms(self, report: BeatStatus) -> float:
        info = self.feed.info
        rate_hz, planes = (info.rate_hz, info.planes) if info else (1.0, 1)
        return age_limit_ms(report.max_latency_ms, rate_hz, planes, report.delay_frames)

    def facts(self) -> Facts:
        """Return the facts that the display shows, as they are now, and set `frozen`."""
        now_s, feed, pair = self._clock(), self.feed, self.playback.shown
        status = feed.denoised.status()
        report = BeatStatus.from_map(status.sender)
        lost = {cause: report.lost[cause] for cause in LOSS_CAUSES if cause in report.lost}
        lost["viewer"] = status.lost["transport"] + status.lost["ring"]
        facts = Facts(
            state="lost" if feed.failure else self.playback.state(feed.state()),
            report=report,
            raw_state=feed.raw.status().state if feed.raw else None,
            frame=pair.index if pair else None,
            plane=self.controls.plane,
            planes=self.controls.planes,
            shape=pair.shape if pair else (),
            back_s=self.playback.back_s,
            input_hz=feed.input_hz(),
            display_hz=self._displays.rate_hz(now_s),
            picture_ms=self._picture_ms(now_s),
            picture_exact=self._seen_exactly,
            late_ms=self._late_ms(report),
            not_denoised=pair is not None and pair.not_denoised,
            clocks_agree=feed.clock_usable,
            age_ms=(self.ages.quantile(0.5, now_s), self.ages.quantile(0.95, now_s)),
            lost=lost,
            lost_now=self._loss_watch.update(lost, now_s),
            refused=sum(status.refused.values()),
            duplicates=status.duplicates,
            not_finite=self._not_finite,
            message=received_text(status.problem) if status.problem else feed.messages[-1] if feed.messages else "",
        )
        self.frozen = is_frozen(facts)
        return facts
