"""One task as a plain LoRA: exact where it can be, measured where it cannot."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel

from pipeline.adapters.base_fingerprint import BaseFingerprint
from pipeline.adapters.batch_tasks import active_task
from pipeline.adapters.lora_export import export_lora, is_exactly_exportable, measure_mean_gates
from pipeline.adapters.merging.factors import load_expert
from pipeline.adapters.registry import attach_adapter, load_adapter
from pipeline.errors import AdapterError, OutputError
from pipeline.models.loading import load_model
from pipeline.recipe.schema import AdapterSettings
from tests.fixtures.tiny_models import save_tiny_model
from tests.unit.adapters.family import INPUT_IDS, build_adapted, build_base, variant

EXACT = ["mtlora", "mtl_lora", "mtl_lora diagonal", "smora by task", "hydra uniform"]


@pytest.mark.parametrize("task", ["red", "blue"])
@pytest.mark.parametrize("name", EXACT)
def test_an_exact_export_is_a_plain_lora_with_the_live_models_logits(name, task, tmp_path):
    adapted = variant(name).eval()
    with active_task(adapted, task):
        expected = adapted(input_ids=INPUT_IDS).logits
    report = export_lora(adapted, task, tmp_path / "lora")
    assert report.is_exact
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    loaded = PeftModel.from_pretrained(build_base(), str(tmp_path / "lora")).eval()
    assert torch.allclose(loaded(input_ids=INPUT_IDS).logits, expected, atol=1e-5)


def test_patterns_of_ranks_and_saved_modules_are_exported_too(tmp_path):
    adapted = build_adapted(
        "mtlora", task_rank=2, rank_pattern={"q_proj": 4}, modules_to_save=["norm"]
    ).eval()
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "modules_to_save" in name:
                value.mul_(1.5)
    with active_task(adapted, "green"):
        expected = adapted(input_ids=INPUT_IDS).logits
    export_lora(adapted, "green", tmp_path / "lora")
    loaded = PeftModel.from_pretrained(build_base(), str(tmp_path / "lora")).eval()
    assert torch.allclose(loaded(input_ids=INPUT_IDS).logits, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["smora", "moe_lora", "hydra", "smora low rank"])
def test_a_lossy_export_says_how_far_it_is_from_the_live_model(name, tmp_path):
    adapted = variant(name).eval()
    rows = [INPUT_IDS[0], INPUT_IDS[1, :7]]
    report = export_lora(adapted, "red", tmp_path / "lora", rows=rows)
    assert not report.is_exact
    assert report.num_tokens == 19
    loaded = PeftModel.from_pretrained(build_base(), str(tmp_path / "lora")).eval()
    total = 0.0
    for row in rows:
        with active_task(adapted, "red"):
            live = adapted(input_ids=row[None]).logits[0].log_softmax(dim=-1)
        own = loaded(input_ids=row[None]).logits[0].log_softmax(dim=-1)
        total += float((live.exp() * (live - own)).sum().detach())
    assert report.kl_nats == pytest.approx(total / 19, rel=1e-3)
    assert report.kl_nats > 0
    stored = json.loads((tmp_path / "lora" / "export.json").read_text())
    assert stored["kl_nats"] == report.kl_nats
    assert "Lossy" in (tmp_path / "lora" / "README.md").read_text()


def test_mean_gates_sum_to_the_active_ranks():
    adapted = build_adapted("smora").eval()
    gates = measure_mean_gates(adapted, [INPUT_IDS[0]], task=0)
    assert len(gates) == 14
    assert all(abs(float(each.sum()) - 3) < 1e-4 for each in gates.values())


def test_an_export_replaces_nothing_but_an_export(tmp_path):
    adapted = variant("mtlora").eval()
    for _ in range(2):
        export_lora(adapted, "red", tmp_path / "lora")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"OUT004"):
        export_lora(adapted, "red", tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_export_says_what_base_it_belongs_to(tmp_path):
    base = save_tiny_model(tmp_path / "base")
    settings = AdapterSettings(type="mtlora", rank=4, task_rank=2)
    adapted = attach_adapter(load_model(str(base)), settings, task_names=["red"])
    export_lora(adapted, "red", tmp_path / "lora")
    assert load_expert("red", tmp_path / "lora").base == BaseFingerprint.of(str(base))
    other = save_tiny_model(tmp_path / "other", seed=7)
    with pytest.raises(AdapterError, match=r"ADP004"):
        load_adapter(load_model(str(other)), tmp_path / "lora")


def test_what_cannot_be_exported_is_refused(tmp_path):
    adapted = build_adapted("smora")
    assert not is_exactly_exportable(adapted)
    with pytest.raises(AdapterError, match=r"needs mean gates.*--lossy\. \[ADP008\]"):
        export_lora(adapted, "red", tmp_path / "a")
    with pytest.raises(AdapterError, match=r"not trained on a task 'pink'.*\[ADP008\]"):
        export_lora(adapted, "pink", tmp_path / "a")
    gated = build_adapted("smora", feature_gate=True)
    with pytest.raises(AdapterError, match=r"are not linear.*\[ADP008\]"):
        export_lora(gated, "red", tmp_path / "a", rows=[INPUT_IDS[0]])
    assert not (tmp_path / "a").exists()
