"""Recordings: TIFF movies and session logs. Only this folder imports tifffile."""
