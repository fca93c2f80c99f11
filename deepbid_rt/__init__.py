"""deepbid-rt: denoises two-photon movies while they are being scanned."""

__version__ = "0.1.0"
