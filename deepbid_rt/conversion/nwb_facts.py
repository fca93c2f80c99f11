"""What an NWB file has to state and no recording does: when the session began, the indicator, the wavelengths."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from deepbid_rt.errors import OptionError

T = TypeVar("T")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class NwbFacts:
    """What the user says; the defaults say that nothing is known."""

    session_start: datetime | None = None
    """When the session began, with a time zone; None: the time at which the recording was last changed."""
    session_description: str | None = None
    """None: that it is a two-photon recording, and the name of its file."""
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Unique in the world."""
    device: str = UNKNOWN
    """Microscope."""
    location: str = UNKNOWN
    """Part of the brain, as exactly as it is known."""
    indicator: tuple[str, ...] = (UNKNOWN,)
    """Of each channel, or of all."""
    excitation_nm: tuple[float, ...] = (math.nan,)
    """Wavelength of the laser, for each channel or for all."""
    emission_nm: tuple[float, ...] = (math.nan,)
    """Wavelength of the fluorescence, for each channel or for all."""
    experimenter: tuple[str, ...] = ()
    institution: str | None = None
    subject_id: str | None = None
    """Name of the animal; archives require it, and the three below."""
    species: str | None = None
    """Latin binomial, such as ``Mus musculus``."""
    sex: str | None = None
    """``M``, ``F``, ``U`` (unknown) or ``O`` (other)."""
    age: str | None = None
    """A duration of ISO 8601, such as ``P90D`` for 90 days."""

    @classmethod
    def of(cls, given: Mapping[str, object]) -> NwbFacts:
        """Return the facts that are given as text, numbers or lists of them.

        Parameters
        ----------
        given : mapping
            The names are those of the attributes. Several values in one text are separated by commas.

        Raises
        ------
        OptionError
            When there is no such name, or its value is none of its kind.
        """
        for name in given:
            if name not in cls.__dataclass_fields__:
                raise OptionError(
                    f"the NWB fact {name!r}",
                    expected=f"one of {', '.join(cls.__dataclass_fields__)}",
                    todo="correct its name, or leave it out",
                )
        kinds: dict[str, Callable[[str, object], object]] = {"session_start": _start, "sex": _sex, "age": _age}
        kinds |= dict.fromkeys(("indicator", "experimenter"), _texts)
        kinds |= dict.fromkeys(("excitation_nm", "emission_nm"), _wavelengths)
        checked: dict[str, Any] = {name: kinds.get(name, _text)(name, value) for name, value in given.items()}
        return cls(**checked)

    def check_channels(self, channels: int) -> None:
        """Raise `OptionError` when there are values for another number of channels."""
        for name in ("indicator", "excitation_nm", "emission_nm"):
            count = len(getattr(self, name))
            if count not in (1, channels):
                raise OptionError(
                    f"{count} values of {name} for {channels} channels",
                    expected="one value, or one for each channel",
                    todo="correct them, or leave them out",
                )


def of_channel(values: Sequence[T], channel: int) -> T:
    """Return the value of a channel, where there is one for each or one for all."""
    return values[channel] if len(values) > 1 else values[0]


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise OptionError(f"{name}={value!r}", expected="some text", todo="write it, or leave it out")
    return value.strip()


def _sex(name: str, value: object) -> str:
    if value not in ("M", "F", "U", "O"):
        raise OptionError(f"{name}={value}", expected="M, F, U or O", todo="correct it, or leave it out")
    return str(value)


def _age(name: str, value: object) -> str:
    if not re.fullmatch(r"P(?=.)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+S)?)?", str(value)):
        raise OptionError(
            f"{name}={value}", expected="a duration such as P90D or P12W", todo="correct it, or leave it out"
        )
    return str(value)


def _several(value: object) -> list[object]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _texts(name: str, value: object) -> tuple[str, ...]:
    return tuple(_text(name, one) for one in _several(value))


def _wavelengths(name: str, value: object) -> tuple[float, ...]:
    found = []
    for one in _several(value):
        try:
            number = float(str(one))
        except ValueError:
            number = math.nan
        if not 100 < number < 10_000:
            raise OptionError(f"{name}={one}", expected="100 to 10,000 nanometres", todo="correct it, or leave it out")
        found.append(number)
    return tuple(found)


def _start(name: str, value: object) -> datetime:
    try:
        start = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        # A time without a zone is one of this computer, as people write it in a notebook.
        start = start if start.tzinfo is not None else start.astimezone()
        future = start > datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise OptionError(
            f"{name}={value}",
            expected="a date and time such as 2026-11-30T14:05:00+01:00",
            todo="write it like this, or leave it out",
        ) from error
    if future:
        raise OptionError(
            f"{name}={value}, which is in the future", expected="a time that has passed", todo="correct it"
        )
    return start
