"""The window: widgets, timers, keys and mouse. What they show and do is decided in `ViewerModel`."""

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
from deepbid_rt.viewer.hud_pane import AlarmBar, HudPane, StatusBar, pane, plain_label
from deepbid_rt.viewer.keys import KEYS, help_text
from deepbid_rt.viewer.levels_bar import LevelsBar
from deepbid_rt.viewer.panels import NOT_DENOISED
from deepbid_rt.viewer.picture_window import PictureWindow
from deepbid_rt.viewer.roi import load_rois, save_rois
from deepbid_rt.viewer.snapshot import state_of, write_snapshot, write_traces
from deepbid_rt.viewer.theme import STYLE, TONES
from deepbid_rt.viewer.trace_plot import TracePlot, curves_of
from deepbid_rt.viewer.viewer_model import ViewerModel
from deepbid_rt.wire.received_text import received_text

POLL_MS = 15
"""Interval at which the window asks for a new pair; a little shorter than the refresh interval of a 60 Hz screen."""
STATUS_MS = 250
"""Interval at which figures, traces and histogram are updated."""
MESSAGE_S = 6.0
"""How long a message stays in the top row."""
_FOOT_HEIGHT = 196
"""Height of traces, histogram and figures: eight lines of text."""


class ViewerWindow(QMainWindow):
    """The window of the viewer.

    Parameters
    ----------
    model : ViewerModel
        What to show.
    folder : Path
        Where snapshots and traces are written.
    rois : Path
        File of the regions; loaded if it exists.
    """

    def __init__(self, model: ViewerModel, folder: Path, rois: Path) -> None:
        super().__init__()
        self.model, self._folder, self._rois = model, folder, rois
        self._message, self._message_until_s = "", 0.0
        self._tried_endpoint: str | None = None
        self._titles: list[QLabel] = []
        self.setWindowTitle("deepbid-rt")
        self.setStyleSheet(STYLE)
        self.pictures = PictureWindow(model.scene)
        self._frame = QWidget.createWindowContainer(self.pictures)
        self.status, self.alarms, self.hud = StatusBar(), AlarmBar(), HudPane()
        self.levels, self.traces = LevelsBar(), TracePlot()
        self.scrub = QSlider(Qt.Orientation.Horizontal)
        self.help = QLabel(help_text(), self)
        self._lay_out()
        self._connect()
        if rois.exists():
            self._guarded(lambda: model.set_regions(load_rois(rois)))
        self.resize(1280, 800)
        self.poll()
        self.show_facts()

    def poll(self) -> None:
        """Draw the newest pair if there is a new one."""
        if self.model.poll():
            self.draw()

    def draw(self) -> None:
        """Ask Qt to draw the picture; Qt then asks for the scene."""
        self._show_titles()
        self.pictures.update()

    def show_facts(self) -> None:
        """Update figures, traces and histogram, and connect to the raw stream once its address is known."""
        model, was_frozen = self.model, self.model.frozen
        facts = model.facts()
        if model.frozen != was_frozen:
            self.draw()
        endpoint = facts.report.raw_endpoint
        if model.feed.raw is None and endpoint not in (None, self._tried_endpoint):
            self._tried_endpoint = endpoint
            self._guarded(lambda: model.feed.connect_raw(model.feed.make_raw(str(endpoint))))
        self.status.show_facts(facts)
        self.alarms.show_facts(facts)
        if time.monotonic() < self._message_until_s:
            self.status.message.setText(self._message)
        self.hud.show_facts(facts)
        channel, levels = model.controls.active, model.levels
        source = next(reversed(model.images), "denoised")
        samples = {name: pixels.get(channel, np.empty(0, np.float32)) for name, pixels in model.samples.items()}
        self.levels.show_levels(samples, levels.of(source, channel), levels.describe(channel))
        self.traces.show_curves(curves_of(model.feed, channel))
        if model.playback.paused and self.scrub.maximum() != len(model.playback.held) - 1:
            self.scrub.setMaximum(len(model.playback.held) - 1)
        if model.playback.paused and not self.scrub.isSliderDown():
            self.scrub.setValue(model.playback.position)
        self.scrub.setVisible(model.playback.paused)

    def act(self, action: str) -> None:
        """Do the action of a key."""
        actions: dict[str, Callable[[], Any]] = {
            "snapshot": self._snapshot,
            "export": self._export,
            "save": lambda: save_rois(self._rois, self.model.regions()),
            "load": lambda: self.model.set_regions(load_rois(self._rois)),
            "fullscreen": lambda: self.showNormal() if self.isFullScreen() else self.showFullScreen(),
            "quit": self.close,
        }
        if not self.model.act(action):
            done = self._guarded(actions[action])
            if done and action in ("save", "load"):
                self.show_message(f"regions {action}{'d' if action == 'save' else 'ed'}: {self._rois}")
        self._show_choices()

    def picture(self) -> QPixmap:
        """Return a picture of the window, with the OpenGL window in it, which Qt's own `grab` leaves out."""
        picture = self.grab()
        painter = QPainter(picture)
        painter.drawImage(self._frame.mapTo(self, QPoint(0, 0)), self.pictures.grabFramebuffer())
        painter.end()
        return picture

    def show_message(self, text: str) -> None:
        """Show a message in the top row for `MESSAGE_S` seconds."""
        self._message, self._message_until_s = received_text(text), time.monotonic() + MESSAGE_S

    # The widgets.

    def _lay_out(self) -> None:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(8, 8, 8, 8)
        column.addWidget(self.status)
        column.addWidget(self.alarms)
        self._title_row = QHBoxLayout()
        self._title_row.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._title_row)
        column.addWidget(self._frame, 1)
        column.addWidget(self.scrub)
        self.scrub.hide()
        foot = QHBoxLayout()
        for widget, stretch in ((pane(self.traces), 3), (pane(self.levels), 1), (self.hud, 0)):
            widget.setFixedHeight(_FOOT_HEIGHT)
            foot.addWidget(widget, stretch)
        column.addLayout(foot)
        self.setCentralWidget(body)
        self.help.setObjectName("help")
        self.help.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        # It must be a native window, as the pictures are one, which covers all other widgets.
        self.help.setAttribute(Qt.WidgetAttribute.WA_NativeWindow)
        self.help.hide()

    def _connect(self) -> None:
        for key in KEYS:
            shortcut = QShortcut(QKeySequence(key.key), self)
            shortcut.activated.connect(lambda action=key.action: self.act(action))
        self.levels.changed.connect(self._set_levels)
        self.scrub.sliderMoved.connect(self._seek)
        pictures, pointer, model = self.pictures, self.model.pointer, self.model
        pictures.pressed.connect(lambda at: pointer.press(at.toTuple(), model.panel_rects()))
        pictures.moved.connect(lambda at: pictures.update() if pointer.move(at.toTuple()) else None)
        pictures.released.connect(self._released)
        pictures.wheeled.connect(self._wheeled)
        pictures.resized.connect(self._resized)
        pictures.frameSwapped.connect(model.painted)
        for period_ms, work in ((POLL_MS, self.poll), (STATUS_MS, self.show_facts)):
            timer = QTimer(self)
            timer.setTimerType(Qt.TimerType.PreciseTimer)
            timer.timeout.connect(work)
            timer.start(period_ms)

    # Called by Qt.

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Keep the list of keys in the middle of the window."""
        super().resizeEvent(event)
        self.help.adjustSize()
        self.help.move((self.width() - self.help.width()) // 2, (self.height() - self.help.height()) // 2)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Stop the timers, so that nothing is drawn on a canvas that is being destroyed."""
        for timer in self.findChildren(QTimer):
            timer.stop()
        super().closeEvent(event)

    def _resized(self) -> None:
        self.model.size = (max(1, self.pictures.width()), max(1, self.pictures.height()))

    def _released(self, at: QPointF) -> None:
        self.model.pointer.release(at.toTuple())
        self._show_choices()

    def _wheeled(self, at: QPointF, notches: float) -> None:
        self.model.pointer.wheel(at.toTuple(), notches, self.model.panel_rects())
        self.draw()

    def _show_choices(self) -> None:
        """Update the window after an action or the mouse changed something."""
        self.help.setVisible(self.model.controls.help)
        self.help.raise_()
        cross = self.model.controls.tool is not None
        self.pictures.setCursor(Qt.CursorShape.CrossCursor if cross else Qt.CursorShape.ArrowCursor)
        self.draw()
        self.show_facts()

    def _show_titles(self) -> None:
        titles = self.model.titles()
        while len(self._titles) > len(titles):
            self._titles.pop().deleteLater()
        while len(self._titles) < len(titles):
            label = plain_label()
            label.setObjectName("title")
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            self._titles.append(label)
            self._title_row.addWidget(label, 1)
        for label, title in zip(self._titles, titles, strict=True):
            if label.text() != title:
                label.setText(title)
                label.setStyleSheet(f"color: {TONES['alarm']}" if NOT_DENOISED in title else "")

    # Actions of keys and widgets.

    def _set_levels(self, black: float, white: float) -> None:
        self.model.levels.set_manual(self.model.controls.active, black, white)
        self.draw()

    def _seek(self, position: int) -> None:
        self.model.playback.seek(position)
        self.model.refresh()
        self.draw()

    def _snapshot(self) -> None:
        pair = self.model.playback.shown
        if pair is None:
            self.show_message("no snapshot: no frame has arrived yet")
            return
        frames = {"raw": pair.raw, "denoised": pair.denoised}
        received = {name: pixels for name, pixels in frames.items() if pixels is not None}
        state, picture = state_of(self.model), self.picture()
        files = write_snapshot(self._folder, pair.index, received, state, lambda path: picture.save(str(path), "PNG"))
        self.show_message(f"snapshot: {files[0]} and {len(files) - 1} more")

    def _export(self) -> None:
        path, lines = write_traces(self._folder, self.model.feed.write_csv)
        self.show_message(f"traces: {lines} lines in {path}")

    def _guarded(self, work: Callable[[], Any]) -> bool:
        """Do something that may fail: an error of this package is shown, and the method returns False."""
        try:
            work()
        except DeepbidError as error:
            self.show_message(str(error))
            return False
        return True
