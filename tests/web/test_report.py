"""What the page tells in figures."""

import json

from deepbid_rt.live.line_phase_monitor import LinePhaseReading
from deepbid_rt.web.latest_frames import LatestFrames
from deepbid_rt.web.report import report
from tests.pages import board_of, denoised, snapshot


def test_everything_the_page_shows_is_there():
    told = report(snapshot(recordings=["a.tif"]), board_of(1))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["state"], told["source"], told["engine"], told["runtime"]) == ("running", "live", "average", "cpu")
    assert told["frames"] == {"in": 12, "out": 11, "waiting": 1}
    assert told["lost"] == {"source": 1, "transport": 2, "ring": 3, "engine": 5, "recorder": 0}
    assert told["bad_messages"] == 4
    assert told["latency_ms"]["total"]["p50"] > 19
    assert told["latency_ms"]["queue"] == {"p50": None, "p99": None}
    assert (told["motion"]["tracked"], told["motion"]["last_dy_px"]) == (1, 1.5)
    assert told["stream"]["series"] == "raw-series"
    assert (told["stream"]["shape"], told["stream"]["delay_frames"]) == ([1, 4, 6], 0)
    assert told["points"] == [[1e9, None, 1.5, -0.5, "tracked"]]
    assert told["recordings"] == ["a.tif"]
    assert told["line_phase_px"] is None
    told = report(snapshot(line_phase=LinePhaseReading(-0.25, -0.2)), board_of(1))
    assert (told["line_phase_px"], told["aligned_px"]) == (-0.25, -0.2)


def test_before_the_first_series_there_is_no_stream():
    told = report(snapshot(), LatestFrames())
    assert told["stream"] is None
    assert (told["points"], told["serial"]) == ([], 0)


def test_a_reader_gets_only_the_points_it_has_not():
    clock = iter(range(10**18, 10**19, 10**9))
    board = LatestFrames(clock_ns=lambda: next(clock))
    for n in range(4):
        board.denoised.put(denoised(n, motion=None))
    told = report(snapshot(), board, after=2)
    assert [point[0] for point in told["points"]] == [1e9 + 2, 1e9 + 3]
    assert told["points"][0][1:] == [None] * 4
    assert report(snapshot(), board, after=told["serial"])["points"] == []
    assert report(snapshot(), board, after=told["serial"])["serial"] == told["serial"]
