"""Tissue: fast rise and slow decay of activity, flowing blood, mean brightness 1, frames in any order."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepbid_rt.errors import StreamError
from deepbid_rt.simulator.anatomy import BRAIN_KINDS, SceneKind
from deepbid_rt.simulator.tissue import SceneSettings, Tissue

SIZE = (64, 72)


def test_frames_can_be_rendered_in_any_order_across_blocks() -> None:
    settings = SceneSettings(kind="dense", seed=5)
    one_by_one = Tissue(settings, SIZE, 4.0)
    frames = [one_by_one.render(index) for index in range(140)]
    for index in (139, 0, 64, 63, 128):
        np.testing.assert_array_equal(Tissue(settings, SIZE, 4.0).render(index), frames[index])


def test_transients_rise_fast_and_decay_slowly() -> None:
    tissue = Tissue(SceneSettings(kind="dense", seed=2, motion_px=0), SIZE, 30.0)
    traces = np.stack([tissue.activity(index) for index in range(900)])[:, : tissue.anatomy.units]
    assert traces.min() > -1e-4
    steps = np.diff(traces, axis=0)
    assert steps.max() > 3 * -steps.min()
    active = traces.max(axis=0) > 0.3
    assert 0.2 < active.mean() < 1.0


def test_one_spike_adds_0_3_to_1_2_of_the_light_at_rest() -> None:
    tissue = Tissue(SceneSettings(kind="dense", seed=2), SIZE, 30.0)
    ages_s = np.linspace(0, 3, 3000)
    for unit in range(tissue.anatomy.units):
        peak = (tissue._gain[unit] * tissue._transient(ages_s, np.array(unit))).max()
        assert 0.29 < peak < 1.21


def test_activity_is_continuous_across_blocks() -> None:
    tissue = Tissue(SceneSettings(kind="dense", seed=2), SIZE, 30.0)
    border = 480
    decay = np.stack([tissue.activity(index) for index in range(border - 2, border + 3)])
    assert (np.diff(decay, axis=0) > -0.3 * decay[:-1] - 1e-4).all()


def test_activity_never_repeats() -> None:
    tissue = Tissue(SceneSettings(kind="dense", seed=2), SIZE, 4.0)
    blocks = np.stack([[tissue.activity(64 * block + index) for index in range(64)] for block in range(4)])
    assert np.corrcoef(blocks.reshape(4, -1))[np.triu_indices(4, 1)].max() < 0.5


def test_silent_tissue_without_blood_is_constant() -> None:
    tissue = Tissue(SceneSettings(kind="vessels", seed=6, activity=0.0, blood=False), SIZE, 30.0)
    np.testing.assert_array_equal(tissue.render(0), tissue.render(777))


def test_blood_moves_only_inside_vessels() -> None:
    tissue = Tissue(SceneSettings(kind="vessels", seed=0, activity=0.0), SIZE, 30.0)
    assert tissue.anatomy.plasma > 1
    change = np.abs(tissue.render(3) - tissue.render(4))
    inside = np.zeros(change.shape, bool)
    for vessel in tissue.anatomy.vessels:
        inside[vessel.rows, vessel.columns] = True
    assert change[inside].mean() > 0.05
    assert not change[~inside].any()


@pytest.mark.parametrize("kind", BRAIN_KINDS)
def test_the_mean_brightness_is_1(kind: SceneKind) -> None:
    means = [
        np.mean([Tissue(SceneSettings(kind=kind, seed=seed), SIZE, 5.0).render(i).mean() for i in range(0, 300, 60)])
        for seed in range(5)
    ]
    assert np.mean(means) == pytest.approx(1.0, abs=0.15)


def test_the_margin_contains_the_motion() -> None:
    tissue = Tissue(SceneSettings(seed=1, motion_px=2.5), SIZE, 30.0)
    assert tissue.margin >= tissue.motion.limit_px + 1
    assert tissue.render(0).shape == (SIZE[0] + 2 * tissue.margin, SIZE[1] + 2 * tissue.margin)


def test_an_impossible_scene_is_refused() -> None:
    with pytest.raises(StreamError) as caught:
        SceneSettings(motion_px=-1)
    assert str(caught.value) == (
        "a scene of seed 0, motion -1 px, activity 1.0 and soma radius None; expected none of them negative and a "
        "radius of at least 1 px; check the scene settings."
    )


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(StreamError) as caught:
        SceneSettings(depth_um=-5.0)
    assert str(caught.value) == (
        "a pixel of 1.0 um, a depth of -5.0 um, a flow of None mm/s and a beat of 0.0 px; expected none of them "
        "negative and a pixel larger than 0; check the scene settings."
    )


def test_flow_is_converted_by_the_pixel_size() -> None:
    for pixel_um in (0.5, 2.0):
        scene = SceneSettings(kind="flow", seed=1, flow_mm_s=3.0, pixel_um=pixel_um)
        speeds = Tissue(scene, SIZE, 30.0).blood.speed_px_s
        assert np.abs(speeds).max() == pytest.approx(3000 / pixel_um)


def test_deep_tissue_is_less_sharp() -> None:
    edges = []
    for depth_um in (0.0, 300.0, 800.0):
        rest = Tissue(SceneSettings(kind="dense", seed=4, soma_radius_px=5.0, depth_um=depth_um), SIZE, 30.0).render(0)
        edges.append(np.abs(np.diff(rest)).mean() / rest.std())
    assert edges[0] > edges[1] > edges[2]


def test_a_picture_replaces_drawn_tissue_and_is_constant() -> None:
    picture = np.add.outer(np.arange(40.0), np.arange(30.0))
    tissue = Tissue(SceneSettings(picture=picture, motion_px=0), (20, 16), 30.0)
    margin = tissue.margin
    view = tissue.render(0)[margin:-margin, margin:-margin]
    assert np.array_equal(tissue.render(0), tissue.render(99))
    assert tissue.render(0).mean() == pytest.approx(1, abs=1e-5)
    middle = picture[10:30, 7:23]
    assert view / view[0, 0] == pytest.approx(middle / middle[0, 0], rel=1e-5)


def test_a_small_picture_is_mirrored_at_its_edges() -> None:
    picture = np.array([[1.0, 2.0], [3.0, 4.0]])
    canvas = Tissue(SceneSettings(picture=picture, motion_px=0), (8, 9), 30.0).render(0)
    assert np.unique(canvas).size == 4
    assert (canvas[:, 1:] == canvas[:, :-1]).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 4)), -np.ones((4, 4)), np.full((4, 4), np.nan), np.ones((2, 4, 4)), np.array([[1.0, -0.1]])],
)
def test_a_picture_without_light_or_of_a_wrong_shape_is_refused(picture: NDArray[Any]) -> None:
    with pytest.raises(StreamError, match="a picture of shape"):
        SceneSettings(picture=picture)
