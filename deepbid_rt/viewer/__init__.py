"""The viewer: shows raw and denoised frames of a session, live, in a process of its own.

The modules that decide what is shown need neither a screen nor a graphics card. Only `canvas` imports vispy, and only
the modules of the window import PySide6.
"""
