"""What the sender of a series says about its acquisition: the size of a pixel and the names of channels.

They are in `StreamInfo.user`, under the keys that DBRT/1 gives them, and on the first page of each recording.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from deepbid_rt.frame import StreamInfo

_MAX_NAME = 40


def user_facts(pixel_um: tuple[float, float] | None, channel_names: Sequence[str]) -> dict[str, Any]:
    """Return entries of `StreamInfo.user`; none for what is not known.

    Parameters
    ----------
    pixel_um : tuple of float, optional
        Distance of two lines and of two pixels in a line (y, x), micrometres.
    channel_names : sequence of str
        One for each channel, or none.
    """
    facts: dict[str, Any] = {}
    if pixel_um is not None:
        facts["pixel_um"] = list(pixel_um)
    if channel_names:
        facts["channels"] = [{"name": name} for name in channel_names]
    return facts


def page_facts(info: StreamInfo) -> dict[str, object]:
    """Return lines for the first page of a recording; none for what the sender does not say, or says wrongly."""
    facts: dict[str, object] = {}
    pixel_um, names = _pixel_um(info.user), _channel_names(info.user, info.shape[0])
    if pixel_um is not None:
        facts |= {"pixel_um_y": pixel_um[0], "pixel_um_x": pixel_um[1]}
    if names:
        facts["channel_names"] = json.dumps(names)  # one line of ASCII, whatever is in the names
    return facts


def _pixel_um(user: Mapping[str, Any]) -> tuple[float, float] | None:
    value: Any = user.get("pixel_um")
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None
    good = all(type(side) in (int, float) and math.isfinite(side) and side > 0 for side in value)
    return (float(value[0]), float(value[1])) if good else None


def _channel_names(user: Mapping[str, Any], channels: int) -> list[str]:
    stated: Any = user.get("channels")
    if not isinstance(stated, (list, tuple)) or len(stated) != channels:
        return []
    names = [one.get("name") if isinstance(one, Mapping) else one for one in stated]
    texts = [name[:_MAX_NAME] for name in names if isinstance(name, str) and name]
    return texts if len(texts) == channels else []
