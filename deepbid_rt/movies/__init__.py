"""Recordings of every format that laboratories have, opened the same way: `open_movie_file`."""
