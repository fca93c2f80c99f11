"""Measures the quality of a movie: metrics, reference filters, tables and pictures."""
