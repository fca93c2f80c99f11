"""Turns raw frames into denoised frames; single-threaded, without files, sockets or clocks."""
