import numpy as np
import pytest

from deepbid_rt.card import Normalization
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.denoising.offline import denoise
from deepbid_rt.errors import StreamError
from deepbid_rt.frame import Gap, ScanGeometry, StreamEnd
from deepbid_rt.live.pipeline import Pipeline
from deepbid_rt.live.sink_worker import SinkSettings
from deepbid_rt.live.status import SessionLimits
from tests.fakes import ListSink, ListSource, SpyEngine, echo_card, stamped_frames, stream

CARD = echo_card(16, 8, 8, grid=8, normalization=Normalization(frames=16))


def make(info):
    return Denoiser(SpyEngine(CARD), info)


@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
def test_live_equals_offline_bit_for_bit(layout):
    info = stream((2, 7, 9), scan=ScanGeometry(layout, mirrored=False))
    frames = stamped_frames(info, 70)
    steps = [info, *frames[:30], Gap(30, 4, "transport"), *frames[34:], StreamEnd("done")]
    sink = ListSink()
    Pipeline(
        ListSource(steps),
        make,
        denoised=[SinkSettings("out", sink, 1000)],
        limits=SessionLimits(series=1),
    ).run()
    out_info, outs = denoise(ListSource(steps), make)
    outs = list(outs)
    assert out_info.shape == sink.events[0].shape == outs[0].pixels.shape
    assert [out.index for out in outs] == [*range(30), *range(34, 70)] == [frame.index for frame in sink.frames]
    for out, live in zip(outs, sink.frames, strict=True):
        assert np.array_equal(out.pixels, live.pixels)


def test_only_the_first_series_is_denoised():
    info = stream()
    _, outs = denoise(
        ListSource([info, *stamped_frames(info, 5), StreamEnd("done"), stream(), *stamped_frames(info, 3)]), make
    )
    assert [out.index for out in outs] == [0, 1, 2, 3, 4]


def test_a_source_that_ends_without_a_stream_end_is_flushed():
    info = stream()
    _, outs = denoise(ListSource([info, *stamped_frames(info, 5)]), make)
    assert len(list(outs)) == 5


def test_a_source_without_a_series_is_refused():
    with pytest.raises(StreamError) as refused:
        denoise(ListSource([]), make)
    assert str(refused.value) == "a source that begins with None; expected a StreamInfo; open the source first."
