"""The processor: cores, and instructions that engines use."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from deepbid_rt.checkup.finding import Finding

CPU_INFO = Path("/proc/cpuinfo")


def check_cores(usable: int | None = None) -> Finding:
    """Count the cores that this process may use."""
    if usable is None:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    physical = psutil.cpu_count(logical=False)
    text = f"{usable} usable{f', {physical} physical' if physical else ''}"
    if usable < 2:
        return Finding("cores", "problem", text, "give the session 2 cores or more: one denoises, one receives")
    if usable < 4:
        return Finding("cores", "warning", text, "with less than 4 cores, run nothing else beside a session")
    return Finding("cores", "ok", text)


def check_instructions(flags: frozenset[str] | None = None) -> Finding:
    """Tell which of the instructions the processor has that make engines fast.

    Parameters
    ----------
    flags : frozenset of str, optional
        Names as in ``/proc/cpuinfo``; read from there, or else asked of OpenVINO, if left out.
    """
    if flags is None:
        flags = _flags()
    if not flags:
        text, todo = f"unknown for {platform.machine()}", "look at the frames per second of the engine, below"
        return Finding("instructions", "warning", text, todo)
    if {"amx_bf16", "amx_tile"} <= flags:
        return Finding("instructions", "ok", "AMX with bf16, the fastest")
    if "avx512_bf16" in flags:
        return Finding("instructions", "ok", "AVX-512 with bf16; engines run at bf16, AMX would be faster still")
    if "avx512f" in flags:
        todo = "expect half of the speed of a processor with bf16; choose a smaller frame, the engine light, or a GPU"
        return Finding("instructions", "warning", "AVX-512 without bf16; engines run at f32", todo)
    if "avx2" in flags:
        todo = "expect a third of the speed of a processor with bf16; choose the engine light, average, or a GPU"
        return Finding("instructions", "warning", "AVX2 without AVX-512; engines run at f32", todo)
    if flags & {"asimd", "neon"}:
        todo = "look at the frames per second of the engine, below"
        return Finding("instructions", "warning", "ARM; the shipped engines are measured on x86", todo)
    return Finding("instructions", "problem", "neither AVX2 nor AVX-512", "use another computer, or a GPU")


def _flags() -> frozenset[str]:
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return _flags_of_openvino()
    found = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(found, ()))


def _flags_of_openvino() -> frozenset[str]:
    """Return what OpenVINO says: whether it would compute with bf16. It does not tell AVX2 from AVX-512."""
    from deepbid_rt.runtimes.openvino_core import core

    can = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return frozenset({"avx2", *(["avx512f", "avx512_bf16"] if "BF16" in can else [])})
