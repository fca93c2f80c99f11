"""Training: recipe, movies, pairs, loop and export. The only part of the package, with nets, that needs torch."""
