"""``python -m deepbid_rt``."""

from deepbid_rt.cli import main

main()
