"""The viewer without a window: takes the newest pair, decides what is drawn, and says how things stand.

Knows the feed and all that is pure; no widget and no card. Used by one thread, that of the window.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepbid_rt.live.latency import LatencyHistogram
from deepbid_rt.live.session_report import SessionReport
from deepbid_rt.viewer.camera import Camera, Rect, place_panels
from deepbid_rt.viewer.colors import REGIONS, count_not_finite
from deepbid_rt.viewer.controls import Controls
from deepbid_rt.viewer.feed import Feed
from deepbid_rt.viewer.gallery import Gallery, Images, thinning
from deepbid_rt.viewer.history import RunningAverage
from deepbid_rt.viewer.hud import Facts, LossWatch
from deepbid_rt.viewer.levels import Levels, subsample
from deepbid_rt.viewer.pair import Pair
from deepbid_rt.viewer.panels import BLINK_S, Layer, Panel, Scene, Source, panels_of
from deepbid_rt.viewer.playback import Playback
from deepbid_rt.viewer.pointer import Pointer
from deepbid_rt.viewer.recent import Recent
from deepbid_rt.viewer.roi import Point, Roi, Shape


class View:
    """What is shown of a feed.

    Parameters
    ----------
    feed : Feed
        Where pairs come from.
    clock, wall_ns : callable, optional
        Monotonic seconds; nanoseconds since the Unix epoch.
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
        self.images: dict[Source, NDArray[Any]] = {}
        """Counts of the drawn channels (C', Y, X) of each source that is there."""
        self.samples: dict[str, dict[int, NDArray[np.float32]]] = {}
        """Some pixels of each drawn channel, for contrast and histogram."""
        self.size = (1, 1)
        """Width and height of the canvas, screen pixels."""
        self.displayed = 0
        """Frames that reached the screen."""
        self.with_raw = 0
        """How many of them stood beside their raw frame."""
        self.ages, self.all_ages = Recent(10.0), LatencyHistogram()
        """From the microscope's sending to the screen: of the last seconds, and of all."""
        self._clock, self._wall_ns = clock, wall_ns
        self._watch = LossWatch()
        self._paints = Recent()
        self._series = self._named = self._not_finite = self._blink = 0
        self._gallery, self._average = Gallery(), RunningAverage()
        self._unpainted: Pair | None = None
        self._image_size, self._drawn = (0, 0), [0]

    def tick(self) -> bool:
        """Take what is new; returns whether the picture has to be drawn."""
        pair = self.feed.newest.take()  # first: a pair never comes before its series has begun
        if self.feed.series != self._series and self.feed.info is not None:
            self._series = self.feed.series
            self.controls.begin(self.feed.info.shape[0], self.feed.info.planes)
            self.levels.forget()
        if pair is not None and self.playback.feed(pair):
            self._unpainted = pair
            self.refresh()
            return True
        blink = int(self._clock() / BLINK_S)
        turned, self._blink = self.controls.mode == "blink" and blink != self._blink, blink
        return turned

    def refresh(self) -> None:
        """Make the images of the shown pair anew."""
        pair = self.playback.shown
        if pair is None:
            return
        found: dict[Source, NDArray[Any] | None] = {"raw": pair.raw}
        if self.controls.average > 1:
            past = self.playback.before() or [p for p in self.feed.pairs() if p.index <= pair.index]
            found["average"] = self._average.of(past, self.controls.average)
        found["denoised"] = pair.denoised
        # A held pair may be of an earlier series, with fewer channels.
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
        """Note that what was drawn last is on the screen now."""
        pair, self._unpainted = self._unpainted, None
        if pair is None:
            return
        now_s = self._clock()
        self.displayed += 1
        self.with_raw += pair.raw is not None and pair.denoised is not None
        self._paints.add(now_s)
        if pair.t_ns:
            age_ns = self._wall_ns() - pair.t_ns
            self.ages.add(now_s, age_ns / 1e6)
            self.all_ages.add(age_ns)

    # What is drawn.

    def panels(self) -> list[Panel]:
        """Return the panels from left to right."""
        return panels_of(self.controls.mode, self.controls.average, self._clock())

    def places(self) -> list[Rect]:
        """Return where they lie."""
        return place_panels(len(self.panels()), *self.size)

    def titles(self) -> list[str]:
        """Return the panels' titles, which say when there is nothing to show."""
        there = self.images
        return [
            p.title + ("" if p.first in there and (p.second is None or p.second in there) else ": not received")
            for p in self.panels()
        ]

    def scene(self) -> Scene:
        """Return what to draw; a camera that nobody moved shows the whole image."""
        panels, place = self.panels(), self.places()[0]
        if self.camera.fitted and all(self._image_size):
            self.camera.fit((place.width, place.height), self._image_size)
        layers = {layer: panel for panel in panels for layer in panel.layers if {*panel.sources} <= {*self.images}}
        pictures = {layer: self._picture(layer, panel) for layer, panel in layers.items()}
        return Scene(panels, self.camera, self._image_size, pictures, self.controls.split, self._outlines())

    def _picture(self, layer: Layer, panel: Panel) -> NDArray[np.uint8]:
        sources = panel.sources if layer == "difference" else (layer,)
        images: Images = tuple(self.images[source] for source in sources)
        limits = [self.levels.of(sources[-1], channel) for channel in self._drawn]
        maps = [self.controls.maps[channel] for channel in self._drawn]
        return self._gallery.picture(layer, images, limits, maps, thinning(self._image_size, self.camera.scale))

    def _outlines(self) -> list[tuple[list[Point], tuple[float, float, float]]]:
        lines = [
            (roi.outline(), REGIONS[n % len(REGIONS)])
            for n, roi in enumerate(self.regions())
            if roi.plane == self.controls.plane
        ]
        points, tool = self.pointer.points, self.controls.tool
        if tool is not None and len(points) > 1:
            lines.append((Roi("", tool, tuple(points)).outline(), (1.0, 1.0, 1.0)))
        return lines

    # What the user does.

    def act(self, action: str) -> bool:
        """Do what an action of `KEYS` says; False when it is the window's business."""
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
        """Return the regions of interest in the order they were drawn."""
        with self.feed.traces() as traces:
            return traces.rois

    def add_region(self, shape: Shape, points: tuple[Point, ...]) -> None:
        """Follow a new region of the plane that is shown."""
        self._named += 1
        self.feed.follow(Roi(f"roi {self._named}", shape, points, self.controls.plane))

    def set_regions(self, regions: list[Roi]) -> None:
        """Follow these regions instead of those there are; those that stay keep their traces."""
        before = self.regions()
        with self.feed.traces() as traces:
            for roi in set(before) - set(regions):
                traces.drop(roi)
        for roi in (roi for roi in regions if roi not in before):
            self.feed.follow(roi)
        self._named = max(self._named, len(regions))

    # How things stand.

    def facts(self) -> Facts:
        """Return what is known now."""
        now_s, feed, pair = self._clock(), self.feed, self.playback.shown
        status = feed.denoised.status()
        report = SessionReport.from_map(status.sender)
        lost = {**report.lost, "viewer": status.lost["transport"] + status.lost["ring"]}
        return Facts(
            state="lost" if feed.failure else self.playback.state(feed.state()),
            report=report,
            raw_state=feed.raw.status().state if feed.raw else None,
            frame=pair.index if pair else None,
            plane=self.controls.plane,
            planes=self.controls.planes,
            shape=pair.shape if pair else (),
            back_s=self.playback.back_s,
            input_hz=feed.input_hz(),
            display_hz=self._paints.rate_hz(now_s),
            age_ms=(self.ages.quantile(0.5, now_s), self.ages.quantile(0.95, now_s)),
            lost=lost,
            lost_now=self._watch.update(lost, now_s),
            not_finite=self._not_finite,
            message=feed.messages[-1] if feed.messages else "",
        )
