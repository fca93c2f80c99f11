"""The page of a session in a browser: headless Chromium, driven by its WebDriver."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepbid_rt.frame import FrameFlag
from deepbid_rt.live.status import SessionState
from deepbid_rt.wire.alarm import Alarm
from tests.e2e.commands import Running, run, started
from tests.pages import DENOISED, RAW, denoised, example_report, raw

pytest.importorskip("aiohttp", reason="the http extra is not installed")
from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.server import PageServer

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium here (Debian packages chromium and chromium-driver)"
)
WAIT_S = 60
SPREAD = """
const [canvas] = arguments;
const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
const grey = data.filter((_, place) => place % 4 === 0);
const mean = grey.reduce((sum, value) => sum + value, 0) / grey.length;
return Math.sqrt(grey.reduce((sum, value) => sum + (value - mean) ** 2, 0) / grey.length);
"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    quiet = ("disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update")
    for flag in ("headless", "no-sandbox", *quiet, "disable-sync", f"user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(f"--{flag}")
    options.add_argument("--window-size=1480,860")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER, log_output=subprocess.DEVNULL)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def wait(browser: Any, reached: Any) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, WAIT_S).until(reached)


def page_of(command: Running) -> str:
    for line in command.process.stderr:
        if line.startswith("page on "):
            return line.removeprefix("page on ").strip()
    raise AssertionError("no page")


def text(browser: Any, name: str) -> str:
    return browser.find_element("id", name).text


def test_the_page_shows_a_session_and_its_end(browser: Any) -> None:
    simulate = ("simulate", "--frames", "4000", "--size", "64", "--rate", "30", "--bind", "tcp://127.0.0.1:*", "--wait")
    with started(*simulate) as sender:
        # Every frame is denoised, however busy the browser keeps the processor.
        options = ("--engine", "average", "--max-latency", "none", "--http", "127.0.0.1:0")
        with started("serve", "--source", sender.line(), *options, "--json") as served:
            browser.get(page_of(served))
            wait(browser, lambda _: text(browser, "state") == "running")
            frame = browser.find_element("id", "denoised")
            wait(browser, lambda _: int(frame.get_attribute("data-frame") or 0) > 20)
            first = int(frame.get_attribute("data-frame"))
            wait(browser, lambda _: int(frame.get_attribute("data-frame")) > first + 5)
            raw, denoised = (
                browser.execute_script(SPREAD, browser.find_element("id", name)) for name in ("raw", "denoised")
            )
            assert raw > 1.3 * denoised > 10
            assert text(browser, "engine") == "average (no network)"
            assert text(browser, "geometry") == "64 × 64 at 30.0 Hz"
            assert text(browser, "lost") == "0"
            assert "tracked" in text(browser, "motion-status")
            wait(browser, lambda _: browser.execute_script(SPREAD, browser.find_element("id", "latency")) > 1)
            # An empty log: no violation of the content security policy, no missing file, no exception.
            assert browser.get_log("browser") == []
            served.process.terminate()
            finished = served.finish()
            wait(browser, lambda _: text(browser, "state") == "no connection")
    assert finished.code == 0, finished.stderr
    assert finished.result["frames_in"] == finished.result["frames_out"] > first
    assert not any(finished.result["lost"].values())


class FakeSession:
    """A session whose state the test sets, and its page. A thread sends 30 frames a second while `sending`."""

    def __init__(self) -> None:
        # One second is allowed, so that a busy computer does not make pictures late.
        self.report = example_report(max_latency_ms=1000.0, delay_frames=0)
        self.frames = LatestFrames()
        self.sending, self.flags, self.age_s = True, FrameFlag.NONE, 0.0
        self._ended = threading.Event()

    def show(self, state: SessionState = SessionState.RUNNING, source: str = "live", *alarms: Alarm) -> None:
        report = self.report
        status, source_status = replace(report.status, state=state), replace(report.source, state=source)
        self.report = replace(report, status=status, source=source_status, alarms=alarms)

    @contextmanager
    def running(self) -> Iterator[FakeSession]:
        self.frames.raw.start(RAW)
        self.frames.denoised.start(DENOISED)
        thread = threading.Thread(target=self._send)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _send(self) -> None:
        count = 0
        while not self._ended.wait(1 / 30):
            if self.sending:
                arrived_ns = time.time_ns() - round(self.age_s * 1e9)
                self.frames.raw.put(raw(count, arrived_ns=arrived_ns))
                self.frames.denoised.put(denoised(count, arrived_ns=arrived_ns, flags=self.flags))
                count += 1


@pytest.fixture
def shown(browser: Any) -> Iterator[FakeSession]:
    with FakeSession().running() as session:
        server = PageServer("127.0.0.1:0", session.frames)
        with server.showing(lambda: session.report):
            browser.get(server.url)
            yield session
            browser.get("about:blank")


