"""The denoisers of a session's series, one after the other."""

import weakref

from deepbid_rt.cli.series_denoisers import SeriesDenoisers
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.runtimes.average import AverageEngine
from tests.fakes import stamped_frames, stream


def test_before_the_first_series_there_is_only_the_engine():
    present = SeriesDenoisers(AverageEngine(), lambda info: None)
    assert present.runtime == AverageEngine().description
    assert (present.delay_frames, present.normalizers, present.streams) == (None, [], ())


def test_the_one_before_is_gone_when_the_next_is_made():
    """Or a series of the size of the last would need twice the memory of a GPU."""
    engine, made, left = AverageEngine(), [], []

    def make(info):
        left.extend(one() for one in made)
        denoiser = Denoiser(engine, info)
        made.append(weakref.ref(denoiser))
        return denoiser

    present = SeriesDenoisers(engine, make)
    for _ in range(3):
        present.begin(stream())
    assert left == [None, None, None]
    assert made[-1]() is not None


def test_it_tells_the_present_series_and_the_normalization_of_all():
    engine = AverageEngine()
    present = SeriesDenoisers(engine, lambda info: Denoiser(engine, info))
    infos = [stream((1, 16, 16), series="a"), stream((1, 24, 16), series="b", planes=2)]
    for info in infos:
        denoiser = present.begin(info)
        for frame in stamped_frames(info, 60 if info is infos[0] else 0):
            denoiser.push(frame)
        assert present.streams == (info, denoiser.info)
        assert (present.runtime, present.delay_frames) == (denoiser.runtime, 0)
    first, second = present.normalizers
    assert len(first) == 1
    assert first[0] is not None
    assert second == denoiser.normalizers == [None, None]
