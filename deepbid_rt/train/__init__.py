"""Training: recipe, recordings, pairs, the training run and export. Needs the extra ``train`` (torch, ONNX)."""
