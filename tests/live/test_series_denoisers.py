"""The denoisers of a session: one per series."""

import weakref

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.live.series_denoisers import SeriesDenoisers
from deepbid_rt.runtimes.average import AverageEngine
from tests.fakes import stamped_frames, stream


def test_before_the_first_series_only_the_engine_is_reported():
    denoisers = SeriesDenoisers(AverageEngine(), lambda info: None)
    assert denoisers.runtime == AverageEngine().description
    assert (denoisers.delay_frames, denoisers.normalizers, denoisers.streams) == (None, [], ())


def test_the_previous_denoiser_is_released_before_the_next_is_made():
    """Otherwise a second series of the same size would need twice the memory of a GPU."""
    engine, made, remaining = AverageEngine(), [], []

    def make(info):
        remaining.extend(reference() for reference in made)
        denoiser = Denoiser(engine, info)
        made.append(weakref.ref(denoiser))
        return denoiser

    denoisers = SeriesDenoisers(engine, make)
    for _ in range(3):
        denoisers.begin(stream())
    assert remaining == [None, None, None]
    assert made[-1]() is not None


def test_it_reports_the_current_series_and_the_normalization_of_all_series():
    engine = AverageEngine()
    denoisers = SeriesDenoisers(engine, lambda info: Denoiser(engine, info))
    infos = [stream((1, 16, 16), series="a"), stream((1, 24, 16), series="b", planes=2)]
    for info in infos:
        denoiser = denoisers.begin(info)
        for frame in stamped_frames(info, 60 if info is infos[0] else 0):
            denoiser.push(frame)
        assert denoisers.streams == (info, denoiser.info)
        assert (denoisers.runtime, denoisers.delay_frames) == (denoiser.runtime, 0)
    first, second = denoisers.normalizers
    assert len(first) == 1
    assert first[0] is not None
    assert second == denoiser.normalizers == [None, None]
