"""What README and docs tell a reader to type works, and the files they name exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LAUNCHER = ["python", "-m", "pipeline.launch"]
PLACEHOLDER = re.compile(r"<\w+>|\.\.\.|/data/mirror|Qwen/|owner/name")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(language: str) -> list[Block]:
    """Return the fenced blocks of a language, such as `bash`."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
            if match[1].strip() == language:
                line = text[: match.start()].count("\n") + 1
                found.append(Block(page, line, language, match[2]))
    return found


def commands(block: Block) -> list[list[str]]:
    text = block.text.replace("\\\n", " ")
    lines = [line.split("  #")[0].strip() for line in text.splitlines()]
    return [shlex.split(line) for line in lines if line and not line.startswith("#")]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("bash"), ids=str)
def test_commands_in_the_docs_work(block, workspace, small_base):
    for name in ("recipes", "accelerate_configs", "data_annotations"):
        link = workspace.folder / name
        link.symlink_to(ROOT / name)
    for command in commands(block):
        check_command(command, workspace)


def check_command(command: list[str], workspace) -> None:
    if command[0] == "make":
        assert set(command[1:]) <= make_targets(), command
        return
    for word in command:
        if word.startswith(("recipes/", "accelerate_configs/")) and not PLACEHOLDER.search(word):
            assert (ROOT / word).exists(), word
    if command[:2] == ["accelerate", "launch"] or command[:3] == LAUNCHER:
        check_launch(command)
        return
    if any(PLACEHOLDER.search(word) for word in command):
        return
    assert command[0] == "taskloom", command
    if command[1] != "eval":  # what the recipe trained is not there; test_thread covers it
        workspace.taskloom(*command[1:])


def check_launch(command: list[str]) -> None:
    from pipeline.recipe import load_recipe

    module = command.index("pipeline.train")
    assert command[module - 1] == "-m"
    recipe, *changes = command[module + 1 :]
    if not PLACEHOLDER.search(recipe):
        load_recipe(ROOT / recipe, changes)


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_in_the_docs_runs(block, workspace):
    workspace.run(sys.executable, "-c", block.text)


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_in_the_docs_is_a_valid_annotation_or_recipe(block, tmp_path):
    file = tmp_path / "general" / "own.yaml"
    file.parent.mkdir()
    file.write_text(block.text, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pipeline.cli.main", "check", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150
