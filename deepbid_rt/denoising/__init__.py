"""Raw frames in, denoised frames out: pure, single-threaded and without I/O."""
