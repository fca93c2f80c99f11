"""Entry point of ``python -m deepbid_rt``: the command line."""

from deepbid_rt.cli import main

main()
