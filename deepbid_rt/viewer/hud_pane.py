"""The widgets of the head-up display. Their texts come from `hud`."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from deepbid_rt.viewer.hud import (
    Facts,
    HudLine,
    alarm_lines,
    figure_lines,
    frame_text,
    loss_lines,
    recording_line,
    state_line,
)
from deepbid_rt.viewer.theme import FAINT, INK, PILLS, TONES

_LONG_WORD = re.compile(r"(\S{40})")
"""Words are broken after so many characters by a space without width, as Qt breaks lines at spaces only."""


class StatusBar(QWidget):
    """The top row: state, frame, message and recording."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.recording = _pill(), _pill()
        self.frame = plain_label()
        self.message = plain_label()
        self.message.setObjectName("message")
        # A long message must not widen the window.
        self.message.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.help = QLabel("H: keys")
        self.help.setStyleSheet(f"color: {FAINT}")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.state, self.frame, self.message, self.recording, self.help):
            row.addWidget(widget, int(widget is self.message))

    def show_facts(self, facts: Facts) -> None:
        """Show the facts."""
        _fill(self.state, state_line(facts))
        recording = recording_line(facts)
        _fill(self.recording, HudLine("recording", f"REC {recording.value}", recording.tone))
        self.frame.setText(frame_text(facts))
        self.message.setText(facts.message)
        self.message.setToolTip(html.escape(facts.message))


class AlarmBar(QWidget):
    """The alarms of the session, each in full; hidden without any."""

    def __init__(self) -> None:
        super().__init__()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(3)
        self.labels: list[QLabel] = []
        self.hide()

    def show_facts(self, facts: Facts) -> None:
        """Show the alarms."""
        lines = alarm_lines(facts)
        while len(self.labels) < len(lines):
            label = plain_label()
            label.setObjectName("alarm")
            label.setWordWrap(True)
            # A long path must not widen the window.
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            self.labels.append(label)
            self._column.addWidget(label)
        for label in self.labels[len(lines) :]:
            label.hide()
        for label, line in zip(self.labels, lines, strict=False):
            words = line.value if line.label == "more" else f"{line.label.upper()}:  {line.value}"
            words = _LONG_WORD.sub("\\1\u200b", words)
            _set(label, words, f"background: {PILLS[line.tone]}; color: {INK}")
            label.show()
        self.setVisible(bool(lines))


class HudPane(QFrame):
    """Two columns: figures of the session, and lost frames by cause."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("pane")
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(12, 8, 12, 8)
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnMinimumWidth(1, 168)
        for column, text in ((0, "SESSION"), (2, "FRAMES LOST")):
            head = QLabel(text)
            head.setObjectName("head")
            self._grid.addWidget(head, 0, column, 1, 2)
        self._labels: dict[tuple[int, str], QLabel] = {}

    def show_facts(self, facts: Facts) -> None:
        """Show the facts."""
        self._show_column(figure_lines(facts), 0)
        self._show_column(loss_lines(facts), 2)

    def texts(self) -> dict[str, str]:
        """Return the value of each label. Labels of lost frames get the prefix ``lost``."""
        return {("lost " if column else "") + name: label.text() for (column, name), label in self._labels.items()}

    def _show_column(self, lines: Sequence[HudLine], column: int) -> None:
        for row, line in enumerate(lines, start=1):
            key = (column, line.label)
            if key not in self._labels:
                name = plain_label(line.label)
                name.setStyleSheet(f"color: {FAINT}")
                self._grid.addWidget(name, row, column)
                self._labels[key] = plain_label()
                self._grid.addWidget(self._labels[key], row, column + 1)
            label = self._labels[key]
            weight = 700 if line.tone == "alarm" else 500
            _set(label, line.value, f"color: {TONES[line.tone]}; font-weight: {weight}")


def pane(widget: QWidget) -> QFrame:
    """Return a frame with the background of the panes, with the widget inside."""
    frame = QFrame()
    frame.setObjectName("pane")
    QVBoxLayout(frame).addWidget(widget)
    return frame


def plain_label(text: str = "") -> QLabel:
    """Return a label that shows text as it is: Qt would read the text of another program as HTML."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def _pill() -> QLabel:
    label = plain_label()
    label.setObjectName("pill")
    label.setAlignment(Qt.AlignmentFlag.AlignCenter)
    return label


def _fill(label: QLabel, line: HudLine) -> None:
    _set(label, line.value, f"background: {PILLS[line.tone]}; color: {INK}")


def _set(label: QLabel, text: str, style: str) -> None:
    """Set text and style only if they differ, as a new style is slow to apply."""
    if label.text() != text:
        label.setText(text)
    if label.styleSheet() != style:
        label.setStyleSheet(style)
