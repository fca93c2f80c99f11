"""deepbid-rt: denoises two-photon movies while they are being scanned."""

import sys

__version__ = "0.1.0"

# OpenVINO reports each import to its maker, and writes an identity for it into the user's home folder, unless its
# package for that is missing. A session tells nobody of itself, so it is missing here, before anything can import it.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how an import is made to fail
