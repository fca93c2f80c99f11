"""Heart chamber: a closed wall around a cavity in the middle."""

import numpy as np

from deepbid_rt.simulator.heart import draw_chamber


def test_the_cavity_lies_in_the_middle_with_a_wall_all_around() -> None:
    for seed in range(6):
        parts = draw_chamber(np.random.default_rng(seed), (120, 140), 2.0)
        assert parts.lumen[60, 70] == 1
        assert max(parts.lumen[0].max(), parts.lumen[:, 0].max(), parts.wall[0].max(), parts.wall[-1].max()) == 0
        for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
            radius = np.arange(58)
            ray = (
                np.rint(59.5 + radius * np.sin(angle)).astype(int),
                np.rint(69.5 + radius * np.cos(angle)).astype(int),
            )
            inside, muscle = np.flatnonzero(parts.lumen[ray] > 0.5), np.flatnonzero(parts.wall[ray] > 0.5)
            assert inside.size > 10
            assert muscle.size > 5
            assert inside.max() < muscle.min() + 2


def test_along_and_side_are_orthogonal_coordinates_in_pixels() -> None:
    parts = draw_chamber(np.random.default_rng(3), (80, 80), 2.0)
    for image in (parts.along_px, parts.side_px):
        slopes = np.gradient(image)
        np.testing.assert_allclose(np.hypot(*slopes), 1.0, atol=1e-3)
    across = sum(a * b for a, b in zip(np.gradient(parts.along_px), np.gradient(parts.side_px), strict=True))
    np.testing.assert_allclose(across, 0.0, atol=1e-3)
