"""The window on a (virtual) screen, operated by key and mouse events."""

from __future__ import annotations

import csv
import ctypes
import ctypes.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deepbid_rt.viewer.colors import BACKGROUND
from deepbid_rt.viewer.feed import raw_source
from deepbid_rt.viewer.hud import MAX_ALARM_LINES
from deepbid_rt.viewer.keys import KEYS
from deepbid_rt.viewer.theme import PANE, PILLS
from deepbid_rt.wire.alarm import Alarm
from deepbid_rt.wire.beat_status import LOSS_CAUSES, BeatStatus
from tests.viewer.stand_ins import ManualFeed, a_pair, an_info

SHAPE = (1, 64, 80)
MARK_COLOR = (0.8, 0.0, 0.2)


@pytest.fixture
def feed() -> ManualFeed:
    return ManualFeed(an_info(SHAPE))


@pytest.fixture
def window(application: Any, feed: ManualFeed, tmp_path: Path) -> Iterator[Any]:
    from PySide6.QtCore import QEvent

    from deepbid_rt.viewer.viewer_model import ViewerModel
    from deepbid_rt.viewer.window import ViewerWindow

    window = ViewerWindow(ViewerModel(feed), tmp_path, tmp_path / "rois.json")
    window.show()
    window.activateWindow()
    pump(application, lambda: window.isVisible() and window.pictures.isExposed() and window.model.size[0] > 1000)
    yield window
    window.close()
    window.deleteLater()
    application.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def pump(application: Any, reached: Callable[[], Any]) -> None:
    from PySide6.QtTest import QTest

    for _ in range(1000):
        application.processEvents()
        if reached():
            return
        QTest.qWait(5)
    pytest.fail("never reached")


def press(window: Any, text: str) -> None:
    from PySide6.QtCore import QKeyCombination
    from PySide6.QtGui import QKeySequence
    from PySide6.QtTest import QTest

    combination: QKeyCombination = QKeySequence(text)[0]
    QTest.keyClick(window, combination.key(), combination.keyboardModifiers())


def drag(window: Any, *path: tuple[float, float]) -> None:
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    native, left = window.pictures, Qt.MouseButton.LeftButton
    points = [QPoint(round(x), round(y)) for x, y in path]
    QTest.mousePress(native, left, Qt.KeyboardModifier.NoModifier, points[0])
    for point in points[1:]:
        QTest.mouseMove(native, point)
    QTest.mouseRelease(native, left, Qt.KeyboardModifier.NoModifier, points[-1])


def pixel(window: Any, x: float, y: float) -> Any:
    """Return the colour at (x, y) of the pictures; x and y from 0 to 1."""
    image, frame = window.picture().toImage(), window._frame.geometry()
    ratio = image.width() / window.width()
    at = frame.x() + x * frame.width(), frame.y() + y * frame.height()
    return image.pixelColor(round(ratio * at[0]), round(ratio * at[1]))


def push_frames(window: Any, feed: ManualFeed, application: Any, count: int = 1, first: int = 0) -> None:
    rng = np.random.default_rng(first)
    for n in range(first, first + count):
        raw = rng.normal(100, 30, SHAPE).astype(np.float32)
        denoised = np.full(SHAPE, 100 + n % 5, np.int16)
        denoised[:, 20:44, 30:50] += 50
        feed.push(a_pair(n, raw, denoised))
    before = window.model.displayed
    pump(application, lambda: window.model.displayed > before)


def test_a_frame_and_its_number_are_on_the_screen(window: Any, feed: ManualFeed, application: Any) -> None:
    push_frames(window, feed, application, 3)
    window.show_facts()
    assert window.status.state.text() == "LIVE"
    assert window.status.frame.text() == "frame 2  (64x80)"
    assert pixel(window, 0.75, 0.5).getRgb() == (255, 255, 255, 255)
    assert pixel(window, 0.75, 0.9).getRgb() == (0, 0, 0, 255)
    assert pixel(window, 0.51, 0.01).getRgb()[:3] == pytest.approx([round(255 * part) for part in BACKGROUND], abs=1)


