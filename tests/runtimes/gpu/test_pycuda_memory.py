"""`PycudaMemory` with a simulated pycuda: the context must be current for each call.

tests/runtimes/gpu/test_pycuda_names.py compares names and arguments with the real pycuda.
"""

import importlib
import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from deepbid_rt.errors import StageError


class Driver(ModuleType):
    """pycuda.driver; all its calls after the first need a current context."""

    class Error(Exception):
        pass

    class MemoryError(Error):  # noqa: A001  # its name in pycuda
        pass

    def __init__(self):
        super().__init__("pycuda.driver")
        self.stack, self.freed, self.log, self.fails = [], [], [], False
        driver = self

        class Thing:
            """An object that must be freed while its context is current: otherwise pycuda warns and leaks it."""

            def __init__(self, *_):
                assert driver.stack

            def __del__(self):
                driver.freed.append(bool(driver.stack))

        class Stream(Thing):
            handle = 7

            def synchronize(self):
                assert driver.stack
                driver.log.append("stream")

        class Event(Thing):
            def record(self, stream):
                assert driver.stack
                assert isinstance(stream, Stream)

            def synchronize(self):
                assert driver.stack
                if driver.fails:
                    raise driver.Error("cuEventSynchronize failed: an illegal memory access was encountered")
                driver.log.append("event")

        self.Stream, self.Event = Stream, Event
        context = SimpleNamespace(push=lambda: self.stack.append(1), detach=lambda: self.log.append("detached"))
        self.Context = SimpleNamespace(pop=lambda: self.stack.pop())
        self.Device = lambda _number: SimpleNamespace(retain_primary_context=lambda: context)

    def init(self):
        pass

    def pagelocked_empty(self, shape, dtype):
        assert self.stack
        return np.empty(shape, dtype)


@pytest.fixture
def memory(monkeypatch):
    driver, package = Driver(), ModuleType("pycuda")
    package.VERSION_TEXT, package.driver = "simulated", driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    name = "deepbid_rt.runtimes.gpu.pycuda_memory"
    monkeypatch.delitem(sys.modules, name, raising=False)
    opened = importlib.import_module(name).PycudaMemory()
    yield SimpleNamespace(owner=opened, driver=driver)
    opened.close()
    monkeypatch.delitem(sys.modules, name)


def test_events_are_waited_for_and_freed_in_their_context(memory):
    """Also in another thread than the one that opened the GPU."""
    marks = [memory.owner.mark() for _ in range(2)]

    def wait():
        for mark in marks:
            mark()

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert memory.driver.log == ["event", "event"]
    assert memory.driver.freed == [True, True]


def test_an_error_while_waiting_is_a_stage_error(memory):
    mark = memory.owner.mark()
    memory.driver.fails = True
    with pytest.raises(StageError, match=r"^the GPU failed in the middle of the session \(cuEventSynchronize failed"):
        mark()


def test_kernels_are_unloaded_before_the_context_is_released(memory, monkeypatch):
    loaded = SimpleNamespace(close=lambda: memory.driver.log.append("kernels"))
    monkeypatch.setattr(sys.modules[type(memory.owner).__module__], "CudaProgram", lambda *_: loaded)
    assert memory.owner.program(b"") is loaded
    assert memory.owner.tensors() is None
    memory.owner.close()
    memory.owner.close()
    assert memory.driver.log == ["kernels", "detached"]
