"""All checks, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepbid_rt.checkup.clock import check_resolution, check_synchronised
from deepbid_rt.checkup.disk import check_disk
from deepbid_rt.checkup.engine import check_engine
from deepbid_rt.checkup.finding import Finding
from deepbid_rt.checkup.gpu import check_gpu
from deepbid_rt.checkup.memory import check_descriptors, check_memory
from deepbid_rt.checkup.packages import check_packages
from deepbid_rt.checkup.processor import check_cores, check_instructions
from deepbid_rt.checkup.sockets import check_loopback, check_port
from deepbid_rt.runtimes import DEFAULT_ENGINE

PORTS = (5590, 5591)
"""Ports of the raw and of the denoised stream that examples use."""
BYTES_PER_PIXEL = 2

Check = tuple[str, Callable[[], Finding | Sequence[Finding]]]
"""The part that a check looks at, and the check."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The session that the computer is checked for."""

    size: int = 512
    """Lines and pixels of a frame."""
    rate_hz: float = 30.0
    engine: str = DEFAULT_ENGINE
    trust: bool = False
    record: Path = Path()
    """Folder of the recordings."""

    @property
    def bytes_per_s(self) -> float:
        """Bytes per second of a raw and a denoised recording."""
        return 2 * BYTES_PER_PIXEL * self.size**2 * self.rate_hz


def checks_for(plan: Plan) -> list[Check]:
    """Return the checks for a session, the quick ones first."""
    return [
        ("packages", check_packages),
        ("cores", check_cores),
        ("instructions", check_instructions),
        ("memory", check_memory),
        ("descriptors", check_descriptors),
        ("clock", check_resolution),
        ("time", check_synchronised),
        *[(f"port {port}", lambda port=port: check_port(port)) for port in PORTS],
        ("loopback", check_loopback),
        ("GPU", check_gpu),
        ("disk", lambda: check_disk(plan.record, plan.bytes_per_s)),
        ("engine", lambda: check_engine(plan.engine, plan.size, plan.rate_hz, trust=plan.trust)),
    ]


def check_up(checks: Sequence[Check]) -> Iterator[Finding]:
    """Run checks one after the other. One that raises is itself a finding."""
    for part, check in checks:
        try:
            found = check()
        # Any error: one check that fails must not hide what the others find.
        except Exception as error:
            text = f"the check failed: {type(error).__name__}: {error}"
            yield Finding(part, "problem", text, "report this, with the whole output of deepbid-rt checkup --json")
            continue
        yield from [found] if isinstance(found, Finding) else found
