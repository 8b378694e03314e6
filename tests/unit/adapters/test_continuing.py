"""Adapters that training goes on with: what must not move does not, bit by bit."""

from __future__ import annotations

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model

from pipeline.adapters.batch_tasks import active_task
from pipeline.adapters.continued_fields import with_folder_fields
from pipeline.adapters.continuing import extend_adapter, start_adapter_from
from pipeline.adapters.lora_export import export_lora
from pipeline.adapters.registry import load_adapter
from pipeline.errors import AdapterError
from pipeline.recipe import Recipe
from pipeline.recipe.schema import AdapterChoice, AdapterSettings
from pipeline.training.saving import gather_adapter_weights
from tests.unit.adapters.family import INPUT_IDS, TASKS, build_adapted, build_base

MTLORA = AdapterSettings(type="mtlora", rank=8, lora_alpha=8, task_rank=2)
LORA = AdapterSettings(rank=4, lora_alpha=8)


@pytest.fixture
def mtlora(tmp_path):
    build_adapted("mtlora", task_rank=2).save_pretrained(tmp_path / "mtlora")
    return tmp_path / "mtlora"


@pytest.fixture
def lora(tmp_path):
    torch.manual_seed(3)
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"], init_lora_weights=False
    )
    get_peft_model(build_base(), config).save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


def answers(model, task):
    model.eval()
    with torch.no_grad(), active_task(model, task):
        return model(input_ids=INPUT_IDS).logits


def train(model, task_number: int, steps: int = 5) -> None:
    model.train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.05, weight_decay=0.0)
    for _ in range(steps):
        with active_task(model, task_number):
            loss = model(input_ids=INPUT_IDS, labels=INPUT_IDS).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_a_grown_adapter_leaves_old_tasks_as_they_are_bit_by_bit(mtlora, tmp_path):
    old = load_adapter(build_base(), mtlora)
    before = {task: answers(old, task) for task in [*TASKS, None]}
    grown = extend_adapter(build_base(), mtlora, MTLORA, task_names=["new"])
    assert torch.allclose(answers(grown, "new"), before[None], atol=1e-5)  # B starts at zero
    train(grown, 3)
    assert not torch.allclose(answers(grown, "new"), before[None], atol=1e-3)
    grown.save_pretrained(tmp_path / "grown")
    loaded = load_adapter(build_base(), tmp_path / "grown")
    assert loaded.peft_config["default"].task_names == [*TASKS, "new"]
    for task, expected in before.items():
        assert torch.equal(answers(loaded, task), expected), task


def test_the_exports_of_old_tasks_are_the_same_files(mtlora, tmp_path):
    grown = extend_adapter(build_base(), mtlora, MTLORA, task_names=["new"])
    train(grown, 3)
    for name, model in (("old", load_adapter(build_base(), mtlora)), ("grown", grown)):
        export_lora(model, "green", tmp_path / name)
    weights = "adapter_model.safetensors"
    assert (tmp_path / "old" / weights).read_bytes() == (tmp_path / "grown" / weights).read_bytes()


def test_a_plain_lora_becomes_the_shared_ranks(lora, tmp_path):
    old = load_adapter(build_base(), lora)
    before = answers(old, None)
    settings = MTLORA.model_copy(update={"rank": 4})
    grown = extend_adapter(build_base(), lora, settings, task_names=["new", "newer"])
    assert torch.allclose(answers(grown, "newer"), before, atol=1e-5)
    shared = answers(grown, None)
    train(grown, 0)
    assert torch.equal(answers(grown, None), shared)
    assert torch.allclose(shared, before, atol=1e-5)
    assert not torch.allclose(answers(grown, "new"), before, atol=1e-3)
    assert torch.equal(answers(grown, "newer"), shared)


def test_all_of_a_lora_is_trained_on_where_one_starts_from_it(lora):
    old = answers(load_adapter(build_base(), lora), None)
    model = start_adapter_from(build_base(), lora, LORA)
    assert torch.equal(answers(model, None), old)
    before = {name: value.clone() for name, value in model.named_parameters()}
    train(model, 0)
    moved = {n for n, value in model.named_parameters() if not torch.equal(value, before[n])}
    assert moved == {name for name in before if "lora_" in name}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LORA.model_copy(update={"rank": 8}), "has r 4, this run needs 8"),
        (LORA.model_copy(update={"lora_alpha": 16.0}), "has lora_alpha 8, this run needs 16.0"),
        (LORA.model_copy(update={"use_rslora": True}), "has use_rslora False, this run needs True"),
    ],
)
def test_another_form_of_adapter_is_no_start(settings, message, lora):
    with pytest.raises(AdapterError, match=rf"{message}.*ADP026"):
        start_adapter_from(build_base(), lora, settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora_dropout": 0.9}, "has lora_dropout 0.0, this run needs 0.9"),
        ({"modules_to_save": ("embed_tokens",)}, "has modules_to_save None, this run needs"),
        ({"target_modules": ("q_proj",)}, "sits on q_proj, up_proj, this run names other layers"),
        ({"target_modules": "all-linear"}, "sits on q_proj, up_proj, this run names other layers"),
    ],
)
def test_what_a_recipe_says_otherwise_than_the_folder_is_refused(changes, message, lora):
    with pytest.raises(AdapterError, match=rf"{message}.*ADP026"):
        start_adapter_from(build_base(), lora, LORA.model_copy(update=changes))
    with pytest.raises(AdapterError, match=rf"{message}.*ADP026"):
        settings = MTLORA.model_copy(update={"rank": 4, **changes})
        extend_adapter(build_base(), lora, settings, task_names=["new"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 32}, "has r 8, this run needs 32"),
        ({"lora_alpha": 500.0}, "has lora_alpha 8, this run needs 500.0"),
        ({"task_rank": 3}, "has task_rank 2, this run needs 3"),
        ({"normalise_ranks": True}, "has normalise_ranks False, this run needs True"),
        ({"feature_gate": True}, "has feature_gate False, this run needs True"),
        ({"preset": "paper"}, "has preset 'default', this run needs 'paper'"),
    ],
)
def test_what_cannot_act_on_a_grown_adapter_is_refused(changes, message, mtlora):
    with pytest.raises(AdapterError, match=rf"{message}.*ADP026"):
        extend_adapter(build_base(), mtlora, MTLORA.model_copy(update=changes), task_names=["new"])


