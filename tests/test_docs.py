"""README and documentation: tables and commands are up to date, links lead somewhere, each page is of one kind."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TypeGuard

import pytest

import deepbid_rt
from deepbid_rt.card import METADATA_KEY
from deepbid_rt.cli import COMMANDS
from tests import ROOT

DOCS = ROOT / "docs"
KINDS = ("tutorials", "how-to", "explanation", "reference", "lab-notes")
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
MARKDOWN = (*PAGES, ROOT / "bridge" / "README.md", ROOT / "engines" / "README.md", ROOT / "CONTRIBUTING.md")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"(?<![\w/.])(?:deepbid_rt|tests|tools|bridge|engines|examples|docs|\.ci)/[\w/.-]*\w")
"""A file or folder of the repository."""
OTHER_PROGRAMS = {"PrairieLink", "QOpenGLWidget", "PrairieView"}
INLINE = re.compile(r"`(deepbid-rt [^`]+)`")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as the site and GitHub make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower() for heading in headings)
    return {re.sub(r"\s", "-", heading) for heading in plain}


def commands(text: str) -> list[str]:
    """Return every ``deepbid-rt`` command of a page, from code blocks and from inline code."""
    lines: list[str] = []
    for language, block in FENCE.findall(text):
        if language in ("sh", "bash", "console"):
            lines += block.replace("\\\n", " ").splitlines()
    found = [part.strip() for line in lines for part in re.split(r"&&|;|\|\s", line.split(" #")[0])]
    found = [part[part.index("deepbid-rt ") :] for part in found if re.match(r"(\w+=\S+ )*deepbid-rt ", part)]
    return found + INLINE.findall(FENCE.sub("", text))


def wrong_with(command: str, options: dict[str, set[str]]) -> str | None:
    words = shlex.split(re.sub(r"[\[\]…]", " ", command))[1:]
    words = words[1:] if words[:1] == ["-v"] else words
    if not words or words[0].isupper() or words[0].startswith("--"):
        return None  # a placeholder, or an option of the program itself
    if words[0] not in options:
        return f"no command {words[0]}"
    unknown = [w for w in words[1:] if re.match(r"--?[a-z]", w) and w.split("=")[0] not in options[words[0]]]
    return f"{words[0]} has no option {', '.join(unknown)}" if unknown else None


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from write_docs import parameters
    finally:
        sys.path.pop(0)
    found = {}
    for command, run in COMMANDS.items():
        names = {name for each in parameters(run) if each.is_option for name in each.names}
        found[command] = names | {"--help"}
    return found


def test_tables_and_the_reference_of_the_commands_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "write_docs.py"), "--check"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert finished.returncode == 0, finished.stderr


def test_the_reference_names_every_command_and_option(options: dict[str, set[str]]) -> None:
    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    for command, names in options.items():
        section = text.split(f"\n## {command}\n")[1].split("\n## ")[0]
        assert [option for option in names - {"--help"} if f"`{option}`" not in section] == []


@pytest.mark.parametrize("page", MARKDOWN, ids=name)
def test_relative_links_and_pictures_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for target in LINK.findall(without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", MARKDOWN, ids=name)
def test_commands_in_the_documentation_exist(page: Path, options: dict[str, set[str]]) -> None:
    found = commands(page.read_text(encoding="utf-8"))
    problems = [(command, problem) for command in found if (problem := wrong_with(command, options))]
    assert problems == []


def test_a_wrong_command_is_found(options: dict[str, set[str]]) -> None:
    text = "```sh\npip install x && deepbid-rt denoise A B --wrong\n```\n`deepbid-rt fly` and `deepbid-rt view --raw X`"
    assert [wrong_with(command, options) for command in commands(text)] == [
        "denoise has no option --wrong",
        "no command fly",
        None,
    ]


def test_the_readme_is_short_and_shows_the_two_commands_of_ci() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert "pip install -e . && deepbid-rt demo\n" in text
    assert 'pip install -e ".[dev]" && ruff check . ' in text


def test_each_page_lies_in_the_folder_of_one_kind() -> None:
    outside = [name(page) for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in KINDS]
    assert outside == ["docs/index.md"]  # the table of contents
    assert [name(page) for page in DOCS.rglob("*.md") if len(page.relative_to(DOCS).parts) > 2] == []


def test_the_table_of_contents_links_every_page() -> None:
    linked = {(DOCS / target.split("#")[0]).resolve() for target in LINK.findall((DOCS / "index.md").read_text())}
    linked |= {
        (DOCS / "lab-notes" / target).resolve()
        for target in LINK.findall((DOCS / "lab-notes" / "index.md").read_text())
    }
    assert [name(page) for page in DOCS.rglob("*.md") if page.resolve() not in linked | {DOCS / "index.md"}] == []


@pytest.mark.parametrize("page", MARKDOWN, ids=name)
def test_python_examples_parse_and_use_public_names(page: Path) -> None:
    blocks = [block for language, block in FENCE.findall(page.read_text(encoding="utf-8")) if language == "python"]
    for block in blocks:
        names = {node.attr for node in ast.walk(ast.parse(block)) if is_public_access(node)}
        assert names - set(deepbid_rt.__all__) == set()


def is_public_access(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rt"


@pytest.mark.parametrize("page", MARKDOWN, ids=name)
def test_classes_modules_and_files_that_are_named_exist(page: Path, sources: str) -> None:
    """Names in inline code: ``ClassName``, ``deepbid_rt.module``, and paths of the repository."""
    code = re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text(encoding="utf-8")))
    classes = {found[1] for text in code if (found := re.fullmatch(r"([A-Z][a-z]+[A-Z]\w+)(\.\w+)?", text))}
    missing = [each for each in classes - OTHER_PROGRAMS if not re.search(rf"\b{each}\b", sources)]
    for path in {found for text in code for found in PATH.findall(text)}:
        missing += [] if (ROOT / path).exists() else [path]
    for module in {found for text in code for found in re.findall(r"\btests(?:\.\w+)+(?= import)", text)}:
        missing += [] if (ROOT / module.replace(".", "/")).with_suffix(".py").exists() else [module]
    for module in {text for text in code if re.fullmatch(r"deepbid_rt(\.[a-z_]+)+", text)} - {METADATA_KEY}:
        parts = module.split(".")
        found = [Path(*parts[:length]) for length in range(len(parts), 0, -1)]
        is_there = any((ROOT / path).is_dir() or (ROOT / path).with_suffix(".py").exists() for path in found[:2])
        missing += [] if is_there else [module]
    assert missing == []


@pytest.fixture(scope="module")
def sources() -> str:
    folders = (ROOT / "deepbid_rt", ROOT / "tools", ROOT / "tests")
    files = [path for folder in folders for path in folder.rglob("*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path.name != "test_docs.py")


def test_every_picture_is_used_and_has_a_caption() -> None:
    used = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        used |= {(page.parent / target).resolve() for target in LINK.findall(text) if "images/" in target}
        for block in re.findall(r"(?:^!\[.*\n)+\n?(.*)", text, re.MULTILINE):
            assert block.startswith("<small>"), f"{name(page)}: a picture without a caption that says what drew it"
    assert set((DOCS / "images").iterdir()) == used


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason='pip install -e ".[docs]"')
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False, cwd=ROOT)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    loaded = re.compile(
        r"<(?:script|img|iframe|link rel=\"(?:stylesheet|preconnect)\")[^>]*(?:src|href)=\"(?:https?:)?//[^\"]*"
    )
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(list(DOCS.rglob("*.md")))
    assert [found for page in pages for found in loaded.findall(page.read_text(encoding="utf-8"))] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']*", styles) == []
