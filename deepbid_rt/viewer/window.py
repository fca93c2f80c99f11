"""The window: widgets around a `View`, timers, keys and mouse. Decides nothing that `View` can decide."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QPoint, QPointF, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QFontDatabase, QKeySequence, QPainter, QPixmap, QResizeEvent, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMainWindow, QSlider, QVBoxLayout, QWidget

from deepbid_rt.errors import DeepbidError
from deepbid_rt.viewer.feed import raw_source
from deepbid_rt.viewer.hud_pane import HudPane, StatusBar, pane
from deepbid_rt.viewer.keys import KEYS, help_text
from deepbid_rt.viewer.levels_bar import LevelsBar
from deepbid_rt.viewer.picture_window import PictureWindow
from deepbid_rt.viewer.roi import load_rois, save_rois
from deepbid_rt.viewer.snapshot import state_of, write_snapshot, write_traces
from deepbid_rt.viewer.theme import STYLE
from deepbid_rt.viewer.trace_plot import TracePlot, curves_of
from deepbid_rt.viewer.view import View

TICK_MS = 15
"""How often the window looks for a new pair: a little more often than a screen shows pictures."""
SLOW_MS = 250
"""How often figures, traces and histogram are drawn anew."""


class ViewerWindow(QMainWindow):
    """Shows a view until it is closed.

    Parameters
    ----------
    view : View
        What to show.
    folder : Path
        Where snapshots and traces go.
    rois : Path
        The file of the regions; loaded when it is there.
    """

    def __init__(self, view: View, folder: Path, rois: Path) -> None:
        super().__init__()
        self.view, self._folder, self._rois = view, folder, rois
        self._said, self._said_until_s = "", 0.0
        self._titles: list[QLabel] = []
        self.setWindowTitle("deepbid-rt")
        self.setStyleSheet(STYLE)
        self.pictures = PictureWindow(view.scene)
        self._frame = QWidget.createWindowContainer(self.pictures)
        self.status, self.hud, self.levels, self.traces = StatusBar(), HudPane(), LevelsBar(), TracePlot()
        self.scrub = QSlider(Qt.Orientation.Horizontal)
        self.help = QLabel(help_text(), self)
        self._lay_out()
        self._connect()
        if rois.exists():
            self._guarded(lambda: view.set_regions(load_rois(rois)))
        self.resize(1280, 800)
        self.tick()
        self.show_facts()

    def tick(self) -> None:
        """Draw what is new."""
        if self.view.tick():
            self.draw()

    def draw(self) -> None:
        """Have the picture drawn as it stands then."""
        self._show_titles()
        self.pictures.update()

    def show_facts(self) -> None:
        """Show figures, traces and histogram as they stand; join the microscope's stream once its address is known."""
        view, facts = self.view, self.view.facts()
        endpoint = facts.report.raw_endpoint
        if view.feed.raw is None and endpoint is not None:
            self._guarded(lambda: view.feed.connect_raw(raw_source(endpoint)))
        self.status.show_facts(facts)
        if time.monotonic() < self._said_until_s:
            self.status.message.setText(self._said)
        self.hud.show_facts(facts)
        channel, levels = view.controls.active, view.levels
        source = next(reversed(view.images), "denoised")
        samples = {name: some.get(channel, np.empty(0, np.float32)) for name, some in view.samples.items()}
        self.levels.show_levels(samples, levels.of(source, channel), levels.note(channel))
        self.traces.show_curves(curves_of(view.feed, channel))
        if view.playback.paused and self.scrub.maximum() != len(view.playback.held) - 1:
            self.scrub.setMaximum(len(view.playback.held) - 1)
        if view.playback.paused and not self.scrub.isSliderDown():
            self.scrub.setValue(view.playback.place)
        self.scrub.setVisible(view.playback.paused)

    def act(self, action: str) -> None:
        """Do what a key says."""
        windows: dict[str, Callable[[], Any]] = {
            "snapshot": self._snapshot,
            "export": self._export,
            "save": lambda: save_rois(self._rois, self.view.regions()),
            "load": lambda: self.view.set_regions(load_rois(self._rois)),
            "fullscreen": lambda: self.showNormal() if self.isFullScreen() else self.showFullScreen(),
            "quit": self.close,
        }
        if not self.view.act(action):
            done = self._guarded(windows[action])
            if done and action in ("save", "load"):
                self.say(f"regions {action}{'d' if action == 'save' else 'ed'}: {self._rois}")
        self._show_choices()

    def picture(self) -> QPixmap:
        """Return what the window shows; Qt's own `grab` knows nothing of windows within it."""
        picture = self.grab()
        painter = QPainter(picture)
        painter.drawImage(self._frame.mapTo(self, QPoint(0, 0)), self.pictures.grabFramebuffer())
        painter.end()
        return picture

    def say(self, text: str) -> None:
        """Say something in the top row, for some seconds."""
        self._said, self._said_until_s = text, time.monotonic() + 6.0

    # Making.

    def _lay_out(self) -> None:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(8, 8, 8, 8)
        column.addWidget(self.status)
        self._title_row = QHBoxLayout()
        self._title_row.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._title_row)
        column.addWidget(self._frame, 1)
        column.addWidget(self.scrub)
        self.scrub.hide()
        foot = QHBoxLayout()
        for widget, stretch in ((pane(self.traces), 3), (pane(self.levels), 1), (self.hud, 0)):
            widget.setFixedHeight(176)
            foot.addWidget(widget, stretch)
        column.addLayout(foot)
        self.setCentralWidget(body)
        self.help.setObjectName("help")
        self.help.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        # A window of its own, too: what is not would lie beneath the pictures.
        self.help.setAttribute(Qt.WidgetAttribute.WA_NativeWindow)
        self.help.hide()

    def _connect(self) -> None:
        for key in KEYS:
            shortcut = QShortcut(QKeySequence(key.key), self)
            shortcut.activated.connect(lambda action=key.action: self.act(action))
        self.levels.changed.connect(self._set_levels)
        self.scrub.sliderMoved.connect(self._seek)
        pictures, pointer, view = self.pictures, self.view.pointer, self.view
        pictures.pressed.connect(lambda at: pointer.press(at.toTuple(), view.places()))
        pictures.moved.connect(lambda at: pictures.update() if pointer.move(at.toTuple()) else None)
        pictures.released.connect(self._released)
        pictures.wheeled.connect(self._wheeled)
        pictures.resized.connect(self._resized)
        pictures.frameSwapped.connect(view.painted)
        for period_ms, work in ((TICK_MS, self.tick), (SLOW_MS, self.show_facts)):
            timer = QTimer(self)
            timer.setTimerType(Qt.TimerType.PreciseTimer)
            timer.timeout.connect(work)
            timer.start(period_ms)

    # What Qt calls.

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Keep the list of keys in the middle."""
        super().resizeEvent(event)
        self.help.adjustSize()
        self.help.move((self.width() - self.help.width()) // 2, (self.height() - self.help.height()) // 2)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Stop the timers, so that nothing is drawn on a canvas that is going."""
        for timer in self.findChildren(QTimer):
            timer.stop()
        super().closeEvent(event)

    def _resized(self) -> None:
        self.view.size = (max(1, self.pictures.width()), max(1, self.pictures.height()))

    def _released(self, at: QPointF) -> None:
        self.view.pointer.release(at.toTuple())
        self._show_choices()

    def _wheeled(self, at: QPointF, notches: float) -> None:
        self.view.pointer.wheel(at.toTuple(), notches, self.view.places())
        self.draw()

    def _show_choices(self) -> None:
        """Show what an action or the mouse has changed."""
        self.help.setVisible(self.view.controls.help)
        self.help.raise_()
        cross = self.view.controls.tool is not None
        self.pictures.setCursor(Qt.CursorShape.CrossCursor if cross else Qt.CursorShape.ArrowCursor)
        self.draw()
        self.show_facts()

    def _show_titles(self) -> None:
        titles = self.view.titles()
        while len(self._titles) > len(titles):
            self._titles.pop().deleteLater()
        while len(self._titles) < len(titles):
            label = QLabel()
            label.setObjectName("title")
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            self._titles.append(label)
            self._title_row.addWidget(label, 1)
        for label, title in zip(self._titles, titles, strict=True):
            if label.text() != title:
                label.setText(title)

    # What actions and widgets ask for.

    def _set_levels(self, black: float, white: float) -> None:
        self.view.levels.set_manual(self.view.controls.active, black, white)
        self.draw()

    def _seek(self, place: int) -> None:
        self.view.playback.seek(place)
        self.view.refresh()
        self.draw()

    def _snapshot(self) -> None:
        pair = self.view.playback.shown
        if pair is None:
            self.say("nothing to keep yet: no frame came")
            return
        frames = {"raw": pair.raw, "denoised": pair.denoised}
        there = {name: pixels for name, pixels in frames.items() if pixels is not None}
        state, picture = state_of(self.view), self.picture()
        files = write_snapshot(self._folder, pair.index, there, state, lambda path: picture.save(str(path), "PNG"))
        self.say(f"snapshot: {files[0]} and {len(files) - 1} more")

    def _export(self) -> None:
        path, lines = write_traces(self._folder, self.view.feed.write_csv)
        self.say(f"traces: {lines} lines in {path}")

    def _guarded(self, work: Callable[[], Any]) -> bool:
        """Do something that may be refused; what refuses it is said, and the window goes on."""
        try:
            work()
        except DeepbidError as error:
            self.say(str(error))
            return False
        return True
