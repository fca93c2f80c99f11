"""Colours and style sheet of the window. They are dark, because microscope rooms are."""

from __future__ import annotations

from deepbid_rt.viewer.hud import Tone

GROUND, PANE, EDGE, INK, FAINT = "#0e1014", "#161a20", "#2a3038", "#e6e9ee", "#7d8794"
TONES: dict[Tone, str] = {"plain": INK, "good": "#56d364", "warn": "#f0b429", "alarm": "#ff5c5c", "faint": FAINT}
PILLS: dict[Tone, str] = {
    "plain": "#2a3038",
    "good": "#14532d",
    "warn": "#7a5600",
    "alarm": "#b00020",
    "faint": "#2a3038",
}
"""Background colours of the state and the recording, which must be read from afar; the text on them is `INK`."""

STYLE = f"""
QMainWindow, QWidget {{ background: {GROUND}; color: {INK}; font-size: 13px; }}
QFrame#pane {{ background: {PANE}; border: 1px solid {EDGE}; border-radius: 6px; }}
QFrame#pane QLabel {{ background: transparent; }}
QLabel#title {{ color: {INK}; font-size: 13px; font-weight: 600; padding: 2px 0; }}
QLabel#head {{ color: {FAINT}; font-size: 11px; font-weight: 600; }}
QLabel#pill {{ border-radius: 5px; padding: 4px 12px; font-size: 15px; font-weight: 700; }}
QLabel#alarm {{ border-radius: 5px; padding: 4px 12px; font-size: 14px; font-weight: 600; }}
QLabel#message {{ color: {TONES["alarm"]}; }}
QLabel#help {{ background: {PANE}; border: 1px solid {EDGE}; border-radius: 8px; padding: 14px; }}
QSlider::groove:horizontal {{ height: 4px; background: {EDGE}; border-radius: 2px; }}
QSlider::handle:horizontal {{ width: 12px; margin: -5px 0; background: {TONES["warn"]}; border-radius: 6px; }}
"""
