"""All keyboard shortcuts. The window, its list of keys and the documentation are made from this table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """A keyboard shortcut."""

    key: str
    """In the notation of Qt."""
    action: str
    """Name of the action that it starts."""
    meaning: str
    """For users."""


KEYS = (
    Key("Space", "pause", "pause the view, or go on live; the session is not touched"),
    Key("Left", "back", "one frame back (pauses)"),
    Key("Right", "on", "one frame forward"),
    Key("Home", "oldest", "oldest frame kept (pauses)"),
    Key("End", "newest", "newest frame kept"),
    Key("1", "side", "raw and denoised side by side"),
    Key("2", "swipe", "one picture with a dividing line: drag it"),
    Key("3", "blink", "raw and denoised in turn"),
    Key("4", "difference", "denoised minus raw"),
    Key("A", "average", "running average of raw beside it, on or off"),
    Key("[", "fewer", "average fewer frames"),
    Key("]", "more", "average more frames"),
    Key("C", "channel", "next channel; after the last one, all merged"),
    Key("P", "plane", "next plane"),
    Key("M", "map", "next colour map of the chosen channel"),
    Key("L", "lock", "lock the contrast, or unlock it"),
    Key("I", "independent", "separate contrast for each picture, or the same for all"),
    Key("0", "automatic", "automatic contrast: ends lock and manual limits"),
    Key("R", "rectangle", "draw a rectangular region: drag"),
    Key("E", "ellipse", "draw an elliptic region: drag"),
    Key("O", "lasso", "draw a region by hand: drag"),
    Key("Del", "delete", "delete the newest region"),
    Key("Ctrl+S", "save", "save the regions"),
    Key("Ctrl+O", "load", "load the regions again"),
    Key("X", "export", "write the traces to a CSV file"),
    Key("S", "snapshot", "snapshot: PNG, TIFF and JSON"),
    Key("Z", "fit", "whole image; the wheel zooms, dragging moves"),
    Key("F", "fullscreen", "full screen, or back"),
    Key("H", "help", "this list"),
    Key("Ctrl+Q", "quit", "close"),
)


def help_text() -> str:
    """Return the list of keys that the window shows."""
    width = max(len(key.key) for key in KEYS)
    return "\n".join(f"{key.key:<{width}}  {key.meaning}" for key in KEYS)
