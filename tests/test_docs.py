"""What the documentation states is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from metrics.docs import PAGE, render

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_metrics_page_is_written_from_the_registry() -> None:
    assert PAGE.read_text() == render(), "run: python -m metrics.docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target
    folders = "api|assets|bench|deploy|docs|exports|local|metrics|pipelines|resources|sensors"
    folders += "|tests|warehouse"
    for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_commands_exist(page: Path) -> None:
    from typer.main import get_command

    from pipelines.cli import app

    command = get_command(app)
    names = set(command.commands)  # type: ignore[attr-defined]
    for used in re.findall(r"(?:^|`|\s)boxoffice ([a-z][a-z-]+)", page.read_text()):
        assert used in names, f"boxoffice {used}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for used in re.findall(r"`make ([a-z]+)", page.read_text()):
        assert used in targets, f"make {used}"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in declared:
        name = re.split(r"[=<>\[;~! ]", requirement)[0]
        assert f"`{name}`" in reasons, name


def test_the_lock_has_hashes_and_no_addresses() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "http://" not in lock
    assert "https://" not in lock
    pinned = re.findall(r"^[a-z0-9][\w.\[\],-]*==", lock, re.MULTILINE)
    assert len(pinned) > 50
    assert lock.count("--hash=sha256:") >= len(pinned)