def test_the_status_of_the_session_is_on_the_screen(
    window: Any, feed: ManualFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {**dict.fromkeys(LOSS_CAUSES, 0), "engine": 3}
    report = BeatStatus("running", 9, 6, 0, lost, {}, "average", "", 0, True, 6e9, 1e6)
    monkeypatch.setattr(feed.denoised._receiver, "_sender_status", report.to_map())
    window.show_facts()
    texts = window.hud.texts()
    assert texts["engine"] == "average, delay 0 frames"
    assert texts["line phase"] == "not measured"
    assert texts["lost engine"] == "3"
    assert texts["lost ring"] == "0"
    assert window.status.recording.text() == "REC ON  100 min of disk left"
    alarm = window.hud._labels[2, "engine"].styleSheet()
    assert "#ff5c5c" in alarm
    feed.fixed_state = "lost"
    window.show_facts()
    assert window.status.state.text().startswith("LOST")


HOSTILE = "<b>fat</b>\x1b[2J\u202e<img src='http://192.0.2.1/x.png'>\n" + "x" * 10_000


def test_hostile_text_is_shown_as_it_is_and_does_not_widen_the_window(
    window: Any, feed: ManualFeed, application: Any
) -> None:
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QLabel

    hostile = dict.fromkeys(("state", "engine", "runtime", "raw_endpoint"), HOSTILE)
    alarms = [{"kind": kind, "text": HOSTILE} for kind in ("sink", "behind", "nonsense")] * 50
    feed.denoised._receiver._sender_status = {**hostile, "alarms": alarms, "lost": {HOSTILE: 1, "ring": 2}}
    feed.say(HOSTILE)
    push_frames(window, feed, application)
    size = window.size()
    window.show_facts()
    application.processEvents()
    assert window.size() == size
    labels = [label for label in window.findChildren(QLabel) if "fat" in label.text()]
    assert len(labels) > 3
    for label in labels:
        assert label.textFormat() == Qt.TextFormat.PlainText
        text = label.text().replace("\u200b", "")
        assert "<b>fat</b>?[2J?" in text
        assert text.isprintable()
        assert len(text) < 400
    assert "<" not in window.status.message.toolTip()
    assert window.pictures.height() > 150


def test_an_address_of_the_session_that_cannot_be_used_is_tried_once(window: Any, feed: ManualFeed) -> None:
    tried: list[str] = []
    feed.make_raw = lambda endpoint: tried.append(endpoint) or raw_source(endpoint)
    feed.denoised._receiver._sender_status = {"raw_endpoint": "nonsense"}
    for _ in range(5):
        window.show_facts()
    assert tried == ["nonsense"]
    assert "tcp://HOST:PORT" in window.status.message.text()
    feed.denoised._receiver._sender_status = {"raw_endpoint": "tcp://192.0.2.7:5590"}  # another computer
    window.show_facts()
    assert "--insecure-lan" in window.status.message.text()
    assert feed.raw is None


def test_a_flood_of_changing_states_leaves_the_window_as_it_is(window: Any, feed: ManualFeed, application: Any) -> None:
    push_frames(window, feed, application)
    for n in range(300):
        alarms = [{"kind": "sink", "text": f"{n}.{k}"} for k in range(n % 17)]
        feed.denoised._receiver._sender_status = {"state": f"s{n}", "engine": f"e{n}", "alarms": alarms}
        window.show_facts()
    assert len(window.alarms.labels) == MAX_ALARM_LINES + 1
    assert len(window.hud.texts()) < 20
    assert len(feed.messages) <= 8


def test_alarms_are_shown_above_the_pictures_and_go_away(window: Any, feed: ManualFeed, application: Any) -> None:
    push_frames(window, feed, application)
    window.show_facts()
    assert not window.alarms.isVisible()
    text = "the raw recorder cannot write (disk full); make room."
    report = BeatStatus("running", alarms=[Alarm("sink", text), Alarm("disk", "little room.")])
    feed.denoised._receiver._sender_status = report.to_map()
    window.show_facts()
    assert [label.text() for label in window.alarms.labels] == [f"SINK:  {text}", "DISK:  little room."]
    assert window.alarms.isVisible()
    assert window.status.state.text() == "OUTPUT FAILED, 1 MORE ALARM"
    assert PILLS["alarm"] in window.status.state.styleSheet()
    feed.denoised._receiver._sender_status = BeatStatus("running").to_map()
    window.show_facts()
    assert not window.alarms.isVisible()


def test_the_mark_of_a_frame_that_was_not_denoised_is_on_the_screen_and_in_snapshots(
    window: Any, feed: ManualFeed, application: Any, tmp_path: Path
) -> None:
    def marked() -> bool:
        return pixel(window, 0.997, 0.5).getRgb()[:3] == pytest.approx(
            [round(255 * part) for part in MARK_COLOR], abs=2
        )

    push_frames(window, feed, application)
    assert not marked()
    pixels = np.full(SHAPE, 100, np.int16)
    feed.push(a_pair(1, pixels, pixels, not_denoised=True))
    pump(application, marked)
    assert [label.text() for label in window._titles] == ["raw", "denoised (NOT DENOISED: raw)"]
    press(window, "S")
    (text,) = tmp_path.glob("snapshot*.json")
    assert json.loads(text.read_text())["facts"]["not_denoised"] is True
    push_frames(window, feed, application, first=2)
    pump(application, lambda: not marked())
    press(window, "Left")
    pump(application, marked)


def test_a_picture_that_stands_still_is_marked(window: Any, feed: ManualFeed, application: Any) -> None:
    push_frames(window, feed, application)
    window.show_facts()
    assert not window.model.frozen
    window.model._seen_s -= 10
    window.show_facts()
    rim = [round(255 * part) for part in MARK_COLOR]
    for x in (0.003, 0.997):
        pump(application, lambda x=x: pixel(window, x, 0.5).getRgb()[:3] == pytest.approx(rim, abs=2))
    assert window.status.state.text().startswith("NOT LIVE")
    push_frames(window, feed, application, first=1)
    window.show_facts()
    pump(application, lambda: pixel(window, 0.997, 0.5).getRgb()[:3] != pytest.approx(rim, abs=2))


def test_every_key_works(window: Any, feed: ManualFeed, application: Any) -> None:
    push_frames(window, feed, application, 5)
    for key in KEYS:
        if key.action not in ("quit", "fullscreen"):
            press(window, key.key)
            application.processEvents()
    assert window.model.controls.help
    assert window.help.isVisible()
    assert window.isVisible()
    press(window, "H")
    assert not window.help.isVisible()
    press(window, "Ctrl+Q")
    assert not window.isVisible()


def test_modes_change_the_panels_and_their_titles(window: Any, feed: ManualFeed, application: Any) -> None:
    push_frames(window, feed, application, 3)
    titles = {}
    for key in "1234":
        press(window, key)
        titles[key] = [label.text() for label in window._titles]
    assert titles["1"] == ["raw", "denoised"]
    assert titles["2"] == ["raw  |  denoised"]
    assert titles["3"][0].startswith("blink")
    assert titles["4"] == ["denoised minus raw; mid-gray is equal"]
    press(window, "1")
    press(window, "A")
    press(window, "]")
    assert [label.text() for label in window._titles] == ["raw", "average of 16 raw", "denoised"]


def test_pause_scrub_and_resume(window: Any, feed: ManualFeed, application: Any) -> None:
    push_frames(window, feed, application, 8)
    press(window, "Space")
    assert window.scrub.isVisible()
    assert window.scrub.maximum() == 7
    press(window, "Left")
    assert window.status.frame.text().startswith("frame 6 ")
    window.scrub.sliderMoved.emit(2)
    window.show_facts()
    assert window.status.frame.text().startswith("frame 2 ")
    assert window.status.state.text().startswith("PAUSED")
    press(window, "Space")
    assert not window.scrub.isVisible()
    push_frames(window, feed, application, 1, first=8)
    window.show_facts()
    assert window.status.frame.text().startswith("frame 8 ")


def test_dragging_moves_both_pictures_and_z_resets_them(window: Any, feed: ManualFeed, application: Any) -> None:
    push_frames(window, feed, application)
    before = window.model.scene().camera.center
    drag(window, (200, 200), (230, 210), (260, 240))
    assert window.model.camera.center[0] < before[0]
    assert not window.model.camera.fitted
    press(window, "Z")
    pump(application, lambda: window.model.camera.center == before)


def test_the_wheel_zooms(window: Any, feed: ManualFeed, application: Any) -> None:
    from PySide6.QtCore import QPoint, QPointF, Qt
    from PySide6.QtGui import QWheelEvent

    push_frames(window, feed, application)
    scale = window.model.camera.scale
    native = window.pictures
    at = QPointF(200, 200)
    event = QWheelEvent(
        at,
        QPointF(native.mapToGlobal(at.toPoint())),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    application.sendEvent(native, event)
    assert window.model.camera.scale == pytest.approx(1.25 * scale)


def test_regions_are_drawn_measured_exported_saved_and_loaded(
    window: Any, feed: ManualFeed, application: Any, tmp_path: Path
) -> None:
    push_frames(window, feed, application, 4)
    corners = []
    for key, points in (
        ("R", [(100, 100), (150, 130), (200, 180)]),
        ("E", [(700, 100), (750, 130), (800, 180)]),
        ("O", [(100, 200), (200, 200), (200, 300), (150, 250), (100, 300)]),
    ):
        press(window, key)
        # Before the region is drawn: its trace then takes a part of the window, and the panels become lower.
        left = window.model.panel_rects()[0]
        corners.append(window.model.camera.to_image(points[0], (left.width, left.height)))
        drag(window, *points)
    regions = window.model.regions()
    assert [roi.shape for roi in regions] == ["rectangle", "ellipse", "lasso"]
    assert regions[0].points[0] == pytest.approx(corners[0], abs=1)
    push_frames(window, feed, application, 2, first=4)
    window.show_facts()
    press(window, "X")
    (path,) = tmp_path.glob("traces_*.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["frame"] for row in rows if row["roi"] == "roi 1"] == list("012345")
    press(window, "Ctrl+S")
    press(window, "Del")
    press(window, "Del")
    assert len(window.model.regions()) == 1
    press(window, "Ctrl+O")
    assert window.model.regions() == regions


def test_a_region_drawn_fast_has_all_its_points(window: Any, feed: ManualFeed, application: Any) -> None:
    push_frames(window, feed, application)
    turns = np.linspace(0, 2 * np.pi, 100)
    path = [(300 + 150 * np.cos(turn), 250 + 150 * np.sin(turn)) for turn in turns]
    press(window, "O")
    drag(window, *path)
    (region,) = window.model.regions()
    left = window.model.panel_rects()[0]
    drawn = [window.model.camera.to_panel(point, (left.width, left.height)) for point in region.points]
    np.testing.assert_allclose(drawn[:100], np.round(path), atol=1e-6)


class XTest:
    """Moves the mouse and presses keys of the X server, with its XTEST extension and without Qt."""

    def __init__(self) -> None:
        names = [ctypes.util.find_library(name) for name in ("X11", "Xtst")]
        if None in names:
            pytest.skip("no libX11 or libXtst to move the mouse with (Debian: apt-get install libxtst6)")
        self._x, self._test = (ctypes.CDLL(name) for name in names)
        self._x.XOpenDisplay.restype = ctypes.c_void_p
        self._display = ctypes.c_void_p(self._x.XOpenDisplay(None))

    def __enter__(self) -> XTest:
        return self

    def __exit__(self, *_: object) -> None:
        self._x.XCloseDisplay(self._display)

    def move(self, x: float, y: float) -> None:
        self._done(self._test.XTestFakeMotionEvent, -1, round(x), round(y))

    def button(self, down: bool) -> None:
        self._done(self._test.XTestFakeButtonEvent, 1, int(down))

    def space(self) -> None:
        code = self._x.XKeysymToKeycode(self._display, ctypes.c_ulong(0x20)) & 0xFF
        for down in (1, 0):
            self._done(self._test.XTestFakeKeyEvent, code, down)

    def focus(self, window: int) -> None:
        """Give a window the keyboard focus, as a window manager would."""
        self._done(self._x.XSetInputFocus, ctypes.c_ulong(window), 1)

    def _done(self, call: Any, *arguments: Any) -> None:
        call(self._display, *arguments, ctypes.c_ulong(0))
        self._x.XSync(self._display, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="an X server's mouse")
def test_no_move_of_the_mouse_is_lost_and_keys_work_afterwards(window: Any, feed: ManualFeed, application: Any) -> None:
    """Moves that arrive while the window is busy are not merged, and the OpenGL window does not keep the keys."""
    from PySide6.QtCore import QPoint

    push_frames(window, feed, application)
    corner = window.pictures.mapToGlobal(QPoint(0, 0))
    path = [(300 + 150 * np.cos(turn), 250 + 150 * np.sin(turn)) for turn in np.linspace(0, 6, 150)]
    with XTest() as user:
        user.focus(window.winId())
        press(window, "O")
        user.move(corner.x() + path[0][0], corner.y() + path[0][1])
        user.button(True)
        for x, y in path[1:]:
            user.move(corner.x() + x, corner.y() + y)
        user.button(False)
        pump(application, window.model.regions)
        (region,) = window.model.regions()
        assert len(region.points) >= len(path)
        user.space()
        pump(application, lambda: window.model.playback.paused)


def test_keys_work_after_a_click_on_the_pictures(window: Any, feed: ManualFeed, application: Any) -> None:
    """The pictures are an OpenGL window inside the window; it must not keep the keys."""
    from PySide6.QtCore import Qt
    from PySide6.QtGui import QGuiApplication
    from PySide6.QtTest import QTest

    push_frames(window, feed, application)
    drag(window, (200, 200), (230, 210))
    application.processEvents()
    assert QGuiApplication.focusWindow() is not window.pictures
    QTest.keyClick(window.pictures, Qt.Key.Key_Space)
    assert window.model.playback.paused


def test_full_screen_and_back(window: Any, feed: ManualFeed, application: Any) -> None:
    push_frames(window, feed, application)
    press(window, "F")
    pump(application, window.isFullScreen)
    push_frames(window, feed, application, 1, first=1)
    press(window, "F")
    pump(application, lambda: not window.isFullScreen())
    push_frames(window, feed, application, 1, first=2)
    assert window.model.facts().frame == 2


def test_the_list_of_keys_is_drawn_over_the_pictures(window: Any, feed: ManualFeed, application: Any) -> None:
    from PySide6.QtCore import QPoint
    from PySide6.QtGui import QColor

    def rim_color() -> Any:
        """Return the colour on the screen at the left rim of the list, halfway down."""
        at = window.mapToGlobal(QPoint(window.help.x() + 6, window.help.geometry().center().y()))
        return application.primaryScreen().grabWindow(0).toImage().pixelColor(at)

    push_frames(window, feed, application)
    assert rim_color() != QColor(PANE)
    press(window, "H")
    pump(application, lambda: rim_color() == QColor(PANE))
    push_frames(window, feed, application, 3, first=1)
    assert rim_color() == QColor(PANE)
    press(window, "H")
    pump(application, lambda: rim_color() != QColor(PANE))


def test_a_snapshot_is_written(window: Any, feed: ManualFeed, application: Any, tmp_path: Path) -> None:
    push_frames(window, feed, application, 3)
    press(window, "S")
    (picture,) = tmp_path.glob("*.png")
    assert picture.stat().st_size > 5000
    (text,) = tmp_path.glob("snapshot*.json")
    assert json.loads(text.read_text())["facts"]["frame"] == 2
    (denoised,) = tmp_path.glob("*_denoised.tif")
    assert (tifffile.imread(denoised)[:20] == 102).all()
    assert "snapshot" in window.status.message.text()


def test_dragging_a_handle_of_the_histogram_sets_the_contrast(window: Any, feed: ManualFeed, application: Any) -> None:
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest

    push_frames(window, feed, application, 3)
    window.show_facts()
    bar, none = window.levels, Qt.KeyboardModifier.NoModifier
    black, white = window.model.levels.of("raw", 0)
    start = QPoint(round(bar.position_of(1)), 40)
    QTest.mousePress(bar, Qt.MouseButton.LeftButton, none, start)
    QTest.mouseMove(bar, start - QPoint(20, 0))
    QTest.mouseRelease(bar, Qt.MouseButton.LeftButton, none, start - QPoint(20, 0))
    dragged = window.model.levels.of("raw", 0)
    assert dragged == window.model.levels.of("denoised", 0)
    assert dragged[0] == pytest.approx(black)
    assert black < dragged[1] < white
    press(window, "0")
    assert window.model.levels.of("raw", 0)[1] == pytest.approx(white, rel=0.05)


@pytest.mark.parametrize(
    ("counts", "text"),
    [(65535.0, "65535"), (-8000.4, "-8000"), (127.24, "127.2"), (0.00125, "0.00125"), (3e7, "3e+07")],
)
def test_limits_are_short_texts(counts: float, text: str) -> None:
    pytest.importorskip("PySide6.QtWidgets", reason="PySide6 or a library is not installed", exc_type=ImportError)
    from deepbid_rt.viewer.levels_bar import _short

    assert _short(counts) == text


def test_errors_are_shown_and_the_window_goes_on(
    window: Any, feed: ManualFeed, application: Any, tmp_path: Path
) -> None:
    press(window, "S")
    assert "no snapshot" in window.status.message.text()
    (tmp_path / "rois.json").write_text("nonsense")
    press(window, "Ctrl+O")
    assert "regions cannot be read" in window.status.message.text()
    push_frames(window, feed, application)
    assert window.isVisible()


def test_a_change_of_size_and_of_channels_is_shown(window: Any, feed: ManualFeed, application: Any) -> None:
    for shape, dtype in (((1, 64, 80), np.int16), ((2, 256, 1024), np.uint16), ((1, 1, 1), np.float32)):
        feed._start_series(an_info(shape, dtype))
        pixels = np.full(shape, np.nan if dtype is np.float32 else 1, dtype)
        before = window.model.displayed
        feed.push(a_pair(0, pixels, pixels))
        pump(application, lambda before=before: window.model.displayed > before)
        window.show_facts()
    assert "1 pixels are not finite" in window.status.frame.text()
