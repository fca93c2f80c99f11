"""Versions of Python and of the packages that do the work."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib import metadata

from deepbid_rt import __version__
from deepbid_rt.checkup.finding import Finding

NEEDED = ("numpy", "pyzmq", "msgpack", "tifffile", "openvino", "scipy", "scikit-image", "psutil")
OPTIONAL = {
    "aiohttp": "http",
    "PySide6-Essentials": "viewer",
    "vispy": "viewer",
    "torch": "train",
    "tensorrt": "tensorrt",
}
"""Packages of extras, with the name of the extra."""


def check_packages(version: Callable[[str], str] = metadata.version) -> list[Finding]:
    """List the versions; a needed package that is missing is a problem."""
    there, missing, extras = [], [], []
    for name in NEEDED:
        try:
            there.append(f"{name} {version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    for name, extra in OPTIONAL.items():
        try:
            extras.append(f"{name} {version(name)}")
        except metadata.PackageNotFoundError:
            extras.append(f"no {name} (extra {extra})")
    about = f"deepbid-rt {__version__}, Python {platform.python_version()}, {platform.platform()}"
    found = [Finding("version", "ok", about)]
    if missing:
        text = f"{', '.join(missing)} missing"
        found.append(Finding("packages", "problem", text, "install deepbid-rt again with pip"))
    else:
        found.append(Finding("packages", "ok", ", ".join(there)))
    return [*found, Finding("extras", "ok", ", ".join(extras))]
