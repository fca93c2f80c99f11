from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepbid_rt.errors import FileError, StreamError
from deepbid_rt.evaluation.picture import side_by_side

RAMP = np.linspace(100, 900, 32 * 32).reshape(32, 32)
PANELS = [("raw", RAMP), ("twice as bright", 2 * RAMP), ("truth", RAMP.astype(np.int16))]


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def grey(pixels: np.ndarray, black: float, white: float, factor: int) -> np.ndarray:
    scaled = np.rint(np.clip((pixels - black) / (white - black), 0, 1) * 255).astype(np.uint8)
    return np.kron(scaled, np.ones((factor, factor), np.uint8))


def places(image: np.ndarray, tile: np.ndarray) -> list[tuple[int, int]]:
    """Return every (y, x) at which the picture contains the tile."""
    views = np.lib.stride_tricks.sliding_window_view(image[..., 0], tile.shape)
    corners = (views[:, :, 0, 0] == tile[0, 0]) & (views[:, :, -1, -1] == tile[-1, -1])
    return [(int(y), int(x)) for y, x in np.argwhere(corners) if (views[y, x] == tile).all()]


def test_every_panel_has_the_contrast_of_the_reference(tmp_path: Path) -> None:
    side_by_side(PANELS, tmp_path / "p.png", "a title", percentiles=(0, 100), side=70)
    image = picture(tmp_path / "p.png")
    found = [places(image, grey(pixels, 100, 900, 2)) for _, pixels in PANELS]
    assert all(len(place) == 1 for place in found)
    (top, left), (top2, middle), (top3, right) = (place[0] for place in found)
    assert top == top2 == top3
    assert left < middle < right
    assert left + 64 <= middle
    assert image[:top, :, 0].max() > 200  # title and labels


def test_panels_can_share_another_contrast_or_have_their_own(tmp_path: Path) -> None:
    side_by_side(PANELS, tmp_path / "p.png", percentiles=(0, 100), reference=1, side=64)
    assert len(places(picture(tmp_path / "p.png"), grey(RAMP, 200, 1800, 2))) == 1
    side_by_side(PANELS[:2], tmp_path / "own.png", percentiles=(0, 100), reference=None, side=64)
    assert len(places(picture(tmp_path / "own.png"), grey(RAMP, 100, 900, 2))) == 2


@pytest.mark.parametrize("reference", [0, None])
def test_panels_are_drawn_in_rows(tmp_path: Path, reference: int | None) -> None:
    panels = [(str(n), RAMP) for n in range(5)]
    side_by_side(panels, tmp_path / "p.png", percentiles=(0, 100), reference=reference, side=32, columns=2)
    found = places(picture(tmp_path / "p.png"), grey(RAMP, 100, 900, 1))
    assert len(found) == 5
    assert len({y for y, _ in found}) == 3
    assert len({x for _, x in found}) == 2


def test_percentiles_set_black_and_white(tmp_path: Path) -> None:
    side_by_side(PANELS[:1], tmp_path / "p.png", percentiles=(10, 90), side=32)
    black, white = np.percentile(RAMP, (10, 90))
    assert len(places(picture(tmp_path / "p.png"), grey(RAMP, black, white, 1))) == 1


def test_large_panels_are_not_enlarged_and_long_texts_stay_inside(tmp_path: Path) -> None:
    wide = np.tile(RAMP, (1, 20))
    side_by_side([("wide", wide)], tmp_path / "p.png", side=512, percentiles=(0, 100))
    assert len(places(picture(tmp_path / "p.png"), grey(wide, 100, 900, 1))) == 1
    side_by_side([("x" * 80, RAMP), ("y", RAMP)], tmp_path / "long.png", "t" * 120, side=32)
    ground = picture(tmp_path / "long.png")[0, 0]
    assert (picture(tmp_path / "long.png")[:, -12:] == ground).all()


def test_a_constant_panel_is_black(tmp_path: Path) -> None:
    side_by_side([("dark", np.zeros((16, 16), np.int16))], tmp_path / "p.png", side=16)
    assert len(places(picture(tmp_path / "p.png"), np.zeros((16, 16), np.uint8))) == 1


@pytest.mark.parametrize("pixels", [np.zeros((1, 4, 4)), np.zeros((0, 4)), np.full((4, 4), np.nan)])
def test_refuses_panels_that_are_not_finite_2d_arrays(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(StreamError) as info:
        side_by_side([("good", RAMP), ("bad", pixels)], tmp_path / "p.png")
    assert str(info.value) == (
        f"panel 'bad' of shape {pixels.shape}; expected finite counts (Y, X); choose one channel of one frame, or the "
        "mean over frames."
    )
    with pytest.raises(StreamError, match="a picture without panels"):
        side_by_side([], tmp_path / "p.png")


def test_the_error_names_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"p\.png cannot be written"):
        side_by_side(PANELS, tmp_path / "none" / "p.png")
