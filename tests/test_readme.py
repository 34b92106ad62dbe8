"""README and docs: the same commands in both languages, flags that exist, links that resolve, and short pages."""

import functools
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.command import ROOT, environment

README, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"
GUIDES = sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / "log.md"})
PAGES = [README, CHINESE, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FLAG = re.compile(r"--([a-z]\w*)")


def commands(page: Path) -> list[str]:
    """The lines that are indented as code, or fenced."""
    lines, fenced = [], False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            lines.append(line.strip())
    return lines


def without_code(page: Path) -> str:
    return re.sub(r"`[^`]*`", "", re.sub(r"^```.*?^```$|^    .*?$", "", page.read_text(), flags=re.M | re.S))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: a repeated heading gets a number."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", page.read_text(), flags=re.M):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        repeated = sum(re.sub(r"-\d+$", "", other) == anchor for other in found)
        found.append(f"{anchor}-{repeated}" if repeated else anchor)
    return set(found)


def shown_flags(page: Path) -> dict[str, set[str]]:
    """The flags that `page` shows, by the command (`train.py`, `-m convert`, …) that they are given to."""
    shown: dict[str, set[str]] = defaultdict(set)
    for line in commands(page):
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words[:1] == ["python"]:
                command = " ".join(words[1:3] if words[1] == "-m" else words[1:2])
                shown[command] |= set(FLAG.findall(" ".join(words)))
    return dict(shown)


@functools.cache
def listed_flags(command: str) -> set[str]:
    """The flags that `python COMMAND --help` lists."""
    result = subprocess.run(
        [sys.executable, *command.split(), "--help"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return set(re.findall(r"^\s+--(?:\[no\])?(\w+)", result.stdout, flags=re.M))


def test_both_languages_have_the_same_commands() -> None:
    assert commands(README) == commands(CHINESE)
    assert FLAG.findall(README.read_text()) == FLAG.findall(CHINESE.read_text())


def test_the_commands_that_ci_and_newcomers_run() -> None:
    for line in ("pip install -e . && python train.py", "pip install -e '.[test]' && pytest"):
        assert f"\n    {line}\n" in README.read_text()


def test_pages_are_short() -> None:
    assert len(README.read_text().splitlines()) <= 120
    assert {page.name: n for page in GUIDES if (n := len(page.read_text().splitlines())) > 150} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_scripts_exist() -> None:
    for page in [README, *GUIDES]:
        for line in commands(page):
            for script in re.findall(r"python (\S+\.py)", line):
                assert (ROOT / script).is_file(), (page.name, line)


def test_files_of_the_code_exist() -> None:
    for page in [README, CHINESE, *GUIDES]:  # the log has the names of its day
        for name in re.findall(r"`([\w/]+\.py)`", page.read_text()):
            assert (ROOT / name).is_file() or (ROOT / "remoteclip_jax" / "detector" / name).is_file(), (page.name, name)


@pytest.mark.parametrize("command", sorted(shown_flags(README)))
def test_flags_exist(command: str) -> None:
    shown: set[str] = set().union(*(shown_flags(page).get(command, set()) for page in [README, *GUIDES]))
    assert shown - listed_flags(command) - {"help"} == set()


def test_flags_named_in_the_text_exist() -> None:
    listed: set[str] = set().union(*map(listed_flags, shown_flags(README)))
    assert set(FLAG.findall(README.read_text())) - listed - {"help"} == set()
