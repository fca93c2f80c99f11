"""How the tissue moved, and averages of past frames where the tissue is now."""
