"""Writes the golden messages of DBRT/1, with which any implementation can be tested.

This tool packs with msgspec and uses nothing of deepbid_rt, so that tests compare two independent implementations. A
``.bin`` file contains the three parts of a message, each as its length (uint32, little-endian) and its bytes.
``golden.json`` describes the meaning of each message, or the kind of fault for which it must be refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

SID = "0123456789abcdef0123456789abcdef"
PARENT = "fedcba9876543210fedcba9876543210"
TS = 1_750_000_000_000_000_000
BODY: dict[str, Any] = {
    "app": {"name": "example", "version": "1.0"},
    "shape": [1, 2, 3],
    "dtype": "<i2",
    "rate_hz": 30.0,
    "planes": 1,
    "n_expected": None,
    "parent": None,
    "scan": {"layout": "collinear", "bidi": True, "first": "fwd", "mirrored": True, "kind": "resonant"},
    "user": {"animal": "M7", "zoom": 2.5},
}
VENDOR_BODY: dict[str, Any] = {
    "shape": [2, 512, 512],
    "dtype": "<u2",
    "rate_hz": 29.97,
    "bits": 14,
    "channels": [{"id": 1, "name": "GCaMP"}, {"id": 2, "name": "µ-ruby"}],
    "pixel_um": [0.9, 0.9],
    "scan": {"kind": "resonant", "bidi": True, "mirrored": False, "first": "bwd", "f_res_hz": 7910.5},
    "x_unknown": [1, -1, 2**40, {"nested": None}],
}
TYPES = {"u1": "|u1", "u2": "<u2", "i2": "<i2", "f4": "<f4"}
PACKER = msgspec.msgpack.Encoder(order="sorted")


def main() -> None:
    """Write all messages and print their number and folder as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "tests" / "golden")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    golden = messages()
    for name, (parts, _expected) in golden.items():
        framed = b"".join(struct.pack("<I", len(part)) + part for part in parts)
        (out / f"{name}.bin").write_bytes(framed)
    table = {name: expected for name, (_parts, expected) in golden.items()}
    text = json.dumps(table, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (out / "golden.json").write_text(text, encoding="utf-8", newline="\n")
    print(json.dumps({"messages": len(golden), "out": str(out)}))


def messages() -> dict[str, tuple[list[bytes], dict[str, Any]]]:
    """Return the parts and the meaning of each golden message, by name."""
    hh = digest(BODY)
    golden = {
        "start": accepted("start", 0, BODY, hh),
        "start_vendor": accepted("start", 0, VENDOR_BODY, digest(VENDOR_BODY), source="lab-2"),
        "end": accepted("end", 9, {"reason": "done", "n_sent": 8, "last_fn": 7}, hh),
        "end_empty": accepted("end", 1, {"reason": "abort", "n_sent": 0, "last_fn": None}, hh),
        "beat": accepted("beat", 8, {**BODY, "last_seq": 8, "last_fn": 7, "state": "running", "fps": 30.0}, hh),
        "beat_idle": accepted("beat", 9, {**BODY, "last_seq": 9, "last_fn": 7, "state": "idle", "reason": "done"}, hh),
        "note": accepted("note", 3, {"text": "stimulus Δ on"}, hh),
    }
    for index, (name, dtype) in enumerate(TYPES.items()):
        pixels = np.array([[[0, 1, 2], [100, 101, 255]]], dtype) * np.dtype(dtype).type(1 if name == "u1" else 100)
        if name in ("i2", "f4"):
            pixels = -pixels
        golden[f"frame_{name}"] = frame(index, pixels, hh, more={"flags": 8 if index else 0})
    pixels = np.array([[[-1, 0, 1], [2, 3, 4]]], "<i2")
    extra = {"t_src": TS - 5_000_000, "t_rx": TS - 4_000_000, "t_acq": 1.75e9, "crc": zlib.crc32(pixels.tobytes())}
    golden["frame_denoised"] = frame(41, pixels, hh, role="den", more=extra)
    motion = {"dy": -1.25, "dx": 0.5, "confidence": 12.0, "verdict": "tracked"}
    motion |= {"bend_dy": [0.5, -0.25], "bend_dx": [0, 1.0]}
    golden["frame_motion"] = frame(42, pixels, hh, role="den", more={**extra, "motion": motion})
    frame_parts = golden["frame_i2"][0]
    faults: dict[str, dict[str, Any]] = {
        "version": {"v": 2},
        "kind": {"k": "movie"},
        "dtype": {"dtype": ">i2"},
        "shape": {"shape": [1, 2, 8193]},
        "byte-count": {"shape": [8, 8192, 8192]},
        "key": {"seq": True},
        "crc": {"crc": 1},
        "comp": {"comp": "lz4"},
    }
    for fault, changes in faults.items():
        header = PACKER.encode({**msgspec.msgpack.decode(frame_parts[1]), **changes})
        golden[f"refused_{fault}"] = ([frame_parts[0], header, frame_parts[2]], {"refused": fault})
    return golden


def digest(body: dict[str, Any]) -> str:
    """Return the hash of a start body."""
    return hashlib.sha256(PACKER.encode(body)).hexdigest()[:16]


def message(
    kind: str,
    seq: int,
    fields: dict[str, Any],
    hh: str,
    role: str = "raw",
    source: str = "scope1",
    payload: bytes = b"",
) -> list[bytes]:
    """Return the three parts of a message."""
    common = {"v": 1, "k": kind, "sid": SID, "seq": seq, "ts": TS + seq, "hh": hh}
    return [f"{role}/{source}/{kind}/".encode(), PACKER.encode({**fields, **common}), payload]


def accepted(
    kind: str, seq: int, fields: dict[str, Any], hh: str, source: str = "scope1"
) -> tuple[list[bytes], dict[str, Any]]:
    """Return a message without payload and its meaning."""
    return message(kind, seq, fields, hh, source=source), {"kind": kind, "seq": seq, "hh": hh, "fields": fields}


def frame(
    index: int, pixels: np.ndarray[Any, Any], hh: str, *, more: dict[str, Any], role: str = "raw"
) -> tuple[list[bytes], dict[str, Any]]:
    """Return a frame message and its meaning."""
    fields = {"fn": index, "shape": list(pixels.shape), "dtype": pixels.dtype.str, "plane": 0, **more}
    parts = message("frame", index + 1, fields, hh, role=role, payload=pixels.tobytes())
    return parts, {"kind": "frame", "seq": index + 1, "hh": hh, "fields": fields, "pixels": pixels.tolist()}


if __name__ == "__main__":
    main()
