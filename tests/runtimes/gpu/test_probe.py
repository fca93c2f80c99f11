import ctypes

import pytest

from deepbid_rt.errors import EngineError
from deepbid_rt.runtimes.gpu.probe import Gpu, find_gpu


class SimulatedDriver:
    """The functions of NVIDIA's two libraries that are called."""

    def __init__(self, *, init=0, count=1, fails=None):
        self._init, self._count, self._fails = init, count, fails

    def cuInit(self, _flags):
        return self._init

    def cuDeviceGetCount(self, count):
        count._obj.value = self._count
        return 0

    def cuDeviceGet(self, device, number):
        device._obj.value = number
        return 2 if self._fails == "device" else 0

    def cuDeviceGetName(self, text, _length, _device):
        text.value = b"NVIDIA simulated"
        return 0

    def cuDeviceGetAttribute(self, number, attribute, _device):
        number._obj.value = {75: 8, 76: 6}[attribute]
        return 0

    def cuDriverGetVersion(self, number):
        number._obj.value = 13020
        return 0

    def nvmlInit_v2(self):
        return 0

    def nvmlSystemGetDriverVersion(self, text, _length):
        text.value = b"580.42"
        return 0


def test_a_gpu_is_described():
    driver = SimulatedDriver()
    assert find_gpu(lambda _name: driver) == Gpu("NVIDIA simulated", "8.6", "580.42 (CUDA 13.2)")


def test_an_unknown_driver_version_is_accepted():
    def load(name):
        if "ml" in name:
            raise OSError(name)
        return SimulatedDriver()

    assert find_gpu(load).driver == "driver of unknown version (CUDA 13.2)"


def test_no_driver_is_refused():
    def load(name):
        raise OSError(name)

    with pytest.raises(EngineError) as refused:
        find_gpu(load)
    assert str(refused.value) == (
        "no NVIDIA driver on this computer; expected its library libcuda; "
        "install the driver, or use the .onnx file of the engine, which needs no GPU."
    )


@pytest.mark.parametrize("driver", [SimulatedDriver(init=100), SimulatedDriver(count=0)])
def test_no_gpu_is_refused(driver):
    with pytest.raises(EngineError) as refused:
        find_gpu(lambda _name: driver)
    assert str(refused.value) == (
        "an NVIDIA driver but no GPU; expected a GPU that this process may see; "
        "check nvidia-smi and CUDA_VISIBLE_DEVICES, or use the .onnx file of the engine, which needs no GPU."
    )


@pytest.mark.parametrize(("driver", "code"), [(SimulatedDriver(init=803), 803), (SimulatedDriver(fails="device"), 2)])
def test_a_driver_that_fails_is_refused(driver, code):
    with pytest.raises(EngineError, match=rf"^an NVIDIA driver that answers with CUDA error {code}; expected a"):
        find_gpu(lambda _name: driver)


def test_the_real_driver_answers_or_its_absence_raises():
    """On a computer without a driver, the error that a user gets."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        with pytest.raises(EngineError, match="no NVIDIA driver"):
            find_gpu()
    else:
        assert find_gpu().capability
