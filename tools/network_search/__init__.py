"""Parts of tools/search_networks.py: what is tried, what it learns from, how it learns, how it is judged."""