SEEN = """
const by = (id) => document.getElementById(id);
const rim = (id) => [...by(id).getContext("2d").getImageData(1, by(id).height / 2, 1, 1).data].slice(0, 3);
const green = [...document.querySelectorAll("body, body *")].filter((each) => {
  const {color, backgroundColor, borderColor} = getComputedStyle(each);
  return [color, backgroundColor, borderColor].includes("rgb(29, 138, 78)");
});
return {
  state: by("state").textContent,
  frozen: by("frozen").hidden ? "" : by("frozen").textContent,
  opacity: getComputedStyle(by("raw")).opacity,
  alarms: [...document.querySelectorAll("#alarms li")].map((item) => item.textContent),
  alarmTags: document.querySelectorAll("#alarms *").length,
  alarmsHidden: by("alarms").hidden,
  green: green.map((each) => each.id),
  title: by("title").textContent,
  rims: [rim("raw"), rim("denoised")],
  latency: [by("p50").textContent, by("p99").textContent],
};
"""
"""What the page shows, read at one moment."""


def seen(browser: Any, **values: str) -> dict[str, Any]:
    """Wait until the page shows these values, and return all that it shows then."""

    def reached(_: Any) -> dict[str, Any] | None:
        page = browser.execute_script(SEEN)
        return page if all(page[name] == value for name, value in values.items()) else None

    return wait(browser, reached)


def test_alarms_are_shown_as_they_are_and_nothing_is_green(browser: Any, shown: FakeSession) -> None:
    assert "state" in seen(browser, state="running")["green"]
    long = "the raw recorder cannot write <b onclick='x'>a.tif</b> &amp; so on:" + " no space left on device;" * 20
    shown.show(SessionState.BEHIND, "live", Alarm("behind", "denoising is slow."), Alarm("sink", long))
    page = seen(browser, state="output failed, 1 more alarm")
    assert page["alarms"] == ["behind denoising is slow.", f"sink {long}"]
    assert page["alarmTags"] == 4  # two lines, each with the kind in bold
    assert page["green"] == []
    shown.show()
    assert seen(browser, state="running")["alarmsHidden"]


def test_a_picture_that_stands_still_is_not_shown_as_live(browser: Any, shown: FakeSession) -> None:
    page = seen(browser, state="running")
    assert (page["frozen"], page["opacity"]) == ("", "1")
    shown.sending = False
    page = seen(browser, state="no new picture")
    assert page["frozen"].startswith("NOT LIVE: ")
    assert page["opacity"] == "0.3"
    assert page["green"] == []
    shown.sending = True
    assert seen(browser, state="running")["frozen"] == ""
    shown.age_s = 1.5
    assert seen(browser, state="picture is late")["green"] == []
    shown.show(SessionState.RUNNING, "lost")
    seen(browser, state="microscope lost")


def test_a_frame_that_was_not_denoised_is_marked_in_the_picture(browser: Any, shown: FakeSession) -> None:
    for _ in range(2):
        raw_rim, rim = seen(browser, title="denoised", state="running")["rims"]
        assert max(rim) - min(rim) < 10
        shown.flags = FrameFlag.NOT_DENOISED
        raw_rim, rim = seen(browser, title="NOT DENOISED: raw")["rims"]
        assert rim[0] > 120
        assert max(rim[1:]) < 90
        assert max(raw_rim) - min(raw_rim) < 60
        shown.flags = FrameFlag.NONE


def test_an_unknown_latency_is_called_unknown(browser: Any, shown: FakeSession) -> None:
    assert all(value.endswith(" ms") for value in seen(browser, state="running")["latency"])
    shown.show(SessionState.RUNNING, "live", Alarm("clock", "the clocks differ by 3 h."))
    assert seen(browser, state="clocks differ")["latency"] == ["unknown", "unknown"]


def test_without_the_extra_the_error_is_one_sentence() -> None:
    program = "import sys; sys.modules['aiohttp'] = None; from deepbid_rt.cli import main; main()"
    serve = ("serve", "--source", "tcp://127.0.0.1:9", "--engine", "echo", "--http", "127.0.0.1:0")
    done = subprocess.run([sys.executable, "-c", program, *serve], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "deepbid-rt: the page needs aiohttp, which is not installed; expected the extra 'http'; " in done.stderr


def test_an_unusable_address_is_refused_before_the_stream_starts() -> None:
    serve = ("serve", "--source", "tcp://127.0.0.1:9", "--engine", "echo", "--http")
    open_page = run(*serve, "0.0.0.0:0")
    assert open_page.code == 2
    assert "deepbid-rt: a page on 0.0.0.0, which other machines can reach, without a token; " in open_page.stderr
    with started(*serve, "127.0.0.1:0") as first:
        address = page_of(first).removeprefix("http://").rstrip("/")
        second = run(*serve, address)
        assert second.code == 2
        assert f"deepbid-rt: port in use {address}; " in second.stderr
        assert "Traceback" not in second.stderr
        assert urllib.request.urlopen(f"http://{address}/status.json", timeout=20).status == 200
