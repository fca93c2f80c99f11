"""Who may import whom: the contract of pyproject.toml, and what an import pulls in when it is really done."""

import ast
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests import ROOT

HEAVY = {
    "PIL",
    "aiohttp",
    "h5py",
    "PySide6",
    "matplotlib",
    "msgpack",
    "onnx",
    "openvino",
    "prometheus_client",
    "pycuda",
    "rich",
    "scipy",
    "skimage",
    "tensorrt",
    "tifffile",
    "torch",
    "typer",
    "vispy",
    "zarr",
    "zmq",
}


def python(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def loaded_by(module):
    done = python(
        "import importlib, json, sys; importlib.import_module(sys.argv[1]); "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))",
        module,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_import_contract_is_kept():
    done = python("from importlinter.cli import lint_imports_command as run; run(['--no-cache'])")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_contract_knows_every_heavy_dependency():
    """A dependency that pyproject.toml does not confine to a place could creep in anywhere."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    confined = {name for c in project["tool"]["importlinter"]["contracts"] for name in c.get("forbidden_modules", ())}
    names = {
        "pyzmq": "zmq",
        "scikit-image": "skimage",
        "pillow": "PIL",
        "prometheus-client": "prometheus_client",
        "PySide6-Essentials": "PySide6",
    }
    extras = project["project"]["optional-dependencies"]
    declared = {
        names.get(name, name)
        for line in itertools.chain(
            project["project"]["dependencies"], *(extras[name] for name in ("train", "http", "viewer", "formats"))
        )
        for name in re.findall(r"^[A-Za-z0-9-]+", line)
    }
    assert declared - confined == {"numpy", "onnxscript"}


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("deepbid_rt", set()),
        ("deepbid_rt.scan.directions", set()),
        ("deepbid_rt.wire.codec", {"msgpack"}),
        ("deepbid_rt.denoising.denoiser", {"scipy"}),
        ("deepbid_rt.live.pipeline", {"scipy"}),
        ("deepbid_rt.simulator.publisher", set()),
        ("deepbid_rt.simulator.synthetic", {"scipy"}),
        ("deepbid_rt.recording.recorder", {"tifffile"}),
        ("deepbid_rt.zmq_io", {"zmq", "msgpack"}),
        ("deepbid_rt.runtimes.echo", set()),
        ("deepbid_rt.runtimes.tensorrt.engine", set()),
        ("deepbid_rt.wire.loopback", set()),
        ("deepbid_rt.live.session_report", set()),
        ("deepbid_rt.viewer.hud", set()),
        ("deepbid_rt.viewer.roi_traces", set()),
        ("deepbid_rt.viewer.snapshot", {"tifffile", "zmq", "msgpack"}),
        ("deepbid_rt.viewer.viewer_model", {"zmq", "msgpack"}),
        ("deepbid_rt.viewer.canvas", {"vispy"}),
    ],
)
def test_an_import_pulls_in_nothing_heavier_than_it_needs(module, allowed):
    assert loaded_by(module) & HEAVY <= allowed


def test_the_command_line_needs_no_extra():
    """The demo runs where neither the train nor the http extra is installed."""
    assert not loaded_by("deepbid_rt.cli") & {"torch", "onnx", "aiohttp", "prometheus_client"}
    without = ("torch", "onnx", "aiohttp", "prometheus_client")
    blocked = f"import sys; sys.modules.update(dict.fromkeys({without})); import deepbid_rt.cli"
    done = python(blocked)
    assert done.returncode == 0, done.stderr


def test_the_gpu_benchmark_needs_no_more_than_its_tool_says():
    pytest.importorskip("torch", reason="the train extra is not installed")
    missing = ["openvino", "zmq", "typer", "rich", "msgpack", "tifffile", "skimage", "tensorrt", "pycuda"]
    blocked = f"import sys; sys.modules.update(dict.fromkeys({missing})); import deepbid_rt.benchmark.gpu"
    done = python(blocked)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "bridge").glob("*.py")), ids=lambda path: path.name)
def test_what_runs_beside_the_microscope_stays_light(path):
    """Packages of one program alone, such as its Python interface, are imported late, by name."""
    needs = {"tifffile"} if path.name == "watch_folder.py" else set()  # it reads TIFF files
    allowed = {"numpy", "zmq", "msgpack", "deepbid_rt", *needs, *sys.stdlib_module_names}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            assert name.partition(".")[0] in allowed
    blocked = [*sorted(HEAVY - {"zmq", "msgpack"} - needs), "psutil"]
    done = python(
        "import importlib.util, sys; sys.modules.update(dict.fromkeys(sys.argv[2].split()));"
        "spec = importlib.util.spec_from_file_location('connector', sys.argv[1]);"
        "module = sys.modules['connector'] = importlib.util.module_from_spec(spec);"
        "spec.loader.exec_module(module)",
        str(path),
        " ".join(blocked),
    )
    assert done.returncode == 0, done.stderr


def test_an_installed_wheel_finds_the_engines_it_carries():
    """The folder that the wheel puts the engines into is the one that `find_engine` looks into."""
    from deepbid_rt import runtimes

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    targets = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert ROOT / targets["engines"] in runtimes._SHIPPED
