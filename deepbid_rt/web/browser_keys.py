"""The keys that browsers hold in a cookie once they have sent the right token."""

from __future__ import annotations

import secrets
from collections import OrderedDict

MAX_KEYS = 256
"""Keys that are valid at a time; the one that was not used for the longest time goes first."""


class BrowserKeys:
    """Random keys, valid as long as the session.

    A key cannot be guessed, unlike a token that a person chose. So a browser that has one is served while strangers try
    tokens, and wrong keys, such as those of the session before, need not be counted. Not thread-safe.
    """

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def new(self) -> str:
        """Return a new key."""
        key = secrets.token_urlsafe(32)
        self._keys[key] = None
        if len(self._keys) > MAX_KEYS:
            self._keys.popitem(last=False)
        return key

    def admits(self, key: str | None) -> bool:
        """Return whether a key is valid."""
        if key is None or key not in self._keys:
            return False
        self._keys.move_to_end(key)
        return True
