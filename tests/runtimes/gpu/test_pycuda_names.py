"""Every name and argument of pycuda that this package uses, compared with pycuda's published source.

pycuda is published as source only and builds against CUDA, so it is read, not run. Download it by hand into the folder
that ``DEEPBID_RT_TENSORRT_WHEELS`` names: ``pip download --no-deps --no-binary :all: -d DIR pycuda``.
"""

import ast
import inspect
import os
import re
import tarfile
from pathlib import Path

import pytest

import deepbid_rt
from tests.tensorrt_bindings import VARIABLE

OWNER = Path(deepbid_rt.__file__).parent / "runtimes" / "gpu" / "pycuda_memory.py"
MEMBERS = {"retain_primary_context": "Device", "push": "Context", "detach": "Context", "pop": "Context"} | {
    "handle": "Stream",
    "synchronize": "Stream",
    "record": "Event",
}
"""Members of pycuda's objects that are used, and their classes."""


@pytest.fixture(scope="module")
def sources():
    folder = os.environ.get(VARIABLE)
    found = sorted(Path(folder).glob("pycuda-*.tar.gz")) if folder else []
    if not found:
        pytest.skip(
            f"no source of pycuda in a folder that {VARIABLE} names (see tests/runtimes/gpu/test_pycuda_names.py)"
        )
    with tarfile.open(found[-1]) as archive:
        return {
            Path(member.name).name: archive.extractfile(member).read().decode()
            for member in archive
            if member.name.endswith(("src/wrapper/wrap_cudadrv.cpp", "pycuda/__init__.py", "pycuda/driver.py"))
        }


def used():
    """Names of the module ``cuda`` with the most arguments given to each, and attributes of everything else."""
    tree = ast.parse(OWNER.read_text(encoding="utf-8"))
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names, members = {}, set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        if isinstance(node.value, ast.Name) and node.value.id == "cuda":
            call = calls.get(id(node))
            assert call is None or not call.keywords
            names[node.attr] = max(names.get(node.attr, 0), len(call.args) if call else 0)
        else:
            members.add(node.attr)
    return names, members


def arguments(source, name):
    """Names of a function's arguments in the wrapper, ``py::arg("dest")`` and so on; None where it names none."""
    text = re.search(rf'py::def\("{name}",(.*?)\);', source, re.DOTALL)
    assert text, f"pycuda has no function {name}"
    found = re.findall(r'"(\w+)"', re.sub(r'=\s*"\w+"', "", text[1]))
    return found or None


def section(source, name):
    """The part of the wrapper that describes a class: up to a semicolon on a line of its own."""
    found = re.search(rf'"{name}", py::(?:no_init|init).*?\n\s*;', source, re.DOTALL)
    assert found, f"pycuda has no class {name}"
    return found[0]


def test_every_function_exists_and_takes_our_arguments(sources):
    wrapper = sources["wrap_cudadrv.cpp"]
    for name, count in used()[0].items():
        if name in ("Error", "MemoryError"):
            assert f"DECLARE_EXC({name}," in wrapper
        elif name in ("Device", "Stream", "Event", "Context"):
            assert f'("{name}", ' in wrapper
        else:
            known = arguments(wrapper, name)
            assert known is None or count <= len(known), (name, count, known)


@pytest.mark.parametrize("name", MEMBERS)
def test_every_member_exists(sources, name):
    assert name in used()[1] | used()[0].keys()
    text = section(sources["wrap_cudadrv.cpp"], MEMBERS[name])
    assert re.search(rf'"{name}"|DEF_SIMPLE_METHOD(?:_WITH_\w+)?\({name}\)', text), text[:500]


def test_an_event_is_recorded_on_a_stream_and_waited_for(sources):
    text = section(sources["wrap_cudadrv.cpp"], "Event")
    assert re.search(r'"record", &cl::record,\s*py::arg\("stream"\)', text)
    assert '.def("synchronize", &cl::synchronize' in text


def test_copies_take_destination_source_and_stream_in_this_order(sources):
    for name in ("memcpy_htod_async", "memcpy_dtoh_async"):
        assert arguments(sources["wrap_cudadrv.cpp"], name) == ["dest", "src", "stream"]
    assert arguments(sources["wrap_cudadrv.cpp"], "pagelocked_empty")[:2] == ["shape", "dtype"]


def test_it_has_a_version_and_no_graphs(sources):
    """Fails for a later version that captures graphs, which this package could then use."""
    assert "VERSION_TEXT =" in sources["__init__.py"]
    assert "StreamBeginCapture" not in sources["wrap_cudadrv.cpp"]


def test_every_used_name_is_compared():
    names, members = used()
    ours = {n for n, _ in inspect.getmembers(__import__("numpy"))}
    assert names.keys() == {
        *("init", "Device", "Error", "MemoryError", "Stream", "Event", "Context", "mem_alloc", "pagelocked_empty"),
        *("memcpy_htod_async", "memcpy_dtoh_async"),
    }
    known = {
        "VERSION_TEXT",
        "address",
        "allocation",
        "append",
        "close",
        "current",
        "description",
        "driver",
        "pop",
        "stream",
    }
    assert {m for m in members if not m.startswith("_")} - ours <= known | MEMBERS.keys()
