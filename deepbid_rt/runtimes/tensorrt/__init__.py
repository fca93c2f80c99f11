"""TensorRT: plans built from an ONNX engine file for one GPU, checked before they are trusted, and run."""
