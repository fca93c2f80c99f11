"""Torch versions of splitting, normalising, merging and rounding against the numpy functions, on the CPU."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from deepbid_rt.denoising.network_inputs import (  # noqa: E402  # after the check for torch
    network_inputs,
    pad,
    padded_size,
)
from deepbid_rt.frame import ScanGeometry  # noqa: E402
from deepbid_rt.runtimes.gpu import tensor_frames as ops  # noqa: E402
from deepbid_rt.scan.directions import merged_line_count  # noqa: E402
from deepbid_rt.scan.line_offset import LineOffset  # noqa: E402
from deepbid_rt.scan.normalizer import Normalizer, to_dtype  # noqa: E402
from deepbid_rt.scan.splitter import ScanSplitter  # noqa: E402
from tests.fakes import stream  # noqa: E402

SCANS = [
    ScanGeometry("ordinary"),
    ScanGeometry("ordinary", mirrored=False),
    ScanGeometry("ordinary", first="backward", mirrored=False),
    ScanGeometry("collinear"),
    ScanGeometry("collinear", first="backward"),
    ScanGeometry("collinear", mirrored=False),
    ScanGeometry("collinear", first="backward", mirrored=False),
]
DTYPES = ["|u1", "<u2", "<i2", "<f4"]


def pixels(dtype, shape=(2, 7, 6), seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1e4, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, np.dtype(dtype), endpoint=True)


def carried(array):
    return torch.from_numpy(array.view("<i2") if array.dtype.str == "<u2" else array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixels_of_every_type_become_float32(dtype):
    frame = pixels(dtype)
    assert np.array_equal(ops.to_float(carried(frame), np.dtype(dtype)).numpy(), frame.astype(np.float32))


@pytest.mark.parametrize("px", [0.0, -1.0, 1.3])
@pytest.mark.parametrize("lines", [1, 2, 7, 8])
@pytest.mark.parametrize("scan", [*SCANS, ScanGeometry("ordinary", bidirectional=False)])
def test_split_and_merge_equal_scan_splitter(scan, lines, px):
    info = stream((2, lines, 6), np.float32, scan)
    frame = pixels("<f4", info.shape)
    frame[0, -1, 3] = np.nan
    line_offset = LineOffset(scan, 6, px)
    tables = torch.from_numpy(line_offset.columns.astype(np.int32)), torch.from_numpy(line_offset.weights)
    views = ops.split(torch.from_numpy(frame), scan, *tables)
    merges = ["mean", "interleave"] if scan.layout == "ordinary" else ["mean", "forward", "backward", "interleave"]
    for merge in merges:
        if not merged_line_count(lines, scan, merge):
            continue
        plain = ScanSplitter(info, merge)
        expected = plain.split(frame, line_offset if px and scan.bidirectional else None)
        assert np.allclose(views.numpy(), expected, rtol=1e-6, atol=1e-2, equal_nan=True)
        assert px % 1 or np.array_equal(views.numpy(), expected, equal_nan=True)
        answers = pixels("<f4", expected.shape, seed=1)
        merged = ops.merge(torch.from_numpy(answers), lines, scan, merge)
        assert np.array_equal(merged.numpy(), plain.join(answers.copy())), merge


def test_units_and_counts_equal_normalizer():
    counts = pixels("<f4", (2, 2, 5, 6))
    counts[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    normalizers = Normalizer(120.5, 7.25), Normalizer(-3.0, 0.5)
    column = [
        torch.tensor([[[[v]]] for v in values], dtype=torch.float32)
        for values in zip(*[(n.offset, n.scale) for n in normalizers], strict=True)
    ]
    units = ops.to_units(torch.from_numpy(counts), column[0], 1 / column[1])
    expected = np.stack([n.apply(c) for n, c in zip(normalizers, counts, strict=True)])
    assert np.array_equal(units.numpy(), expected)
    back = ops.to_counts(units, *column, torch.full((2, 1, 1, 1), 0.25))
    restored = np.stack(
        [n.restore(c, np.float32) - np.float32(0.25 * n.scale) for n, c in zip(normalizers, expected, strict=True)]
    )
    assert np.allclose(back.numpy(), restored, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixels_are_rounded_and_clipped_never_wrapped(dtype):
    image = np.array([[-1e9, -40000.5, -0.5, 0.5, 1.5, 2.5, 254.5, 255.5, 32767.6, 65534.5, 65536, 1e9]], np.float32)
    got = ops.to_pixels(torch.from_numpy(image.copy()), np.dtype(dtype)).numpy().view(dtype)
    assert np.array_equal(got, to_dtype(image.copy(), dtype))


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("views", [1, 2])
def test_network_inputs_and_padding_equal_numpy(views, together):
    rng = np.random.default_rng(2)
    units = rng.normal(size=(2, views, 11, 13)).astype(np.float32)
    averages = rng.normal(size=(2, 4, 11, 13)).astype(np.float32)
    averages[:, -1] = rng.uniform(0.1, 1, (2, 11, 13))  # a weight is never negative
    averages[:, :, :4, 5:] = 0
    rows, columns = (
        ops.padding(n, p, torch.device("cpu")) for n, p in zip((11, 13), padded_size((11, 13), 8), strict=True)
    )
    got = ops.network_inputs(torch.from_numpy(units), torch.from_numpy(averages), together=together)
    got = got.index_select(-2, rows).index_select(-1, columns).numpy()
    for c in range(2):
        if together:
            inferences = [(units[c].mean(axis=0), "all")]
        elif views == 2:
            inferences = [(view, "all") for view in units[c]]
        else:
            inferences = [(units[c, 0], "even"), (units[c, 0], "odd")]
        expected = [pad(network_inputs(view, averages[c], which), 8) for view, which in inferences]
        assert np.allclose(got[c], expected, atol=1e-6)


def test_each_view_gets_its_answer():
    answers = torch.arange(8.0).view(1, 2, 2, 2)
    assert torch.equal(ops.views_from(answers, 2), answers)
    assert torch.equal(ops.views_from(answers[:, :1], 2), answers[:, :1].expand(-1, 2, -1, -1))
    assert torch.equal(ops.views_from(answers, 1), answers.mean(dim=1, keepdim=True))
