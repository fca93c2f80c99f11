"""Parts of tools/search_networks.py: the networks, the movies, the training and the scores."""
