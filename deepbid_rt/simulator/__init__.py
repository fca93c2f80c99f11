"""A simulated two-photon microscope: living tissue that moves, scanned line by line."""
