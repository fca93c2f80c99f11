"""Networks (the only packages importing torch are this one, ``train`` and the torch runtime)."""
