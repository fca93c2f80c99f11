"""How a recording was understood, said before anything is done with it."""

from __future__ import annotations

from pathlib import Path

from deepbid_rt.cli.output import say
from deepbid_rt.movies.movie_facts import MovieFacts


def say_facts(path: Path, facts: MovieFacts | None) -> None:
    """Say how the pages of a recording become frames, and what a user has to know about it."""
    if facts is None:
        return
    say(f"{path}: {facts.format}; {facts.pages}")
    for warning in facts.warnings:
        say(f"warning: {path}: {warning}")
