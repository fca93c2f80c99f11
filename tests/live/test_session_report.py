"""The report of a session, from which beats, page, summary and tables are made."""

from dataclasses import replace

from deepbid_rt.live.line_phase_monitor import LinePhaseReading
from deepbid_rt.wire.beat_status import LOSS_CAUSES, BeatStatus
from deepbid_rt.wire.publisher_status import PublisherStatus
from deepbid_rt.wire.source_status import SourceStatus
from tests.pages import example_report


def test_the_losses_of_a_beat_are_named_by_their_causes():
    assert set(example_report().lost_anywhere) == set(LOSS_CAUSES)


def test_only_beats_count_frames_that_were_not_published():
    report = example_report(
        sink_lost={"publisher": 4, "the denoised recorder": 1, "the raw recorder": 2, "the page": 8}
    )
    assert report.lost == {"source": 1, "transport": 2, "ring": 3, "engine": 5, "skipped": 0, "recorder": 3}
    assert report.lost_anywhere == {**report.lost, "publisher": 4}
    assert report.summary()["lost"] == report.lost
    assert report.beat_status().lost == report.lost_anywhere


def test_beat_and_summary_show_the_same_session():
    report = example_report(
        line_phase=LinePhaseReading(-0.25, -0.2),
        recordings=["a.tif"],
        sha256="00ff",
        delay_frames=2,
        raw_endpoint="tcp",
        publisher=PublisherStatus(3, {"key": 1}, 0, "anyone can receive it"),
    )
    summary, beat = report.summary(), report.beat_status()
    for key in ("frames_in", "frames_out", "engine", "line_phase_px", "aligned_px"):
        assert summary[key] == getattr(beat, key)
    assert (summary["sha256"], summary["recordings"]) == ("00ff", ["a.tif"])
    assert (beat.runtime, beat.delay_frames, beat.raw_endpoint, beat.recording) == ("cpu", 2, "tcp", False)
    assert (beat.peers, beat.unprotected) == (3, "anyone can receive it")
    assert summary["unprotected"] == ["anyone can receive it"]
    assert BeatStatus.from_map(beat.to_map()) == beat


def test_the_balance_accounts_for_every_frame_that_arrived():
    source = SourceStatus(
        "live",
        received=90,
        lost={"source": 7, "transport": 8, "ring": 3},
        bad={},
        refused={"late": 4},
        unread=2,
        duplicates=5,
        arrived=100,
        held=1,
    )
    report = replace(example_report(), source=source)
    status = replace(
        report.status, frames_in=84, refused=1, frames_out=70, engine_lost=6, skipped=5, waiting=2, inside=1
    )
    report = replace(report, status=status)
    assert report.unexplained == 0
    assert report.balance == "100 arrived = 70 out + 9 lost here + 5 skipped + 5 refused + 5 duplicates + 6 inside"
    assert replace(report, status=replace(status, frames_out=69)).balance.endswith(" + 1 UNEXPLAINED")