def test_the_same_layers_may_be_named_in_another_way(lora, mtlora):
    same = LORA.model_copy(update={"target_modules": ("up_proj", "q_proj")})
    assert start_adapter_from(build_base(), lora, same) is not None
    everywhere = MTLORA.model_copy(update={"target_modules": "all-linear"})
    assert extend_adapter(build_base(), mtlora, everywhere, task_names=["new"]) is not None


def test_a_recipe_tells_what_the_folder_decides(lora, mtlora):
    said = {"model_name_or_path": "embedded", "tasks": ["new"]}
    recipe = Recipe(**said, adapter=AdapterChoice(start_from=str(lora)))
    told = with_folder_fields(recipe)
    assert (told.lora_r, told.lora_alpha, told.lora_target_modules) == (4, 8, ("q_proj", "up_proj"))
    assert start_adapter_from(build_base(), lora, told.adapter_settings) is not None
    grown = Recipe(**said, adapter=AdapterChoice(type="mtlora", extend=str(mtlora)))
    told = with_folder_fields(grown)
    assert (told.lora_r, told.adapter.task_rank, told.lora_alpha) == (8, 2, 8)
    assert with_folder_fields(told) == told
    settings = with_folder_fields(grown.model_copy(update={"lora_alpha": 3.0})).adapter_settings
    with pytest.raises(AdapterError, match=r"has lora_alpha 8, this run needs 3.0.*ADP026"):
        extend_adapter(build_base(), mtlora, settings, task_names=["new"])


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("init_lora_weights", "pissa", "started with 'pissa'"),
        ("target_parameters", ["weight"], "no layers"),
    ],
)
def test_only_a_plain_lora_becomes_the_shared_ranks(field, value, reason, lora):
    path = lora / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(AdapterError, match=rf"{reason}.*ADP026"):
        extend_adapter(build_base(), lora, MTLORA, task_names=["new"])


@pytest.mark.parametrize("kind", ["mtlora", "lora"])
@pytest.mark.parametrize(
    "options", [{"modules_to_save": ["norm"]}, {"trainable_token_indices": [3, 5]}]
)
def test_a_grown_adapter_is_gathered_with_what_it_keeps(kind, options, tmp_path):
    if kind == "mtlora":
        old = build_adapted("mtlora", task_rank=2, **options)
    else:
        config = LoraConfig(r=8, lora_alpha=8, target_modules=["q_proj"], **options)
        old = get_peft_model(build_base(), config)
    with torch.no_grad():
        for name, value in old.named_parameters():
            if "modules_to_save" in name or "tokens_delta" in name:
                value.add_(1)
    old.save_pretrained(tmp_path / "old")
    grown = extend_adapter(build_base(), tmp_path / "old", MTLORA, task_names=["new"])
    before = answers(grown, None)
    grown.save_pretrained(
        tmp_path / "grown", state_dict=gather_adapter_weights(grown), save_embedding_layers=False
    )
    assert torch.equal(answers(load_adapter(build_base(), tmp_path / "grown"), None), before)


def test_a_gate_over_all_ranks_cannot_grow(tmp_path):
    build_adapted("mtlora", task_rank=2, feature_gate=True).save_pretrained(tmp_path / "gated")
    with pytest.raises(AdapterError, match=r"has feature_gate True.*ADP026"):
        extend_adapter(build_base(), tmp_path / "gated", MTLORA, task_names=["new"])


def test_what_cannot_grow_is_refused(mtlora, tmp_path):
    with pytest.raises(AdapterError, match=r"ranks of the task 'red' already.*ADP026"):
        extend_adapter(build_base(), mtlora, MTLORA, task_names=["red"])
    build_adapted("smora").save_pretrained(tmp_path / "smora")
    with pytest.raises(AdapterError, match=r"has peft_type 'SMORA'.*ADP026"):
        extend_adapter(build_base(), tmp_path / "smora", MTLORA, task_names=["new"])


def test_an_adapter_that_knows_test_prompts_is_not_trained_on(lora):
    (lora / "merge.json").write_text('{"fit": {"transductive": true}, "sources": []}')
    for go_on in (
        lambda: start_adapter_from(build_base(), lora, LORA),
        lambda: extend_adapter(build_base(), lora, LORA, task_names=["new"]),
    ):
        with pytest.raises(AdapterError, match=r"transductive.*ADP026"):
            go_on()
