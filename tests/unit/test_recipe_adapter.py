"""The adapter's fields of a recipe: what reaches PEFT, and what is refused."""

from __future__ import annotations

import pytest

from pipeline.adapters.registry import build_adapter_config
from pipeline.errors import PipelineError
from pipeline.recipe import load_recipe

MINIMAL = "model_name_or_path: embedded\ntasks: [ner, qa]\n"


@pytest.fixture
def read(tmp_path):
    def _read(text: str):
        path = tmp_path / "recipe.yaml"
        path.write_text(MINIMAL + text)
        return load_recipe(path)

    return _read


def config_of(recipe):
    names = [entry.task for entry in recipe.tasks]
    return build_adapter_config(recipe.adapter_settings, names)


def test_a_smora_adapter_of_a_recipe_becomes_its_peft_configuration(read):
    recipe = read(
        "adapter: {type: smora, r: 64, num_active_ranks: 8, router: task, share_router: true}\n"
        "lora_alpha: 16\nlora_target_modules: [q_proj]\n"
    )
    config = config_of(recipe)
    assert config.peft_type.value == "SMORA"
    assert (config.r, config.num_active_ranks, config.router) == (64, 8, "task")
    assert (config.lora_alpha, config.target_modules) == (16, {"q_proj"})
    assert config.share_router
    assert config.task_names == ["ner", "qa"]


@pytest.mark.parametrize("kind", ["smora", "moe_lora", "hydra", "mtlora", "mtl_lora"])
def test_options_left_out_keep_the_defaults_of_their_type(read, kind):
    recipe = read(f"adapter: {{type: {kind}, r: 32}}\n")
    config = config_of(recipe)
    fresh = type(config)(task_names=["ner", "qa"])
    for name in ("num_active_ranks", "block_size", "num_b_factors", "score", "router", "task_rank"):
        assert getattr(config, name) == getattr(fresh, name)


def test_groups_and_presets_reach_the_configuration(read):
    recipe = read(
        "adapter: {type: smora, r: 16, num_active_ranks: 4, preset: paper, "
        "task_groups: [[ner], [qa]], ranks_per_group: 4}\n"
    )
    config = config_of(recipe)
    assert config.task_groups == [["ner"], ["qa"]]
    assert (config.gate_source, config.balance_rate) == ("biased", 1e-5)


def test_lora_starts_from_pissa_where_asked(read):
    config = config_of(read("adapter: {type: lora, init: pissa}\n"))
    assert config.init_lora_weights == "pissa"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adapter: {type: lora, router: token}", "adapter type 'lora' has no such option"),
        ("adapter: {type: mtlora, num_active_ranks: 4}", "adapter type 'mtlora' has no such"),
        (
            "adapter: {type: smora, r: 8, num_active_ranks: 9}",
            "got 9, allowed multiples of 1 up to 8",
        ),
        ("adapter: {type: smora, r: 4}", "got 8, allowed multiples of 1 up to 4"),
        ("adapter: {type: moe_lora, r: 20}", "20 routed ranks cannot be cut into experts of 8"),
        (
            "adapter: {type: moe_lora, r: 64, num_active_ranks: 12}",
            "got 12, allowed multiples of 8 up to 64",
        ),
        ("adapter: {type: smora, r: 64}\nlora_r: 32", "got 64 together with lora_r: 32"),
        ("adapter: {type: smora, r: 64}\nuse_dora: true", "adapter type 'smora', allowed 'lora'"),
        ("adapter: {type: smora, r: 64, task_groups: [[ner]]}", "needs `ranks_per_group`"),
        (
            "adapter: {type: smora, r: 64, task_groups: [[pink]], ranks_per_group: 4}",
            "no task of this recipe is named 'pink'",
        ),
        (
            "adapter: {type: smora, r: 64, task_groups: [[ner], [ner]], ranks_per_group: 4}",
            "task 'ner' stands in two groups",
        ),
        (
            "adapter: {type: lora, init: pissa}\nload_in_4bit: true",
            "'pissa' changes the base weights",
        ),
        *(
            (f"adapter: {{type: {kind}, {field}: x}}\n{tokens}", "tokens of these tasks are not")
            for kind, field in (("lora", "start_from"), ("mtlora", "extend"))
            for tokens in ("task_tokens: true", "label_tokens: true", "dna_unit: bpe")
        ),
    ],
)
def test_options_that_cannot_be_followed_are_refused(read, text, message):
    with pytest.raises(PipelineError) as caught:
        read(text + "\n")
    assert message in str(caught.value)
    assert "[REC006]" in str(caught.value)
