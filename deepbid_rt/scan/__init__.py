"""The geometry of a scan: directions split and merged, line phase, counts to network units."""
