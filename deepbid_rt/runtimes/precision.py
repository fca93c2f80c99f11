"""Arithmetic of a network."""

from __future__ import annotations

from typing import Literal

Precision = Literal["auto", "bf16", "f32"]
"""``auto`` takes bf16 where the processor has instructions for it."""
