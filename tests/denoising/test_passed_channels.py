"""Channels that are passed through beside denoised ones."""

import numpy as np
import pytest

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.denoising.pass_through import PassThrough
from deepbid_rt.denoising.passed_channels import check_channels
from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Frame, FrameFlag, ScanGeometry, StreamInfo
from deepbid_rt.motion.frame_registration import Registration
from deepbid_rt.runtimes import load_engine
from deepbid_rt.simulator.synthetic import ScanSettings, SyntheticSource
from deepbid_rt.simulator.tissue import SceneSettings
from tests.fakes import SpyEngine, echo_card

SIDE, FRAMES = 48, 40
SCANS = {
    "ordinary": ScanGeometry(),
    "unmirrored": ScanGeometry(mirrored=False),
    "backward first": ScanGeometry(first="backward"),
    "collinear": ScanGeometry("collinear"),
}


def movie(scan, channels=3, side=SIDE):
    settings = ScanSettings(size=(side, side), dtype="<i2", scan=scan, photons=2.0)
    sources = [SyntheticSource(SceneSettings(seed=1, motion_px=3.0), settings, FRAMES) for _ in range(channels)]
    frames = [np.concatenate([source.render(n)[0] for source in sources]) for n in range(FRAMES)]
    for frame in frames:
        frame += np.arange(channels, dtype=np.int16)[:, None, None] * 1000
    return np.stack(frames)


def denoised(frames, scan, planes=1, engine="average", **options):
    info = StreamInfo(frames.shape[1:], frames.dtype, 30.0, scan, planes=planes)
    opened = load_engine(engine)
    denoiser = Denoiser(opened, info, **options)
    done = [
        out for n, pixels in enumerate(frames) for out in denoiser.push(Frame(n, pixels, plane=n % planes))
    ] + denoiser.flush()
    opened.close()
    return done, denoiser


@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("name", SCANS)
def test_chosen_channels_are_denoised_as_if_they_were_alone_and_the_others_are_passed(name, planes):
    scan, frames = SCANS[name], movie(SCANS[name])
    options = {"line_phase": "off", "planes": planes}
    found, denoiser = denoised(frames, scan, channels=(2, 0), **options)
    alone, _ = denoised(frames[:, [0, 2]], scan, **options)
    passing = PassThrough(StreamInfo(frames.shape[1:], frames.dtype, 30.0, scan))
    assert [out.index for out in found] == list(range(FRAMES))
    for out, expected in zip(found, alone, strict=True):
        assert np.array_equal(out.pixels[[0, 2]], expected.pixels)
        assert np.array_equal(out.pixels[1], passing.push(Frame(out.index, frames[out.index])).pixels[1])
        assert out.motion == expected.motion
        assert not out.flags & FrameFlag.NOT_DENOISED
    assert denoiser.info.user["denoised_channels"] == [0, 2]
    assert denoiser.info.shape[0] == 3


def test_passed_channels_have_their_line_phase_corrected_too():
    frames = movie(SCANS["ordinary"])
    found, _ = denoised(frames, SCANS["ordinary"], line_phase=1.0, channels=(0,))
    whole, _ = denoised(frames, SCANS["ordinary"], line_phase=1.0, engine="echo")
    for out, expected in zip(found, whole, strict=True):
        assert np.array_equal(out.pixels[1:], expected.pixels[1:])


def test_passed_channels_are_registered_with_the_others():
    frames = movie(SCANS["ordinary"], 2, side=96)
    found, _ = denoised(frames, SCANS["ordinary"], stabilize=True, channels=(0,), line_phase="off")
    assert max(abs(out.motion.dy) for out in found) > 2
    assert all(out.flags & FrameFlag.MOTION_CORRECTED for out in found)
    registration = Registration()
    for out in found:
        expected = registration.apply(frames[out.index, 1].astype(np.float32), out.motion)
        assert np.array_equal(out.pixels[1], np.rint(expected))


def test_the_network_runs_for_chosen_channels_only():
    engine = SpyEngine(echo_card())
    info = StreamInfo((4, 8, 8), np.dtype("<i2"), 30.0)
    denoiser = Denoiser(engine, info, channels=(1,), line_phase="off")
    for n in range(5):
        denoiser.push(Frame(n, np.full((4, 8, 8), 10 * n, np.int16)))
    assert len(engine.windows) == 5


def test_all_channels_are_denoised_by_default():
    frames = movie(SCANS["ordinary"], 2)
    (default, denoiser), (named, _) = (denoised(frames, SCANS["ordinary"], channels=c) for c in (None, (0, 1)))
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(default, named, strict=True))
    assert "denoised_channels" not in denoiser.info.user


@pytest.mark.parametrize("channels", [(), (2,), (-1,), (0, 0), (0, 1, 2)])
def test_channels_that_there_are_not_are_refused(channels):
    with pytest.raises(StreamError, match="channels 0 to 1, each once"):
        check_channels(channels, 2)
    with pytest.raises(StreamError):
        denoised(movie(SCANS["ordinary"], 2), SCANS["ordinary"], channels=channels)
