"""The GPU's side of a session: what GPU there is, its memory, and the work between a raw and a denoised frame."""
