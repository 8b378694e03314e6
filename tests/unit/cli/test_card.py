"""`taskloom card` seals an adapter anew, unless it was damaged."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.errors import AdapterError
from pipeline.files import is_complete_folder, staged_folder
from pipeline.recipe import write_resolved
from pipeline.training.run_folder import RECIPE_FILE
from tests.fixtures.tiny_runs import make_recipe


def card(run) -> None:
    CliRunner().invoke(app, ["card", str(run)], catch_exceptions=False)


def test_a_card_is_written_into_a_whole_adapter_only(tmp_path, monkeypatch):
    monkeypatch.setattr("eval.model_card.build_card", lambda *arguments: "# A card\n")
    write_resolved(make_recipe(tmp_path, tasks=["codah"]), tmp_path / RECIPE_FILE)
    adapter = tmp_path / "adapter"
    with staged_folder(adapter) as staged:
        (staged / "adapter_config.json").write_text('{"peft_type": "LORA"}')
        (staged / "adapter_model.safetensors").write_bytes(b"weights")
        (staged / "notes").mkdir()
        (staged / "notes/mine.txt").write_text("mine")
    card(tmp_path)
    assert (adapter / "notes/mine.txt").read_text() == "mine"
    assert (adapter / "README.md").read_text() == "# A card\n"
    assert is_complete_folder(adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"weighty")
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors: changed"):
        card(tmp_path)
    assert not is_complete_folder(adapter)
