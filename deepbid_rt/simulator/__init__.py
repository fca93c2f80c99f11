"""A simulated two-photon microscope: tissue that lives and moves, scanned line by line."""
