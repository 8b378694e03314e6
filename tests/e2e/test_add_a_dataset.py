"""The guide to adding a dataset, done from top to bottom in one folder."""

from __future__ import annotations

import re
import shlex
import sys

import pytest

from tests.e2e.conftest import ROOT

GUIDE = ROOT / "docs" / "add_a_dataset.md"
STEPS = 3
"""Training steps here: what is tested is that the walk works, not what is learned."""


def walk() -> list[tuple[str, str, str]]:
    """Return `(language, file, text)` of the blocks marked `walk`, in order."""
    pattern = r"^```(\w+) walk ?([^\n]*)\n(.*?)^```$"
    text = GUIDE.read_text(encoding="utf-8")
    return re.findall(pattern, text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_guide_leads_from_rows_to_a_scored_task(workspace, small_base):
    (workspace.folder / "accelerate_configs").symlink_to(ROOT / "accelerate_configs")
    printed = []
    for language, file, text in walk():
        if language == "python":
            workspace.run(sys.executable, "-c", text)
        elif language == "yaml":
            (workspace.folder / file).write_text(text, encoding="utf-8")
        else:
            printed += [do(line, workspace) for line in text.splitlines() if line]
    drafted, checked, online, *_, scored = printed
    assert "helpdesk_teams, classification" in drafted
    assert "0 errors" in checked
    assert "helpdesk_teams test: 12 rows -> 12 examples" in online
    assert "verified: rows" in (workspace.folder / "own" / "helpdesk_teams.yaml").read_text()
    assert "helpdesk_teams" in scored
    assert list((workspace.folder / "runs" / "helpdesk").rglob("results*.json"))


def do(line: str, workspace) -> str:
    command = shlex.split(line)
    if command[0] == "taskloom":
        return workspace.taskloom(*command[1:])
    assert command[:3] == ["python", "-m", "pipeline.launch"]
    few = ["--max_steps", str(STEPS), "--warmup_steps", "1"]
    return workspace.run(sys.executable, *command[1:], *few)


def test_the_walk_makes_its_own_data_and_names_no_machine():
    languages = [language for language, _, _ in walk()]
    assert languages[0] == "python"
    assert set(languages) == {"python", "bash", "yaml"}
    assert "/work" not in GUIDE.read_text(encoding="utf-8")
