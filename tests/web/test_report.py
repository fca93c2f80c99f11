"""The figures that the page shows."""

import json

from deepbid_rt.live.line_phase_monitor import LinePhaseReading
from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.report import page_report
from tests.pages import denoised, example_report, latest_frames_of


def test_everything_the_page_shows_is_there():
    shown = page_report(example_report(recordings=["a.tif"]), latest_frames_of(1))
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert (shown["state"], shown["source"], shown["engine"], shown["runtime"]) == ("running", "live", "average", "cpu")
    assert shown["frames"] == {"in": 12, "out": 11, "waiting": 1}
    assert shown["lost"] == {"source": 1, "transport": 2, "ring": 3, "engine": 5, "recorder": 0}
    assert shown["refused"] == 2
    assert shown["bad_messages"] == 4
    assert shown["latency_ms"]["total"]["p50"] > 19
    assert shown["latency_ms"]["queue"] == {"p50": None, "p99": None}
    assert (shown["motion"]["tracked"], shown["motion"]["last_dy_px"]) == (1, 1.5)
    assert shown["stream"]["series"] == "raw-series"
    assert (shown["stream"]["shape"], shown["stream"]["delay_frames"]) == ([1, 4, 6], 0)
    assert shown["points"] == [[1e9, None, 1.5, -0.5, "tracked"]]
    assert shown["recordings"] == ["a.tif"]
    assert shown["line_phase_px"] is None
    shown = page_report(example_report(line_phase=LinePhaseReading(-0.25, -0.2)), latest_frames_of(1))
    assert (shown["line_phase_px"], shown["aligned_px"]) == (-0.25, -0.2)


def test_before_the_first_series_there_is_no_stream():
    shown = page_report(example_report(), LatestFrames())
    assert shown["stream"] is None
    assert (shown["points"], shown["serial"]) == ([], 0)


def test_a_reader_gets_only_the_points_it_has_not():
    clock = iter(range(10**18, 10**19, 10**9))
    frames = LatestFrames(clock_ns=lambda: next(clock))
    for n in range(4):
        frames.denoised.put(denoised(n, motion=None))
    shown = page_report(example_report(), frames, after=2)
    assert [point[0] for point in shown["points"]] == [1e9 + 2, 1e9 + 3]
    assert shown["points"][0][1:] == [None] * 4
    assert page_report(example_report(), frames, after=shown["serial"])["points"] == []
    assert page_report(example_report(), frames, after=shown["serial"])["serial"] == shown["serial"]
