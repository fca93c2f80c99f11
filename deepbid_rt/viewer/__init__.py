"""What the experimenter watches during a session: raw and denoised frames, live, in a process of its own.

Everything here that decides is pure; `canvas` alone imports vispy, and the modules of the window alone import PySide6.
"""
