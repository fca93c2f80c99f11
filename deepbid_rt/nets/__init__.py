"""The networks, as torch modules. Checkpoints and engine files use their parameter names."""
