"""Sampled inputs are those of the live path, from the whole recording, and the same every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.card import ModelCard
from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.errors import StreamError
from deepbid_rt.frame import ScanGeometry
from deepbid_rt.train.sampled_inputs import sampled_inputs
from tests.fakes import STREAM_CARD, ListSource, SpyEngine, flat_frame, stamped_frames, stream

FRAMES = 30
CARDS = {"each": STREAM_CARD, "mean": replace(STREAM_CARD, views="mean")}


def given(info, card: ModelCard) -> list[NDArray[np.float32]]:
    """All inputs of the recording, from the live path."""
    spy = SpyEngine(card, lambda window: window[:1])
    denoiser = Denoiser(spy, info)
    for frame in stamped_frames(info, FRAMES):
        denoiser.push(frame)
    denoiser.flush()
    return spy.windows


def sample(info, card: ModelCard, count: int) -> list[NDArray[np.float32]]:
    return sampled_inputs(card, ListSource([info, *stamped_frames(info, FRAMES)]), count)


@pytest.mark.parametrize("layout", ["collinear", "ordinary"])
@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_inputs_are_those_of_the_live_path_and_from_the_whole_recording(layout: str, card: ModelCard) -> None:
    info = stream((2, 32, 24), scan=ScanGeometry(layout))
    everything = given(info, card)
    assert len(everything) in (2 * FRAMES, 4 * FRAMES)
    kept = sample(info, card, 12)
    assert len(kept) == 12
    places = [next(n for n, whole in enumerate(everything) if np.array_equal(whole, one)) for one in kept]
    assert len(set(places)) == 12
    assert min(places) < len(everything) / 3 < 2 * len(everything) / 3 < max(places)
    for first, again in zip(kept, sample(info, card, 12), strict=True):
        np.testing.assert_array_equal(first, again)


def test_a_short_recording_gives_all_it_has() -> None:
    info = stream((1, 32, 24), scan=ScanGeometry("collinear"))
    kept = sample(info, CARDS["mean"], 100)
    assert len(kept) == FRAMES
    for one, expected in zip(kept, given(info, CARDS["mean"]), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_a_source_without_a_series_is_refused() -> None:
    with pytest.raises(StreamError, match="begins with"):
        sampled_inputs(STREAM_CARD, ListSource([flat_frame(stream(), 0, 1.0)]), 4)
