"""What several tests of conversions need."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(scope="module")
def threads_of_zarr() -> Iterator[None]:
    """Start the threads that zarr keeps, before the tests count threads."""
    zarr = pytest.importorskip("zarr", reason="the formats extra is not installed")
    from zarr.core.sync import cleanup_resources

    with zarr.config.set({"threading.max_workers": 1}):
        array = zarr.create_array({}, shape=(4, 4), chunks=(2, 2), dtype="u2")
        array[:] = 1
        np.asarray(array[:])
        yield
    cleanup_resources()
