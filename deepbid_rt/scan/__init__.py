"""Scan geometry: splitting and merging the scan directions, the line phase, and raw counts to network units."""
