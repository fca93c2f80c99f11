"""Motion of the tissue, temporal averages that follow it, and frames aligned to each other."""
