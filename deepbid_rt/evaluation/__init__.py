"""How good a movie is: figures and pictures."""
