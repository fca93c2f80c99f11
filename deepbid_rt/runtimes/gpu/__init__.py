"""Engines on a GPU: finding it, owning its memory, and computing whole frames there."""
