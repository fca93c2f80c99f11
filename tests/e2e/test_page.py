"""The page of a session in a browser: headless Chromium, driven by its WebDriver."""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import Running, run, started

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
        options = ("--engine", "average", "--http", "127.0.0.1:0")
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
