"""What engines cost on a GPU: parity, the network alone, the whole way of a frame. Needs torch and no TensorRT."""
