import numpy as np
import pytest

from deepbid_rt.denoising.denoiser import Denoiser
from deepbid_rt.denoising.pass_through import PassThrough
from deepbid_rt.frame import FrameFlag, ScanGeometry
from deepbid_rt.runtimes.echo import EchoEngine
from tests.fakes import stamped_frames, stream


@pytest.mark.parametrize("merge", ["mean", "forward", "backward", "interleave"])
@pytest.mark.parametrize("scan", [ScanGeometry(), ScanGeometry("collinear"), ScanGeometry(mirrored=False)], ids=str)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_frames_have_the_shape_of_the_denoised_series_and_the_pixels_of_the_raw_one(merge, scan, dtype):
    if scan.layout == "ordinary" and merge in ("forward", "backward"):
        return  # refused by both
    info = stream((2, 7, 5), dtype, scan)
    denoiser = Denoiser(EchoEngine(), info, merge=merge, line_phase="off")
    through = PassThrough(info, merge)
    for field in ("shape", "dtype", "scan", "parent"):
        assert getattr(through.info, field) == getattr(denoiser.info, field)
    for frame in stamped_frames(info, 3):
        out = through.push(frame)
        [echoed] = denoiser.push(frame)
        assert np.allclose(out.pixels, echoed.pixels, atol=1e-4 if dtype == np.float32 else 0)
        assert (out.index, out.t_ns, out.flags) == (frame.index, frame.t_ns, FrameFlag.NOT_DENOISED)
        assert out.pixels.dtype == info.dtype
