"""What engines cost on a GPU: parity, the network alone, the whole way of a frame. Ready for a machine with torch only."""
